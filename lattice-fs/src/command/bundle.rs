//! `store export` and `store import`: a store as one file, on a stick or through a pipe. An export is written beside its
//! file and takes its name when it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use clap::Args;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::context::Context;
use super::error::{Error, Result};
use super::output::{bytes, count};
use super::progress;
use super::target::{Target, store_route};
use crate::client::{Client, ClientError, Response};
use crate::http::body::BUFFER;
use crate::http::model::ImportDoc;

/// Write a store as one file: signed entries and their content.
#[derive(Debug, Args)]
pub struct ExportArgs {
    pub store: OsString,
    /// The file, or - for stdout.
    pub file: PathBuf,
}

/// Take in what such a file holds, verified as if it came from a peer.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file, or - for stdin.
    pub file: PathBuf,
}

pub async fn export(ctx: &Context, args: ExportArgs) -> Result<()> {
    let store = Target::store(&args.store)?;
    let client = ctx.client().await?;
    let answer = client.get(store_route(&store, "export")).patient().send().await?;
    let written = if args.file == Path::new("-") {
        download(answer.into(), &mut io::stdout().lock(), &progress::bytes(None, "export")).await?
    } else {
        to_file(answer.into(), &args.file, "export").await?
    };
    if ctx.out.json && args.file != Path::new("-") {
        return ctx.out.doc(&serde_json::json!({ "store": store, "bytes": written }));
    }
    ctx.out.note(format!("exported {store}: {}", bytes(written)));
    Ok(())
}

/// Writes a body to a file that appears whole or not at all. Returns its size.
pub async fn to_file(answer: Download<'_>, file: &Path, what: &str) -> Result<u64> {
    let temporary = beside(file);
    let failed = |done| move |source| Error::File { path: file.into(), done, source };
    let mut out = File::options().write(true).create_new(true).open(&temporary).map_err(failed("written"))?;
    let bar = progress::bytes(answer.size(), what);
    let copied = download(answer, &mut out, &bar).await;
    let done = copied.and_then(|n| {
        out.sync_all().and_then(|()| std::fs::rename(&temporary, file)).map_err(failed("written")).map(|()| n)
    });
    if done.is_err() {
        // The error that is reported is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    file.with_file_name(name)
}

/// A body to be copied.
#[derive(Debug)]
pub struct Download<'c> {
    answer: Response,
    rest: Option<Rest<'c>>,
}

/// Where the rest of a body can be asked for.
#[derive(Debug)]
struct Rest<'c> {
    client: &'c Client,
    path: String,
    tag: String,
}

impl From<Response> for Download<'_> {
    fn from(answer: Response) -> Self {
        Self { answer, rest: None }
    }
}

impl<'c> Download<'c> {
    /// The answer to a `GET` of `path`, which takes ranges.
    pub fn with_rest(answer: Response, client: &'c Client, path: String) -> Self {
        let tag = answer.header("etag").map(str::to_owned);
        Self { answer, rest: tag.map(|tag| Rest { client, path, tag }) }
    }
}

impl Download<'_> {
    /// The body's size, where it was told.
    pub fn size(&self) -> Option<u64> {
        self.answer.size()
    }
}

impl Rest<'_> {
    /// A body that breaks off can't say why, and what was on its way is lost with the connection. The answer to a
    /// request for the block at the break can say it: either it is that block, whole, or it is the error. `None`: what
    /// it was is gone.
    async fn block(&self, at: u64) -> std::result::Result<Option<Response>, ClientError> {
        let range = format!("bytes={at}-{}", at + BUFFER as u64 - 1);
        let request = self.client.get(self.path.clone()).header(header::RANGE, &range);
        let answer = request.header(header::IF_RANGE, &self.tag).send().await?;
        Ok((answer.status == StatusCode::PARTIAL_CONTENT).then_some(answer))
    }
}

/// Copies a body; returns its size.
///
/// # Errors
/// A body that breaks off: what came before it has been written.
pub async fn download(mut from: Download<'_>, out: &mut dyn Write, bar: &ProgressBar) -> Result<u64> {
    let (whole, mut size, mut asked) = (from.size(), 0, None);
    loop {
        let e = match from.answer.chunk().await {
            Ok(Some(bytes)) => {
                out.write_all(&bytes)?;
                size += bytes.len() as u64;
                bar.inc(bytes.len() as u64);
                continue;
            }
            Ok(None) if whole.is_none_or(|whole| size >= whole) => break,
            // The block at a break was whole: on with the next one.
            Ok(None) => ClientError::BrokeOff("it ended too early".into()),
            Err(e) => e,
        };
        // Once for each place: an answer that brings nothing more brings nothing the next time either.
        let rest = from.rest.as_ref().filter(|_| asked.replace(size) != Some(size));
        match rest {
            Some(rest) => match rest.block(size).await {
                Ok(Some(answer)) => from.answer = answer,
                Err(ClientError::Problem(problem)) => return Err((*problem).into()),
                Ok(None) | Err(_) => return Err(broke_off(size, &e)),
            },
            None => return Err(broke_off(size, &e)),
        }
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(size)
}

fn broke_off(size: u64, e: &ClientError) -> Error {
    Error::Failed(format!(
        "it broke off after {size} bytes ({e}): the daemon's log says why (`lattice paths`)"
    ))
}

pub async fn import(ctx: &Context, args: ImportArgs) -> Result<()> {
    let (source, size) = open(&args.file)?;
    let client = ctx.client().await?;
    let body = upload(source, progress::bytes(size, "import"));
    let doc: ImportDoc = client.post("/import").body(body).send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let line = format!(
        "store {} ({}): {}, {} of them new, {}, {}",
        doc.name,
        doc.store,
        count(doc.entries, "entries"),
        doc.new_entries,
        count(doc.chunks, "chunks"),
        bytes(doc.bytes)
    );
    ctx.out.line(line)?;
    if doc.early > 0 {
        ctx.out.note(format!(
            "{} entries are dated ahead of this machine's clock: import again later",
            doc.early
        ));
    }
    if doc.conflicts > 0 {
        ctx.out.note(format!("{} keys are in conflict: `lattice conflicts {}`", doc.conflicts, doc.name));
    }
    Ok(())
}

/// A file or stdin, and its size where it has one.
pub fn open(file: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let failed = |source| Error::File { path: file.into(), done: "read", source };
    let opened = File::open(file).map_err(failed)?;
    let meta = opened.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let size = meta.is_file().then_some(meta.len());
    Ok((Box::new(opened), size))
}

/// A body that is read from `source` as it is sent, a few buffers ahead.
pub fn upload(mut source: Box<dyn Read + Send>, bar: ProgressBar) -> Body {
    let (tx, rx) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut buffer = Vec::with_capacity(BUFFER);
            let run = match (&mut source).take(BUFFER as u64).read_to_end(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    bar.inc(n as u64);
                    Ok(Bytes::from(buffer))
                }
                Err(e) => Err(e),
            };
            let failed = run.is_err();
            if tx.blocking_send(run).is_err() || failed {
                break;
            }
        }
        bar.finish_and_clear();
    });
    Body::from_stream(ReceiverStream::new(rx))
}
