//! What the sessions of one store know of each other: so that of many peers who have the same, one is asked.
//!
//! It refuses to let a silent peer keep the turn: a lease that makes no progress ends by itself.

use std::collections::BTreeSet;

use crate::id::NodeId;

use super::Millis;

/// A lease without progress for so long is anyone's.
pub const LEASE_MS: Millis = 2_000;

/// Shared by the sessions of one store; each call of a session gets it.
#[derive(Debug, Default)]
pub struct Mesh {
    /// The peer that is being asked, and until when it has the turn.
    lease: Option<(NodeId, Millis)>,
    /// Peers whose own entries come by themselves.
    direct: BTreeSet<NodeId>,
}

impl Mesh {
    /// Takes or renews the turn. `Err`: another has it until then.
    pub(super) fn take(&mut self, peer: NodeId, now: Millis) -> Result<(), Millis> {
        match self.lease {
            Some((holder, until)) if holder != peer && until > now => Err(until),
            _ => {
                self.lease = Some((peer, now + LEASE_MS));
                Ok(())
            }
        }
    }

    pub(super) fn give_back(&mut self, peer: NodeId) {
        if self.lease.is_some_and(|(holder, _)| holder == peer) {
            self.lease = None;
        }
    }

    /// The peer pushes what it writes.
    pub(super) fn is_direct(&self, peer: &NodeId) -> bool {
        self.direct.contains(peer)
    }

    pub(super) fn set_direct(&mut self, peer: NodeId) {
        self.direct.insert(peer);
    }

    /// The session with the peer has ended. A driver calls it when it drops a session without closing it.
    pub fn left(&mut self, peer: NodeId) {
        self.give_back(peer);
        self.direct.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_peers_until_it_is_given_back_or_stands_still() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut mesh = Mesh::default();
        assert_eq!(mesh.take(a, 0), Ok(()));
        assert_eq!(mesh.take(b, 1), Err(LEASE_MS));
        assert_eq!(mesh.take(a, 500), Ok(()));
        assert_eq!(mesh.take(b, LEASE_MS), Err(LEASE_MS + 500));
        assert_eq!(mesh.take(b, LEASE_MS + 500), Ok(()));
        mesh.give_back(a);
        assert!(mesh.take(a, LEASE_MS + 501).is_err(), "only its holder gives a turn back");
        mesh.left(b);
        assert_eq!(mesh.take(a, LEASE_MS + 502), Ok(()));
    }
}
