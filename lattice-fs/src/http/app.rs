//! What every handler works on: the node, the mounts of this process, and the wish to stop.

use std::sync::{Arc, OnceLock};

use lattice_engine::id::StoreId;
use lattice_engine::net::Net;
use lattice_engine::node::{Node, StoreInfo};
use lattice_engine::store::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::bells::Bells;
use super::metrics::Meters;
use super::problem::{Code, Problem, Result};
use super::sessions::Sessions;
use super::settings::{HttpSettings, HttpStarter, NetworkSettings};
use super::writes::Writes;
use crate::mounts::Mounts;
use crate::view::Defaults;

/// Shared by every request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    pub node: Node,
    pub control: Arc<Control>,
}

/// Event streams over TCP at once: each has a connection.
pub const MAX_STREAMS: usize = 2048;

/// Threads that may wait at once for a client, or for what takes long: there are only so many.
pub const MAX_LONG_WAITS: usize = 64;

/// What is served over TCP.
#[derive(Debug)]
pub struct Web {
    /// Where the page is opened.
    pub url: String,
    pub sessions: Sessions,
    pub settings: HttpSettings,
}

/// How a daemon is reached by others.
#[derive(Debug)]
pub struct Reach {
    /// The running network, or why there is none.
    pub net: std::result::Result<Net, String>,
    /// What the network was started with, where one was wanted.
    pub network: Option<NetworkSettings>,
    /// Serves HTTP once it is asked for.
    pub http_starter: Option<HttpStarter>,
}

/// What only a daemon has.
#[derive(Debug)]
pub struct Control {
    /// `None` in a command that opened the node for itself.
    pub mounts: Option<Mounts>,
    /// The running network, or why there is none.
    pub net: std::result::Result<Net, String>,
    /// What the network was started with, where one was wanted.
    pub network: Option<NetworkSettings>,
    /// What is served over TCP, where it is.
    pub web: OnceLock<Web>,
    /// Serves HTTP once it is asked for.
    pub http_starter: Option<HttpStarter>,
    /// One for each event stream over TCP.
    pub streams: Arc<Semaphore>,
    /// One for each thread that waits long.
    pub long_waits: Arc<Semaphore>,
    pub bells: Bells,
    pub writes: Writes,
    pub meters: Meters,
    /// Cancelled when the process is to flush and end; streams end with it.
    pub stop: CancellationToken,
}

impl App {
    /// For a command without a daemon.
    pub fn in_process(node: Node) -> Self {
        let why = "no daemon runs: `lattice serve` or `lattice mount DIR` starts one";
        let reach = Reach { net: Err(why.into()), network: None, http_starter: None };
        Self::new(node, None, reach, CancellationToken::new())
    }

    pub fn daemon(node: Node, mounts: Mounts, reach: Reach, stop: CancellationToken) -> Self {
        Self::new(node, Some(mounts), reach, stop)
    }

    fn new(node: Node, mounts: Option<Mounts>, reach: Reach, stop: CancellationToken) -> Self {
        let Reach { net, network, http_starter } = reach;
        Self {
            node,
            control: Arc::new(Control {
                mounts,
                net,
                network,
                web: OnceLock::new(),
                http_starter,
                streams: Arc::new(Semaphore::new(MAX_STREAMS)),
                long_waits: Arc::new(Semaphore::new(MAX_LONG_WAITS)),
                bells: Bells::default(),
                writes: Writes::default(),
                meters: Meters::default(),
                stop,
            }),
        }
    }

    /// A place for a thread that waits for a client, or for long; refused where all are taken.
    pub fn long_wait(&self) -> Result<OwnedSemaphorePermit> {
        self.control.long_waits.clone().try_acquire_owned().map_err(|_| {
            let detail =
                "too many exports and long waits are under way: wait for one to end, or try again later";
            Problem::new(Code::Busy, detail)
        })
    }

    /// The network, or why there is none.
    pub fn net(&self) -> Result<&Net> {
        let code = if self.control.mounts.is_some() { Code::NoNetwork } else { Code::NoDaemon };
        self.control.net.as_ref().map_err(|why| Problem::new(code, format!("there is no network: {why}")))
    }

    /// The mounts, or why there can't be any.
    pub fn mounts(&self) -> Result<&Mounts> {
        self.control
            .mounts
            .as_ref()
            .ok_or_else(|| Problem::new(Code::NoDaemon, "no daemon runs: `lattice mount DIR` starts one"))
    }

    /// The listing entry of a store that exists.
    pub fn info(&self, id: StoreId) -> Result<StoreInfo> {
        let found = self.node.stores()?.into_iter().find(|s| s.id == id);
        found.ok_or_else(|| Problem::new(Code::NoSuchStore, format!("no store {id}")))
    }

    /// What fills the gaps in a file's attributes: the same as a mount of this process shows.
    pub fn defaults(&self, store: &Handle) -> Defaults {
        Defaults {
            store: store.id(),
            author: store.author(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }
}
