//! How a node learns that it was revoked: whoever has revoked it cuts it off before the entry that says so could reach it, so
//! the reason goes with the close. It is a member's word about itself and no proof: nothing is decided by it, it is told to
//! the user. Kept in a file, because the members say it only when they are dialled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use iroh::endpoint::{ConnectError, ConnectingError, Connection, ConnectionError};
use parking_lot::Mutex;

use super::{code, files};
use crate::id::NodeId;

const FILE: &str = "revoked-by";

/// The members that have said so.
#[derive(Debug)]
pub(super) struct Told {
    file: PathBuf,
    by: Mutex<BTreeSet<NodeId>>,
}

impl Told {
    /// `dir`: where this node's own small files are.
    pub fn load(dir: &Path) -> Self {
        let file = dir.join(FILE);
        Self { by: Mutex::new(read(&file)), file }
    }

    pub fn by(&self) -> BTreeSet<NodeId> {
        self.by.lock().clone()
    }

    /// A connection that is over, before it is closed from here: that would be its reason then.
    pub fn hear(&self, conn: &Connection) {
        if conn.close_reason().is_some_and(|e| says_so(&e)) {
            self.set(NodeId(*conn.remote_id().as_bytes()), true);
        }
    }

    /// A dial that came to nothing.
    pub fn hear_error(&self, peer: &NodeId, e: &ConnectError) {
        let closed = match e {
            ConnectError::Connection { source, .. } => Some(source),
            ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. } => {
                Some(source)
            }
            _ => None,
        };
        if closed.is_some_and(says_so) {
            self.set(*peer, true);
        }
    }

    /// It talks to us.
    pub fn forget(&self, peer: &NodeId) {
        self.set(*peer, false);
    }

    fn set(&self, peer: NodeId, says_so: bool) {
        let mut by = self.by.lock();
        if !(if says_so { by.insert(peer) } else { by.remove(&peer) }) {
            return;
        }
        if says_so {
            tracing::warn!(peer = %peer.short(), "it says that this node was revoked");
        }
        let lines: String = by.iter().map(|id| format!("{id}\n")).collect();
        if let Err(e) = files::write(&self.file, lines.as_bytes()) {
            tracing::warn!("{} can't be written: {e}", self.file.display());
        }
    }
}

/// Which members have told the node of this data directory that it was revoked; for when no network runs.
pub fn revoked_by(data_dir: &Path) -> BTreeSet<NodeId> {
    read(&data_dir.join(super::DIR).join(FILE))
}

fn read(file: &Path) -> BTreeSet<NodeId> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn says_so(e: &ConnectionError) -> bool {
    matches!(e, ConnectionError::ApplicationClosed(close) if close.error_code == code::REVOKED)
}
