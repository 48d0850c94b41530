//! From a commit to the peers: a thread per store signs and syncs what was committed, in groups, and wakes the sessions.
//! Only what is durable is told of: a crash must not take back what a peer has.
//!
//! While nobody is connected it leaves that to the store's own rhythm, so that a node on its own writes as fast as one
//! without a network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::stores::{Local, TICK};
use crate::store::LiveChange as Change;

/// While commits keep coming, a group is this long: each costs a flush of the disk.
const GROUP: Duration = Duration::from_millis(4);

/// Until the store closes or is no longer exchanged.
pub(super) fn run(shared: &Shared, local: &Local) {
    let live = local.handle.live();
    let mut published = Instant::now();
    while !local.stop.is_cancelled() {
        match live.next(TICK) {
            Some(Change::Closed) => return,
            Some(Change::Event(_) | Change::Missed) => {}
            None => {
                tell(local);
                continue;
            }
        }
        if !shared.has_links() {
            continue;
        }
        if let Some(rest) = GROUP.checked_sub(published.elapsed()) {
            std::thread::sleep(rest);
        }
        // What has come meanwhile goes with it.
        while live.next(Duration::ZERO).is_some_and(|c| !matches!(c, Change::Closed)) {}
        publish(local);
        published = Instant::now();
    }
}

/// Makes what was committed durable, and tells the sessions. Blocks.
pub(super) fn publish(local: &Local) {
    if let Err(e) = local.handle.publish() {
        tracing::debug!(store = %local.handle.id(), "nothing can be published: {e}");
    }
    tell(local);
}

/// Tells the sessions what is durable now.
pub(super) fn tell(local: &Local) {
    let tips = local.handle.published();
    local.tips.send_if_modified(|told| {
        let newer = !Arc::ptr_eq(told, &tips) && tips.generation() > told.generation();
        if newer {
            *told = tips;
        }
        newer
    });
}
