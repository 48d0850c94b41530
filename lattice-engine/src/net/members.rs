//! Following the root store: who is added is dialled and may connect, who is revoked is cut off at once, in mid-stream;
//! stores that were declared, renamed or deleted elsewhere appear and vanish.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::local::TICK;
use super::{Shared, dial, genesis, introducers};
use crate::id::NodeId;
use crate::store::LiveChange as Change;
use crate::sync::schedule::Event;

/// The thread that follows who the members are.
pub(super) fn follow(shared: &Arc<Shared>) {
    let mut seen = 0;
    while !shared.stop.is_cancelled() {
        refresh(shared);
        let mut now = seen;
        while now == seen && !shared.stop.is_cancelled() {
            now = shared.node.wait_members_changed(seen, TICK);
        }
        seen = now;
    }
}

/// The thread that follows which stores are declared.
pub(super) fn follow_stores(shared: &Arc<Shared>) {
    let live = shared.node.root().live();
    genesis::look(shared);
    while !shared.stop.is_cancelled() {
        match live.next(TICK) {
            None => continue,
            Some(Change::Closed) => return,
            Some(_) => {}
        }
        // What has come with it.
        while live.next(Duration::ZERO).is_some_and(|c| !matches!(c, Change::Closed)) {}
        genesis::look(shared);
    }
}

/// Takes over who the members are.
pub(super) fn refresh(shared: &Arc<Shared>) {
    let _one = shared.refreshing.lock();
    let membership = shared.node.membership();
    let mut members: BTreeSet<NodeId> = membership.active().copied().collect();
    if !members.remove(&shared.me) && !membership.has_revoked(&shared.me) {
        // We have just joined, and the root store has yet to come, or to tell us so.
        members.extend(introducers::all(&shared.dir));
        members.remove(&shared.me);
    }
    for gone in shared.gate.set(members.clone(), membership.clone()) {
        tracing::info!(peer = %gone.short(), "no longer a member: it is cut off");
        shared.peers.remove(&gone, membership.has_revoked(&gone));
        shared.hints.lines.close(&gone);
        shared.book.forget(&gone);
    }
    for id in members.iter().copied() {
        let (peer, new) = shared.peers.add(id, &shared.stop);
        if new {
            shared.spawn("dial", dial::keep(shared.clone(), peer));
        }
    }
    shared.told(Event::Members(members));
}
