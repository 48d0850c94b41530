//! The first write in a store since the network has started: it waits until those who can be reached have said how far they
//! hold this node's own entries. [`FirstWrite`] decides; this looks at the peers for it.
//!
//! Promised is what peers can warn of: a peer that isn't reached within a few seconds of the start warns of nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::link::Link;
use super::local::Local;
use crate::id::NodeId;
use crate::node::Node;
use crate::store::{Handle, HeldWrites};
use crate::sync::{FirstWrite, Heard, May};

/// What isn't told is looked at so often, while something waits.
const TICK: Duration = Duration::from_millis(250);
/// A peer whose daemon has just started hasn't opened its stores yet. After so long it has said which it has.
const OPENING: Duration = Duration::from_secs(1);

/// Holds the first write, where anybody else could hold entries of this node.
pub(super) fn hold(node: &Node, handle: &Handle) -> Option<HeldWrites> {
    let others = node.membership().active().any(|id| *id != node.id());
    others.then(|| handle.hold_writes()).flatten()
}

/// Until it may be written, or the network stops.
pub(super) async fn wait(shared: Arc<Shared>, local: Arc<Local>, held: HeldWrites) {
    let began = std::time::Instant::now();
    let mut first = FirstWrite::new(shared.now());
    let mut progress = local.progress.subscribe();
    loop {
        let own = local.handle.published().seq(&shared.me);
        let now = shared.now();
        let May::Wait(until) = first.look(own, &heard(&shared, &local), now) else { break };
        let tick = TICK.min(Duration::from_millis(until.saturating_sub(now)));
        tokio::select! {
            () = local.stop.cancelled() => break,
            // Its sender lives in `local`.
            _ = progress.changed() => {}
            () = tokio::time::sleep(tick) => {}
        }
    }
    drop(held);
    let ms = began.elapsed().as_millis();
    tracing::debug!(store = %local.handle.id(), ms, "it may be written");
}

/// What every other member has said of this node's own chain.
fn heard(shared: &Shared, local: &Local) -> BTreeMap<NodeId, Heard> {
    let membership = shared.node.membership();
    let others = membership.active().filter(|id| **id != shared.me);
    others.map(|id| (*id, heard_of(shared, local, id))).collect()
}

fn heard_of(shared: &Shared, local: &Local, id: &NodeId) -> Heard {
    let session = local.sessions.lock().get(id).cloned();
    if let Some(session) = session {
        let session = session.lock();
        if session.behind().known {
            return Heard::Holds(session.theirs().get(&shared.me).map_or(0, |mark| mark.seq));
        }
    }
    let Some(peer) = shared.peers.get(id) else { return Heard::Dialled };
    match peer.link() {
        Some(link) if may_have(&link, local) => Heard::Connected,
        Some(_) => Heard::Away,
        None if peer.record.lock().last_error.is_some() => Heard::Away,
        None => Heard::Dialled,
    }
}

/// Whether a connected peer has the store open, or may have and not have said so yet.
fn may_have(link: &Link, local: &Local) -> bool {
    let theirs = link.theirs.borrow();
    theirs.contains(&local.handle.id()) || (theirs.len() <= 1 && link.since.elapsed() < OPENING)
}
