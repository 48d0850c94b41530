//! The process that serves mounts and the socket: it holds the data directory, answers commands, and ends when it is
//! told to or when its last mount has gone. One per data directory.

mod background;
mod listen;
mod manager;
mod ready;
pub mod sidecar;
mod signals;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lattice_engine::net::{self, Net};
use lattice_engine::node::{Node, NodeError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use background::{Started, detach, start};
pub use ready::{Ready, Report};

use crate::http::model::{MountDoc, MountRequest};
use crate::http::problem::{Problem, blocking};
use crate::http::{self, App};
use crate::mounts::Mounts;
use crate::paths::{Paths, make_private_dir};
use sidecar::Sidecar;

/// How long a start waits for a command that has the data directory open.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(25);
/// How soon it is noticed that the last mount was unmounted from outside.
const IDLE_POLL: Duration = Duration::from_millis(500);
/// How long connections get to end.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// What the node or the router refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("a daemon serves {} already", .0.display())]
    SocketTaken(PathBuf),
    #[error("{what} {path}: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot listen for HTTP at {at}: {source}. `--http ADDR:PORT` takes another place")]
    Listen { at: SocketAddr, source: io::Error },
    #[error("the background process can't be started: {0}")]
    Spawn(io::Error),
    /// It ended before it was ready and left no word but its log.
    #[error("the background process ended before it was ready; the end of its log {}:\n{tail}", log.display())]
    Died { log: PathBuf, tail: String },
    /// What the background process said itself.
    #[error("{message}")]
    Relayed { message: String, code: u8 },
}

pub type Result<T> = std::result::Result<T, DaemonError>;

impl<P: Into<Problem>> From<P> for DaemonError {
    fn from(problem: P) -> Self {
        Self::Problem(Box::new(problem.into()))
    }
}

/// How the daemon is reached from outside of this machine's files.
#[derive(Debug, Clone, Default)]
pub struct Faces {
    /// Without it there is no network.
    pub net: Option<net::Config>,
    /// Without it there is no HTTP but on the socket.
    pub http: Option<sidecar::Config>,
}

/// Runs until stopped. Tells `ready` once the mount really stands; an error before that is returned, not told.
///
/// `request`: what to mount; without it the daemon stays until it is stopped.
pub async fn run(paths: &Paths, request: Option<&MountRequest>, faces: Faces, ready: Ready) -> Result<()> {
    let stop = CancellationToken::new();
    signals::watch(stop.clone())?;
    let node = open(&paths.data).await?;
    let mounts = Mounts::default();
    let sidecar = match faces.http {
        Some(config) => Some(Sidecar::bind(config).await?),
        None => None,
    };
    let net = start_net(&node, faces.net).await;
    let web = sidecar.as_ref().map(Sidecar::web);
    let app = App::daemon(node.clone(), mounts.clone(), net.clone(), web, stop.clone());
    if request.is_none() {
        mounts.keep_open();
    }
    manager::watch(node.clone(), stop.clone());
    let served = serve(paths, app, sidecar, request, ready, &stop).await;
    stop.cancel();
    let unmounted = blocking(move || {
        close_mounts(&mounts);
        Ok(())
    })
    .await;
    // After the mounts, which save what is open: the peers get that, too.
    if let Ok(net) = net {
        net.stop().await;
    }
    let closed = blocking(move || Ok(node.close()?)).await;
    served.and(unmounted.map_err(Into::into)).and(closed.map_err(Into::into))
}

async fn serve(
    paths: &Paths,
    app: App,
    sidecar: Option<Sidecar>,
    request: Option<&MountRequest>,
    ready: Ready,
    stop: &CancellationToken,
) -> Result<()> {
    let mounts = app.mounts()?.clone();
    let url = app.control.web.as_ref().map(|web| web.url.clone());
    let socket = &paths.socket;
    let listener = listen::bind_where_possible(&paths.runtime, socket).await?;
    let listens = listener.is_some();
    let tasks = TaskTracker::new();
    if let Some(listener) = listener {
        tasks.spawn(listen::serve(listener, http::local(app.clone()), stop.clone(), tasks.clone()));
    }
    if let Some(sidecar) = sidecar {
        tracing::info!("HTTP at {}", sidecar.url());
        tasks.spawn(sidecar.serve(app.clone(), stop.clone(), tasks.clone()));
    }
    let mounted = match request {
        Some(request) => mount(app, request).await.map(Some),
        None => Ok(None),
    };
    if let Ok(doc) = &mounted {
        if let Some(doc) = doc {
            tracing::info!(dir = doc.dir, source = doc.source, "mounted");
        }
        ready.tell(&Report::Ready { mount: doc.clone(), pid: std::process::id(), http: url });
        manager::ready(&doc.as_ref().map_or("serving".into(), |m| format!("{} on {}", m.source, m.dir)));
        idle(&mounts, stop).await;
        tracing::info!("stopping");
        manager::stopping();
    }
    stop.cancel();
    // Gone before the mounts are, so that nobody new comes in while they are flushed.
    if listens && let Err(e) = std::fs::remove_file(socket) {
        tracing::warn!("{} can't be removed: {e}", socket.display());
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("connections were cut off");
    }
    mounted.map(|_| ()).map_err(Into::into)
}

async fn mount(app: App, request: &MountRequest) -> std::result::Result<MountDoc, Problem> {
    let request = request.clone();
    blocking(move || http::mount_now(&app, &request)).await
}

/// Until somebody says stop, or nothing is mounted any more.
async fn idle(mounts: &Mounts, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(IDLE_POLL) => {}
        }
        if mounts.close_if_empty() {
            tracing::info!("the last mount has gone");
            return;
        }
    }
}

/// A machine without a network mounts all the same; what is wrong is logged and shown by `status`.
async fn start_net(node: &Node, config: Option<net::Config>) -> std::result::Result<Net, String> {
    let Some(config) = config else { return Err("it was started with --offline".into()) };
    if node.read_only() {
        return Err("the data directory can't be written".into());
    }
    Net::start(node.clone(), config).await.map_err(|e| {
        tracing::error!("there is no network: {e}");
        e.to_string()
    })
}

/// Flushed and unmounted; what is in use is detached, because the process ends either way.
fn close_mounts(mounts: &Mounts) {
    mounts.close();
    if let Err(e) = mounts.remove_all(false) {
        tracing::warn!("{e}; it is detached");
        if let Err(e) = mounts.remove_all(true) {
            tracing::error!("{e}");
        }
    }
}

async fn open(data: &Path) -> Result<Node> {
    let started = Instant::now();
    loop {
        let dir = data.to_owned();
        match blocking(move || Ok(Node::open(&dir))).await? {
            Ok(node) => return Ok(node),
            Err(NodeError::Locked { .. }) if started.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn private_dir(dir: &Path) -> Result<()> {
    make_private_dir(dir).map_err(|source| DaemonError::Io { what: "cannot make", path: dir.into(), source })
}
