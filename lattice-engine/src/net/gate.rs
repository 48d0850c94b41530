//! Who may connect: the members, as the root store has them now. Asked when a handshake is done and before anything is
//! read or sent, so a stranger gets no byte of a store, nor learns which stores there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use iroh::EndpointAddr;
use iroh::endpoint::{AfterHandshakeOutcome, BeforeConnectOutcome, Connection, EndpointHooks};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::hints::{self, Lines};
use super::{ALPN, JOIN_ALPN, code};
use crate::access::Membership;
use crate::id::NodeId;

/// The active members other than this node. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    members: Arc<watch::Sender<BTreeSet<NodeId>>>,
    /// Tells who was one.
    membership: Arc<RwLock<Option<Arc<Membership>>>>,
}

impl Gate {
    pub fn admits(&self, node: &NodeId) -> bool {
        self.members.borrow().contains(node)
    }

    fn has_revoked(&self, node: &NodeId) -> bool {
        self.membership.read().as_ref().is_some_and(|m| m.has_revoked(node))
    }

    pub fn members(&self) -> BTreeSet<NodeId> {
        self.members.borrow().clone()
    }

    /// Replaces them. Gives those who were members and are no longer.
    pub fn set(&self, members: BTreeSet<NodeId>, membership: Arc<Membership>) -> Vec<NodeId> {
        *self.membership.write() = Some(membership);
        let mut gone = Vec::new();
        self.members.send_if_modified(|now| {
            gone.extend(now.difference(&members).copied());
            let changed = *now != members;
            *now = members;
            changed
        });
        gone
    }

    /// Changes when they do.
    pub fn watch(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.members.subscribe()
    }
}

#[derive(Debug)]
pub(super) struct Hooks {
    pub gate: Gate,
    pub lines: Lines,
}

impl EndpointHooks for Hooks {
    /// Gossip dials whom it has heard of; it may where there is a link.
    async fn before_connect<'a>(&'a self, to: &'a EndpointAddr, alpn: &'a [u8]) -> BeforeConnectOutcome {
        let peer = NodeId(*to.id.as_bytes());
        if alpn != hints::ALPN || self.lines.is_linked(&peer) {
            BeforeConnectOutcome::Accept
        } else {
            BeforeConnectOutcome::Reject
        }
    }

    async fn after_handshake<'a>(&'a self, conn: &'a Connection) -> AfterHandshakeOutcome {
        let peer = NodeId(*conn.remote_id().as_bytes());
        let may = match conn.alpn() {
            alpn if alpn == ALPN || alpn == hints::ALPN => self.gate.admits(&peer),
            // Who joins is a stranger yet: it must show a ticket, and gets nothing before.
            alpn => alpn == JOIN_ALPN,
        };
        if may {
            if conn.alpn() == hints::ALPN {
                self.lines.opened(peer, conn.weak_handle());
            }
            return AfterHandshakeOutcome::Accept;
        }
        let (error_code, reason) = match self.gate.has_revoked(&peer) {
            true => (code::REVOKED, "revoked"),
            false => (code::NOT_A_MEMBER, "not a member"),
        };
        tracing::info!(peer = %peer.short(), "refused: {reason}");
        AfterHandshakeOutcome::Reject { error_code, reason: reason.into() }
    }
}
