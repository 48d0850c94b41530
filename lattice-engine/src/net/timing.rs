//! Drives the [`Schedule`]: does at its times what it says, and tells it what came of that. Who is connected is asked by
//! every session of the connection whether both hold the same; who isn't is dialled ([`super::dial`]).

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shared;
use crate::id::NodeId;
use crate::identity::random_bytes;
use crate::sync::schedule::{Event, Schedule};

/// When which peer is asked.
#[derive(Debug, Default)]
pub(super) struct Timing {
    schedule: Mutex<Schedule>,
    /// The next time may be another.
    changed: Notify,
}

/// Until the network stops.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let changed = shared.timing.changed.notified();
        let next = shared.timing.schedule.lock().next();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(shared.instant(at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = changed => {}
            () = due => shared.told(Event::Tick),
        }
    }
}

impl Shared {
    /// Tells the schedule something, and does what it says.
    pub fn told(&self, event: Event) {
        let mut due = self.timing.handle(event, self);
        while let Some(id) = due.pop() {
            let Some(peer) = self.peers.get(&id) else { continue };
            match peer.link() {
                Some(link) => {
                    link.check.send_modify(|n| *n += 1);
                    due.extend(self.timing.handle(Event::Reached(id), self));
                }
                None => peer.dial.notify_one(),
            }
        }
        self.timing.changed.notify_one();
    }
}

impl Timing {
    fn handle(&self, event: Event, shared: &Shared) -> Vec<NodeId> {
        // Without random numbers peers are asked in step, which is no reason to ask none.
        let random = random_bytes::<8>().map(u64::from_le_bytes).unwrap_or_default();
        self.schedule.lock().handle(event, shared.now(), random)
    }
}
