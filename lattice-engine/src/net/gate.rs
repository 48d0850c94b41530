//! Who may connect: the members, as the root store has them now. Asked when a handshake is done and before anything is
//! read or sent, so a stranger gets no byte of a store, nor learns which stores there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks};
use parking_lot::RwLock;

use super::{ALPN, JOIN_ALPN, code};
use crate::id::NodeId;

/// The active members other than this node. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<RwLock<BTreeSet<NodeId>>>);

impl Gate {
    pub fn admits(&self, node: &NodeId) -> bool {
        self.0.read().contains(node)
    }

    pub fn members(&self) -> BTreeSet<NodeId> {
        self.0.read().clone()
    }

    /// Replaces them. Gives those who were members and are no longer.
    pub fn set(&self, members: BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut now = self.0.write();
        let gone = now.difference(&members).copied().collect();
        *now = members;
        gone
    }
}

#[derive(Debug)]
pub(super) struct Hooks(pub Gate);

impl EndpointHooks for Hooks {
    async fn after_handshake<'a>(&'a self, conn: &'a Connection) -> AfterHandshakeOutcome {
        let peer = NodeId(*conn.remote_id().as_bytes());
        let may = match conn.alpn() {
            alpn if alpn == ALPN => self.0.admits(&peer),
            // Who joins is a stranger yet: it must show a ticket, and gets nothing before.
            alpn => alpn == JOIN_ALPN,
        };
        if may {
            return AfterHandshakeOutcome::Accept;
        }
        tracing::info!(peer = %peer.short(), "refused: not a member");
        AfterHandshakeOutcome::Reject { error_code: code::NOT_A_MEMBER, reason: b"not a member".to_vec() }
    }
}
