//! When a store's stream to a peer is opened, and when again after it has ended: soon after a good one, later each time
//! that nothing came of it. It opens nothing itself, and knows no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::StoreId;

/// A stream that ended is opened again after so long, and later each time that nothing came of it.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// One that lasted so long was well.
const GOOD: Duration = Duration::from_secs(30);

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Reopen {
    open: BTreeSet<StoreId>,
    /// When one that ended may be opened again, and how long the pause before was.
    later: BTreeMap<StoreId, (Instant, Duration)>,
}

impl Reopen {
    /// True: a stream of the store is to be opened now, and counts as open from here on.
    pub fn begin(&mut self, store: StoreId, now: Instant) -> bool {
        let early = self.later.get(&store).is_some_and(|(at, _)| *at > now);
        !early && self.open.insert(store)
    }

    /// A stream has ended that was open for so long.
    pub fn ended(&mut self, store: StoreId, lasted: Duration, now: Instant) {
        self.open.remove(&store);
        let before = self.later.get(&store).map_or(AGAIN, |(_, pause)| (*pause * 2).min(AGAIN_MAX));
        let pause = if lasted > GOOD { AGAIN } else { before };
        self.later.insert(store, (now + pause, pause));
    }

    /// When the first of these stores may be opened again. Of other stores, which one side has no longer, nothing is
    /// waited for.
    pub fn next(&self, stores: impl IntoIterator<Item = StoreId>) -> Option<Instant> {
        let closed = stores.into_iter().filter(|store| !self.open.contains(store));
        closed.filter_map(|store| self.later.get(&store).map(|(at, _)| *at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: StoreId = StoreId([1; 16]);
    const TWO: StoreId = StoreId([2; 16]);

    #[test]
    fn a_stream_that_ends_at_once_is_opened_later_each_time_and_a_good_one_soon() {
        let mut reopen = Reopen::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for lasted in [0, 0, 0, 60, 0] {
            assert!(reopen.begin(ONE, now) && !reopen.begin(ONE, now), "one at a time");
            assert_eq!(reopen.next([ONE]), None, "it is open");
            now += Duration::from_secs(lasted);
            reopen.ended(ONE, Duration::from_secs(lasted), now);
            let next = reopen.next([ONE]).expect("again");
            assert!(!reopen.begin(ONE, now), "not yet");
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [500, 1000, 2000, 500, 1000]);
    }

    #[test]
    fn a_store_that_one_side_has_no_longer_is_not_waited_for() {
        let mut reopen = Reopen::default();
        let now = Instant::now();
        assert!(reopen.begin(ONE, now) && reopen.begin(TWO, now));
        reopen.ended(ONE, Duration::ZERO, now);
        reopen.ended(TWO, GOOD * 2, now + GOOD);
        assert_eq!(reopen.next([TWO]), Some(now + GOOD + AGAIN));
        assert_eq!(reopen.next([]), None);
    }
}
