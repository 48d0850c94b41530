//! Who may connect: the members, as the root store has them now. Asked when a handshake is done and before anything is
//! read or sent, so a stranger gets no byte of a store, nor learns which stores there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks};
use parking_lot::RwLock;

use super::{ALPN, JOIN_ALPN, code};
use crate::access::Membership;
use crate::id::NodeId;

/// The active members other than this node. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<RwLock<Who>>);

#[derive(Debug, Default)]
struct Who {
    members: BTreeSet<NodeId>,
    /// Tells who was one.
    membership: Option<Arc<Membership>>,
}

impl Gate {
    pub fn admits(&self, node: &NodeId) -> bool {
        self.0.read().members.contains(node)
    }

    fn has_revoked(&self, node: &NodeId) -> bool {
        self.0.read().membership.as_ref().is_some_and(|m| m.has_revoked(node))
    }

    pub fn members(&self) -> BTreeSet<NodeId> {
        self.0.read().members.clone()
    }

    /// Replaces them. Gives those who were members and are no longer.
    pub fn set(&self, members: BTreeSet<NodeId>, membership: Arc<Membership>) -> Vec<NodeId> {
        let mut now = self.0.write();
        let gone = now.members.difference(&members).copied().collect();
        *now = Who { members, membership: Some(membership) };
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
        let (error_code, reason) = match self.0.has_revoked(&peer) {
            true => (code::REVOKED, "revoked"),
            false => (code::NOT_A_MEMBER, "not a member"),
        };
        tracing::info!(peer = %peer.short(), "refused: {reason}");
        AfterHandshakeOutcome::Reject { error_code, reason: reason.into() }
    }
}
