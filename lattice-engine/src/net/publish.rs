//! From a commit to the peers: a thread per store signs and syncs what was committed, in groups, and wakes the sessions.
//! Only what is durable is told of: a crash must not take back what a peer has.
//!
//! While nobody is connected it leaves that to the store's own rhythm, so that a node on its own writes as fast as one
//! without a network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::local::{Local, TICK};

/// While commits keep coming, a group is this long: each costs a flush of the disk.
const GROUP: Duration = Duration::from_millis(4);

/// Until the store is no longer exchanged.
pub(super) fn run(shared: &Shared, local: &Local) {
    let mut published = Instant::now();
    while !local.stop.is_cancelled() {
        if !shared.wait_linked(TICK) {
            continue;
        }
        let asked = Instant::now();
        if local.handle.wait_unpublished(TICK) {
            if let Some(rest) = GROUP.checked_sub(published.elapsed()) {
                std::thread::sleep(rest);
            }
            publish(local);
            published = Instant::now();
        } else if asked.elapsed() < TICK / 2 {
            // It has closed, and will be told to stop.
            std::thread::sleep(TICK / 4);
        } else {
            // A program's fsync publishes, too.
            tell(local);
        }
    }
}

/// Makes what was committed durable, and tells the sessions. Blocks.
pub(super) fn publish(local: &Local) {
    if let Err(e) = local.handle.publish() {
        tracing::debug!(store = %local.handle.id(), "nothing can be published: {e}");
    }
    tell(local);
}

/// Tells the sessions what is durable now, and which forks are known.
pub(super) fn tell(local: &Local) {
    let forks = local.handle.forks();
    local.forks.send_if_modified(|told| {
        let news = !Arc::ptr_eq(told, &forks);
        if news {
            *told = forks;
        }
        news
    });
    let tips = local.handle.published();
    local.tips.send_if_modified(|told| {
        let newer = !Arc::ptr_eq(told, &tips) && tips.generation() > told.generation();
        if newer {
            *told = tips;
        }
        newer
    });
}
