//! When which peer is asked whether both hold the same. Pure: time, and numbers drawn at random, are arguments.
//!
//! Every member is asked every 30 to 60 seconds, whether or not it is a neighbour in any overlay: that is the guarantee
//! behind everything faster. One that can't be reached is tried less and less often, up to every quarter of an hour, and at
//! once when something says that it may be back. Each peer has times of its own, so none that is away delays another. An
//! attempt that is never reported to have ended counts as failed after two minutes.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;

use super::Millis;

const EVERY_MS: (Millis, Millis) = (30_000, 60_000);
const FIRST_RETRY_MS: Millis = 1_000;
const MAX_RETRY_MS: Millis = 15 * 60 * 1000;
const ATTEMPT_MS: Millis = 120_000;

/// What the driver tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All other active members. Those that are new are asked at once.
    Members(BTreeSet<NodeId>),
    /// It may be there again: it called, a neighbour came up, an address was found.
    Up(NodeId),
    /// It said something by which it holds other entries than we do.
    Mismatch(NodeId),
    /// The machine has slept, or the process stood still: nothing is known of anyone.
    Woke,
    /// Addresses or routes have changed.
    NetworkChanged,
    /// The attempt has ended well: both hold the same, or a session goes on.
    Reached(NodeId),
    Failed(NodeId),
    /// The time that [`Schedule::next`] gave has come.
    Tick,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    at: Millis,
    failures: u32,
    /// Since when it is being asked.
    asking: Option<Millis>,
    /// Something came up meanwhile: to be asked once more at once.
    again: bool,
}

/// Whom to ask, and when.
#[derive(Debug, Default)]
pub struct Schedule {
    peers: BTreeMap<NodeId, Peer>,
}

impl Schedule {
    /// Takes an event and gives the peers to be asked now. `random` is drawn anew for each call.
    pub fn handle(&mut self, event: Event, now: Millis, random: u64) -> Vec<NodeId> {
        let mut random = Draw(random);
        match event {
            Event::Members(members) => {
                self.peers.retain(|peer, _| members.contains(peer));
                for member in members {
                    self.peers.entry(member).or_insert(Peer { at: now, ..Peer::default() });
                }
            }
            Event::Up(peer) | Event::Mismatch(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.soon(now);
                }
            }
            Event::Woke | Event::NetworkChanged => {
                for peer in self.peers.values_mut() {
                    // An attempt from before has no future.
                    peer.asking = None;
                    peer.soon(now);
                }
            }
            Event::Reached(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.failures = 0;
                    peer.ended(now, random.between(EVERY_MS.0, EVERY_MS.1));
                }
            }
            Event::Failed(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.failed(now, &mut random);
                }
            }
            Event::Tick => {}
        }
        self.due(now, &mut random)
    }

    /// When something is to be done next.
    pub fn next(&self) -> Option<Millis> {
        self.peers.values().map(|peer| peer.asking.map_or(peer.at, |since| since + ATTEMPT_MS)).min()
    }

    fn due(&mut self, now: Millis, random: &mut Draw) -> Vec<NodeId> {
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.asking.is_some_and(|since| since + ATTEMPT_MS <= now) {
                peer.failed(now, random);
            }
            if peer.asking.is_none() && peer.at <= now {
                peer.asking = Some(now);
                due.push(*id);
            }
        }
        due
    }
}

impl Peer {
    fn soon(&mut self, now: Millis) {
        self.failures = 0;
        self.at = now;
        self.again = self.asking.is_some();
    }

    fn ended(&mut self, now: Millis, wait: Millis) {
        self.asking = None;
        self.at = if std::mem::take(&mut self.again) { now } else { now + wait };
    }

    fn failed(&mut self, now: Millis, random: &mut Draw) {
        let wait = FIRST_RETRY_MS.saturating_mul(1 << self.failures.min(20)).min(MAX_RETRY_MS);
        self.failures += 1;
        // Half of it at random: those that lost one peer together don't come back together.
        self.ended(now, random.between(wait / 2, wait));
    }
}

/// Several numbers from one: SplitMix64.
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn between(&mut self, from: Millis, to: Millis) -> Millis {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        from + z % (to - from + 1)
    }
}

/// What a suspended machine's two clocks may differ by before it is said to have slept.
const SLEPT_MS: Millis = 2_000;
/// How late a sample may come before the process is said to have stood still.
const STOOD_STILL_MS: Millis = 8_000;

/// Tells whether the machine has slept, from samples of CLOCK_BOOTTIME, which goes on meanwhile, and CLOCK_MONOTONIC, which
/// doesn't. A process that was stopped is seen by a sample that comes late.
#[derive(Debug, Clone, Copy)]
pub struct WakeDetector {
    every: Millis,
    last: Option<(Millis, Millis)>,
}

impl WakeDetector {
    /// For samples that are taken `every` so many milliseconds.
    pub fn new(every: Millis) -> Self {
        Self { every, last: None }
    }

    /// Whether it has slept or stood still since the sample before.
    pub fn sample(&mut self, boottime: Millis, monotonic: Millis) -> bool {
        let Some((boot, mono)) = self.last.replace((boottime, monotonic)) else { return false };
        let (boot, mono) = (boottime.saturating_sub(boot), monotonic.saturating_sub(mono));
        boot.saturating_sub(mono) > SLEPT_MS || mono > self.every + STOOD_STILL_MS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn members(n: u8) -> Event {
        Event::Members((0..n).map(node).collect())
    }

    #[test]
    fn everyone_is_asked_at_once_and_then_every_30_to_60_seconds() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.handle(members(3), 5, 1).len(), 3);
        for n in 0..3 {
            assert_eq!(schedule.handle(Event::Reached(node(n)), 5, u64::from(n)), []);
        }
        let mut asked: BTreeMap<NodeId, Vec<Millis>> = BTreeMap::new();
        while let Some(at) = schedule.next().filter(|at| *at < 600_000) {
            for peer in schedule.handle(Event::Tick, at, at) {
                asked.entry(peer).or_default().push(at);
                schedule.handle(Event::Reached(peer), at, at ^ 77);
            }
        }
        assert_eq!(asked.len(), 3);
        for times in asked.values() {
            assert!(times.windows(2).all(|w| (30_000..=60_000).contains(&(w[1] - w[0]))), "{times:?}");
        }
        assert!(asked.values().collect::<BTreeSet<_>>().len() == 3, "not in step");
    }

    #[test]
    fn one_that_is_away_is_tried_less_often_and_at_once_when_it_may_be_back() {
        let mut schedule = Schedule::default();
        schedule.handle(members(1), 0, 1);
        let mut waits = Vec::new();
        let mut now = 0;
        for n in 0..20 {
            schedule.handle(Event::Failed(node(0)), now, n);
            let at = schedule.next().expect("a time");
            waits.push(at - now);
            now = at;
            assert_eq!(schedule.handle(Event::Tick, now, n), [node(0)]);
        }
        assert!(waits[0] <= 1_000 && waits[4] >= 8_000, "{waits:?}");
        assert!(waits.iter().all(|w| *w <= MAX_RETRY_MS) && waits[19] >= MAX_RETRY_MS / 2, "{waits:?}");
        schedule.handle(Event::Failed(node(0)), now, 3);
        assert_eq!(schedule.handle(Event::Up(node(0)), now + 1, 3), [node(0)]);
        schedule.handle(Event::Failed(node(0)), now + 2, 3);
        assert!(schedule.next().expect("a time") <= now + 1_002, "it starts from the beginning");
    }

    #[test]
    fn what_comes_up_while_it_is_asked_is_asked_again() {
        let mut schedule = Schedule::default();
        schedule.handle(members(1), 0, 1);
        assert_eq!(schedule.handle(Event::Mismatch(node(0)), 10, 1), []);
        assert_eq!(schedule.handle(Event::Reached(node(0)), 20, 1), [node(0)]);
        assert_eq!(schedule.handle(Event::Reached(node(0)), 30, 1), []);
    }

    #[test]
    fn a_wake_asks_everyone_whatever_was_under_way() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.handle(members(3), 0, 1).len(), 3);
        schedule.handle(Event::Failed(node(1)), 10, 1);
        assert_eq!(schedule.handle(Event::Woke, 20, 1).len(), 3);
        assert_eq!(schedule.handle(Event::Mismatch(node(9)), 20, 1), [], "no member");
    }

    proptest! {
        /// Whatever is reported and whatever is not: every member is asked again within the longest wait, and no answer of
        /// one changes another's times.
        #[test]
        fn nobody_is_forgotten(reports in proptest::collection::vec((0..4u8, 0..4u8), 0..200)) {
            let mut schedule = Schedule::default();
            let mut last = BTreeMap::new();
            for peer in schedule.handle(members(4), 0, 9) {
                last.insert(peer, 0);
            }
            let mut now = 0;
            for (peer, what) in reports {
                let event = match what {
                    0 => Event::Reached(node(peer)),
                    1 => Event::Failed(node(peer)),
                    // Never reported.
                    _ => Event::Tick,
                };
                now = if what == 2 { schedule.next().unwrap_or(now).max(now) } else { now + 100 };
                let asked = schedule.handle(event, now, now);
                for peer in asked {
                    last.insert(peer, now);
                }
                for at in last.values() {
                    prop_assert!(now - at <= MAX_RETRY_MS + ATTEMPT_MS);
                }
            }
        }
    }

    #[test]
    fn sleep_and_standing_still_are_seen_and_setting_the_clock_is_not() {
        let mut wake = WakeDetector::new(1_000);
        assert!(!wake.sample(50_000, 10_000));
        assert!(!wake.sample(51_000, 11_000));
        assert!(!wake.sample(53_500, 13_500), "a busy machine");
        assert!(wake.sample(153_500, 14_500), "a lid that was closed");
        assert!(!wake.sample(154_500, 15_500));
        assert!(wake.sample(244_500, 105_500), "SIGSTOP");
        assert!(!wake.sample(245_500, 106_500));
    }
}
