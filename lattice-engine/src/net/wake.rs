//! Noticing that time has passed without us: the machine slept (CLOCK_MONOTONIC stood still and CLOCK_BOOTTIME didn't),
//! or the process was stopped. Then every connection is doubted and every peer dialled at once, rather than when
//! timers that slept too get round to it. The same when this machine's addresses change.

use std::sync::Arc;
use std::time::Duration;

use iroh::Watcher;
use rustix::time::{ClockId, clock_gettime};

use super::{Shared, code};

const TICK: Duration = Duration::from_secs(1);
/// A busy machine may run us so much late.
const SLACK: Duration = Duration::from_secs(3);
/// How long a connection that is doubted has to answer.
const DOUBT: Duration = Duration::from_secs(2);

fn clock(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// What the two clocks said when we last looked.
#[derive(Debug, Clone, Copy)]
struct Looked {
    monotonic: Duration,
    boot: Duration,
}

impl Looked {
    fn now() -> Self {
        Self { monotonic: clock(ClockId::Monotonic), boot: clock(ClockId::Boottime) }
    }

    /// Time that passed without us between two looks which should have been a tick apart.
    fn lost(self, later: Self) -> Option<Duration> {
        let slept = (later.boot - self.boot).saturating_sub(later.monotonic - self.monotonic);
        let stopped = (later.monotonic - self.monotonic).saturating_sub(TICK);
        let lost = slept + stopped;
        (lost > SLACK).then_some(lost)
    }
}

/// Until the network stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut addresses = shared.endpoint.watch_addr();
    let mut looked = Looked::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = addresses.updated() => match changed {
                Ok(_) => {
                    tracing::debug!("this machine's addresses have changed");
                    doubt_all(&shared);
                }
                Err(_) => return,
            },
            () = tokio::time::sleep(TICK) => {
                let now = Looked::now();
                if let Some(lost) = looked.lost(now) {
                    tracing::info!("{} s have passed without us: every peer is asked", lost.as_secs());
                    shared.endpoint.network_change().await;
                    doubt_all(&shared);
                }
                looked = now;
            }
        }
    }
}

/// Dials whoever is not connected, and closes what doesn't answer.
fn doubt_all(shared: &Arc<Shared>) {
    shared.peers.poke_all();
    for link in shared.peers.links() {
        shared.spawn("doubt", async move {
            if let Err(e) = link.ping(DOUBT).await {
                link.close(code::STALE, &e.to_string());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_stops_are_told_from_a_late_tick() {
        let at = |monotonic, boot| Looked {
            monotonic: Duration::from_secs(monotonic),
            boot: Duration::from_secs(boot),
        };
        assert_eq!(at(100, 200).lost(at(101, 201)), None);
        assert_eq!(at(100, 200).lost(at(103, 203)), None);
        assert_eq!(at(100, 200).lost(at(101, 261)), Some(Duration::from_secs(60)), "asleep");
        assert_eq!(at(100, 200).lost(at(191, 291)), Some(Duration::from_secs(90)), "stopped");
    }
}
