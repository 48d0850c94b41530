//! A store that is open here, as its sessions and threads share it. It does nothing by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::wanted::Wanted;
use crate::id::NodeId;
use crate::store::{Handle, HeldWrites};
use crate::sync::{Mark, Mesh, Session, SharedForks, SharedTips};

/// How long a thread sleeps before it looks whether it should end.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A store, as the network sees it.
#[derive(Debug)]
pub(super) struct Local {
    pub handle: Handle,
    /// The root store is exchanged first: it says whose entries count in the others.
    pub is_root: bool,
    /// What its sessions know of each other.
    pub mesh: Mutex<Mesh>,
    /// What is durable here, for the sessions.
    pub tips: watch::Sender<SharedTips>,
    /// The forks that are known here, for the sessions.
    pub forks: watch::Sender<SharedForks>,
    /// A session with each peer that has it open.
    pub sessions: Mutex<BTreeMap<NodeId, Arc<Mutex<Session>>>>,
    /// What peers held durably when their sessions ended.
    pub held: Mutex<BTreeMap<NodeId, Held>>,
    /// The generation of the tips up to which what the entries name is here, large files' bytes too: `content` says so.
    pub whole: watch::Sender<Option<u64>>,
    /// Counts the times that sessions were told to ask whether both hold the same.
    pub ask: watch::Sender<u64>,
    /// Counts what sessions have learnt.
    pub progress: watch::Sender<u64>,
    /// The first write waits, until `first` takes this.
    pub held_writes: Mutex<Option<HeldWrites>>,
    /// Chunks that are to be fetched.
    pub wanted: Wanted,
    pub stop: CancellationToken,
}

/// What a peer has said that it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub marks: BTreeMap<NodeId, Mark>,
    /// The content that the entries name as well.
    pub whole: BTreeMap<NodeId, Mark>,
}

impl Held {
    pub fn by(session: &Session) -> Self {
        Self { marks: session.theirs().clone(), whole: session.theirs_whole().clone() }
    }
}

impl Local {
    /// `held_writes`: where its first write has to wait.
    pub fn new(
        handle: Handle,
        held_writes: Option<HeldWrites>,
        is_root: bool,
        stop: CancellationToken,
    ) -> Self {
        let tips = watch::Sender::new(handle.published());
        Self {
            is_root,
            mesh: Mutex::default(),
            tips,
            forks: watch::Sender::new(handle.forks()),
            sessions: Mutex::default(),
            held: Mutex::default(),
            // Its values are small: they are in its entries.
            whole: watch::Sender::new(is_root.then_some(u64::MAX)),
            ask: watch::Sender::new(0),
            progress: watch::Sender::new(0),
            held_writes: Mutex::new(held_writes),
            wanted: Wanted::default(),
            handle,
            stop,
        }
    }

    /// Tells whoever waits that a session has learnt something.
    pub fn progressed(&self) {
        self.progress.send_modify(|n| *n += 1);
    }
}
