//! Noticing that time has passed without us: the machine slept, or the process was stopped ([`WakeDetector`]). Then every
//! connection is doubted and every peer dialled at once, rather than when timers that slept too get round to it. The same
//! when this machine's addresses change.

use std::sync::Arc;
use std::time::Duration;

use iroh::Watcher;
use rustix::time::{ClockId, clock_gettime};

use super::{Shared, code};
use crate::sync::Millis;
use crate::sync::schedule::{Event, WakeDetector};

const TICK: Duration = Duration::from_secs(1);
/// How long a connection that is doubted has to answer.
const DOUBT: Duration = Duration::from_secs(2);
/// Where only this machine's addresses have changed, both ends are awake, and it is some round trips, within these bounds:
/// a connection that is given up in vain costs one handshake, and waiting for one that is dead costs the waiting.
const ROUND_TRIPS: u32 = 10;
const SOONEST: Duration = Duration::from_millis(300);

/// Milliseconds of CLOCK_BOOTTIME and of CLOCK_MONOTONIC.
fn clocks() -> (Millis, Millis) {
    let read = |id| {
        let now = clock_gettime(id);
        now.tv_sec.max(0) as Millis * 1_000 + now.tv_nsec.clamp(0, 999_999_999) as Millis / 1_000_000
    };
    (read(ClockId::Boottime), read(ClockId::Monotonic))
}

/// Until the network stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut addresses = shared.endpoint.watch_addr();
    let mut slept = WakeDetector::new(TICK.as_millis() as Millis);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = addresses.updated() => match changed {
                Ok(_) => {
                    tracing::debug!("this machine's addresses have changed");
                    doubt_all(&shared, Event::NetworkChanged);
                }
                Err(_) => return,
            },
            () = tokio::time::sleep(TICK) => {
                let (boottime, monotonic) = clocks();
                if let Some(lost) = slept.sample(boottime, monotonic) {
                    tracing::info!("{} s have passed without us: every peer is asked", lost / 1_000);
                    shared.endpoint.network_change().await;
                    doubt_all(&shared, Event::Woke);
                }
            }
        }
    }
}

/// Asks everybody anew, and closes what doesn't answer.
fn doubt_all(shared: &Arc<Shared>, why: Event) {
    let moved = why == Event::NetworkChanged;
    shared.told(why);
    for link in shared.peers.links() {
        let patience = match link.rtt().filter(|_| moved) {
            Some(rtt) => (rtt * ROUND_TRIPS).clamp(SOONEST, DOUBT),
            None => DOUBT,
        };
        shared.spawn("doubt", async move {
            if let Err(e) = link.ping(patience).await {
                link.close(code::STALE, &e.to_string());
            }
        });
    }
}
