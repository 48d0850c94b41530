//! What there is to be had: an axum server in a process of its own, with a handler that returns a constant, and one for
//! a file that is replaced and fetched. No tokens, no checks, nothing kept but the file.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures::StreamExt;
use lattice_tests::fixture::Http;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio_util::io::ReaderStream;

use super::small::VALUE;
use crate::programs::Running;

/// Where the constant is.
pub const CONSTANT: &str = "/constant";
/// Where the file is.
pub const FILE: &str = "/file";

/// Read from and written to the file at once: as much as the listener takes for its own.
const PIECE: usize = 256 << 10;

/// A running one. It ends with it.
#[derive(Debug)]
pub struct Floor {
    pub http: Http,
    _process: Running,
    /// Where the server sees that nobody is left, should this process be killed.
    _alive: ChildStdin,
}

impl Floor {
    /// Its file is `file`.
    pub fn start(file: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--http-floor").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("can't start the axum server")?;
        let (alive, out) = (child.stdin.take(), child.stdout.take());
        let process = Running::from(child);
        let mut url = String::new();
        BufReader::new(out.context("its output")?).read_line(&mut url)?;
        let http = Http::at(url.trim()).context("the axum server says where it is")?;
        Ok(Self { http, _process: process, _alive: alive.context("its input")? })
    }
}

/// The server itself: prints where it is, and serves until standard input ends.
pub fn serve(file: &Path) -> Result<()> {
    let file: Arc<Path> = file.into();
    let router = Router::new()
        .route(CONSTANT, get(async || Bytes::from_static(&[7; VALUE])))
        .route(FILE, get(fetch).put(replace))
        .with_state(file);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    println!("http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it answers may wait a little: nothing that can fail here matters.
        let _slower = stream.set_nodelay(true);
    });
    runtime.spawn(async move { axum::serve(listener, router).await });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// What failed on the file.
struct Failed(std::io::Error);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failed {
    fn from(e: E) -> Self {
        Self(std::io::Error::other(e))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

async fn fetch(State(path): State<Arc<Path>>) -> Result<impl IntoResponse, Failed> {
    let file = File::open(&path).await?;
    let length = file.metadata().await?.len();
    let body = Body::from_stream(ReaderStream::with_capacity(file, PIECE));
    Ok(([("content-length", length.to_string())], body))
}

async fn replace(State(path): State<Arc<Path>>, body: Body) -> Result<StatusCode, Failed> {
    let mut file = BufWriter::with_capacity(PIECE, File::create(&path).await?);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await?;
    }
    file.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}
