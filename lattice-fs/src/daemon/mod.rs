//! The process that serves mounts and the socket: it holds the data directory, answers commands, and ends when it is
//! told to or when its last mount has gone. One per data directory.

mod background;
mod later;
mod listen;
mod manager;
mod ready;
pub mod sidecar;
pub mod signals;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lattice_engine::net::{self, Net, NetError};
use lattice_engine::node::{Node, NodeError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use background::{Started, detach, start};
pub use ready::{Ready, Report};

use crate::http::model::{MountDoc, MountRequest};
use crate::http::problem::{Problem, blocking};
use crate::http::{self, App, Reach};
use crate::mounts::Mounts;
use crate::paths::Paths;
use crate::patience::{POLL, Patience};
use sidecar::Sidecar;

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
    /// An address for the network that was asked for by name.
    #[error("{0}")]
    Network(NetError),
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
    /// Without the network's addresses the daemon isn't wanted either.
    pub insists: bool,
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
    let network = faces.net.as_ref().map(Into::into);
    let net = start_net(&node, faces.net, faces.insists).await?;
    let (starter, wanted) = later::channel();
    let reach = Reach { net: net.clone(), network, http_starter: Some(starter) };
    let app = App::daemon(node.clone(), mounts.clone(), reach, stop.clone());
    if request.is_none() {
        mounts.keep_open();
    }
    manager::watch(node.clone(), stop.clone());
    let http = Http { sidecar, wanted };
    let served = serve(paths, app, http, request, ready, &stop).await;
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

/// What is served over TCP: now, and what is asked for later.
struct Http {
    sidecar: Option<Sidecar>,
    wanted: later::Wanted,
}

async fn serve(
    paths: &Paths,
    app: App,
    http: Http,
    request: Option<&MountRequest>,
    ready: Ready,
    stop: &CancellationToken,
) -> Result<()> {
    let mounts = app.mounts()?.clone();
    let url = http.sidecar.as_ref().map(Sidecar::url);
    let listener = listen::bind_where_possible(paths.sockets()).await?;
    let tasks = TaskTracker::new();
    if let Some(sidecar) = http.sidecar {
        later::serve(sidecar, &app, stop, &tasks);
    }
    let mut socket = None;
    if let Some((listener, path)) = listener {
        socket = Some(path);
        tasks.spawn(listen::serve(listener, http::local(app.clone()), stop.clone(), tasks.clone()));
    }
    tasks.spawn(later::follow(http.wanted, app.clone(), stop.clone(), tasks.clone()));
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
    if let Some(socket) = socket
        && let Err(e) = std::fs::remove_file(&socket)
    {
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

/// A machine without a network mounts all the same; what is wrong is logged and shown by `status`. Not so where `insists`:
/// who names an address wants that one.
async fn start_net(
    node: &Node,
    config: Option<net::Config>,
    insists: bool,
) -> Result<std::result::Result<Net, String>> {
    let Some(config) = config else {
        return Ok(Err("it was started offline (--offline, LATTICE_OFFLINE, or config.toml)".into()));
    };
    if node.read_only() {
        return Ok(Err("the data directory can't be written".into()));
    }
    match Net::start(node.clone(), config).await {
        Err(e @ NetError::Bind { .. }) if insists => Err(DaemonError::Network(e)),
        Err(e) => {
            tracing::error!("there is no network: {e}");
            Ok(Err(e.to_string()))
        }
        Ok(net) => Ok(Ok(net)),
    }
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
    let mut patience = Patience::new(Instant::now());
    loop {
        let dir = data.to_owned();
        match blocking(move || Ok(Node::open(&dir))).await? {
            Ok(node) => return Ok(node),
            Err(NodeError::Locked { pid, .. }) if patience.goes_on(pid, Instant::now()) => {
                tokio::time::sleep(POLL).await;
            }
            Err(e) => return Err(e.into()),
        }
    }
}
