//! When which peer is asked whether both hold the same. Pure: time, and numbers drawn at random, are arguments.
//!
//! Every member is asked every 30 to 60 seconds, whether or not it is a neighbour in any overlay: that is the guarantee
//! behind everything faster. One that can't be reached is tried again soon at first, then less and less often, and at once
//! when something says that it may be back. A network that heals in its middle tells nobody, so how often is measured by how
//! long it has been away: at least every two seconds in the first two minutes, then so that waiting adds a sixtieth to the
//! time away, up to every quarter of an hour. Each peer has times of its own, so none that is away delays another. An attempt
//! that is never reported to have ended counts as failed after two minutes.
//!
//! It connects nobody itself: `net` and the simulator do what it says, and tell it what came of that.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;

use super::Millis;

const EVERY_MS: (Millis, Millis) = (30_000, 60_000);
const FIRST_RETRY_MS: Millis = 250;
/// The longest pause is this part of the time away, between the two that follow.
const GONE_PART: Millis = 60;
const LATELY_MS: Millis = 2_000;
const MAX_RETRY_MS: Millis = 15 * 60 * 1000;
/// A connection that lasted so long was well: what follows its end is no repeated failure.
const GOOD_MS: Millis = 5_000;
const ATTEMPT_MS: Millis = 120_000;

/// What the driver tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All other active members. Those that are new are asked at once.
    Members(BTreeSet<NodeId>),
    /// It may be there again: it called, a neighbour came up, an address was found. An attempt from before is made anew.
    Up(NodeId),
    /// It said something by which it holds other entries than we do.
    Mismatch(NodeId),
    /// The machine has slept, or the process stood still: nothing is known of anyone.
    Woke,
    /// Addresses or routes have changed.
    NetworkChanged,
    /// The attempt has ended well, or the peer has called: there is a connection, and sessions ask over it.
    Reached(NodeId),
    /// The attempt has come to nothing.
    Failed(NodeId),
    /// The connection that there was has ended.
    Lost(NodeId),
    /// The time that [`Schedule::next`] gave has come.
    Tick,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    at: Millis,
    failures: u32,
    /// Since when there is a connection.
    linked: Option<Millis>,
    /// Since when there is none, if there was or somebody has tried.
    gone: Option<Millis>,
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
            Event::Up(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.anew(now);
                }
            }
            Event::Mismatch(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.at = now;
                    peer.again = peer.asking.is_some();
                }
            }
            Event::Woke | Event::NetworkChanged => {
                self.peers.values_mut().for_each(|peer| peer.anew(now));
            }
            Event::Reached(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.reached(now);
                    peer.ended(now, random.between(EVERY_MS.0, EVERY_MS.1));
                }
            }
            Event::Failed(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.failed(now, &mut random);
                }
            }
            Event::Lost(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.lost(now);
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
    /// At once, as if it had never failed; an attempt from before has no future.
    fn anew(&mut self, now: Millis) {
        self.asking = None;
        self.again = false;
        self.failures = 0;
        self.gone = None;
        self.at = now;
    }

    fn ended(&mut self, now: Millis, wait: Millis) {
        self.asking = None;
        self.at = if std::mem::take(&mut self.again) { now } else { now + wait };
    }

    fn reached(&mut self, now: Millis) {
        let since = *self.linked.get_or_insert(now);
        if now - since >= GOOD_MS {
            self.failures = 0;
            self.gone = None;
        }
    }

    fn lost(&mut self, now: Millis) {
        if self.linked.is_some_and(|since| now - since >= GOOD_MS) {
            self.failures = 0;
            self.gone = None;
        }
        self.linked = None;
    }

    fn failed(&mut self, now: Millis, random: &mut Draw) {
        let gone = now - *self.gone.get_or_insert(now);
        let longest = (gone / GONE_PART).clamp(LATELY_MS, MAX_RETRY_MS);
        let wait = FIRST_RETRY_MS.saturating_mul(1 << self.failures.min(20)).min(longest);
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

/// Time that may pass without us before the machine is said to have slept or the process to have stood still: a busy
/// machine runs us that late.
const SLACK_MS: Millis = 3_000;

/// Tells how much time has passed without us, from samples of CLOCK_BOOTTIME, which goes on while a machine sleeps, and
/// CLOCK_MONOTONIC, which doesn't. A process that was stopped is seen by a sample that comes late.
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

    /// The milliseconds that it has slept and stood still since the sample before, if that is more than a busy machine's.
    pub fn sample(&mut self, boottime: Millis, monotonic: Millis) -> Option<Millis> {
        let (boot, mono) = self.last.replace((boottime, monotonic))?;
        let (boot, mono) = (boottime.saturating_sub(boot), monotonic.saturating_sub(mono));
        let lost = boot.saturating_sub(mono) + mono.saturating_sub(self.every);
        (lost > SLACK_MS).then_some(lost)
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
        // 15 hours, and some.
        for n in 0..1_500 {
            schedule.handle(Event::Failed(node(0)), now, n);
            let at = schedule.next().expect("a time");
            waits.push(at - now);
            now = at;
            assert_eq!(schedule.handle(Event::Tick, now, n), [node(0)]);
        }
        assert!(waits[0] <= 250 && waits[4..].iter().all(|w| *w >= 1_000), "{waits:?}");
        let lately = waits
            .iter()
            .scan(0, |at, w| {
                (*at < 120_000).then(|| {
                    *at += w;
                    *w
                })
            })
            .max();
        assert!(lately <= Some(LATELY_MS), "{waits:?}");
        assert!(
            waits.iter().all(|w| *w <= MAX_RETRY_MS) && waits.last() >= Some(&(MAX_RETRY_MS / 2)),
            "{waits:?}"
        );
        schedule.handle(Event::Failed(node(0)), now, 3);
        assert_eq!(schedule.handle(Event::Up(node(0)), now + 1, 3), [node(0)]);
        schedule.handle(Event::Failed(node(0)), now + 2, 3);
        assert!(schedule.next().expect("a time") <= now + 252, "it starts from the beginning");
    }

    #[test]
    fn a_connection_that_was_well_is_looked_for_at_once_and_one_that_always_breaks_is_not() {
        let mut schedule = Schedule::default();
        schedule.handle(members(1), 0, 1);
        let mut now = 0;
        let mut wait_after = |lasted: Millis, n: u64| {
            schedule.handle(Event::Reached(node(0)), now, n);
            now += lasted;
            schedule.handle(Event::Lost(node(0)), now, n);
            let at = schedule.next().expect("a time");
            let wait = at - now;
            now = at;
            assert_eq!(schedule.handle(Event::Tick, now, n), [node(0)]);
            wait
        };
        let brief: Vec<_> = (0..8).map(|n| wait_after(10, n)).collect();
        assert!(brief[7] >= LATELY_MS / 2, "{brief:?}");
        assert!(wait_after(GOOD_MS, 9) <= 250);
    }

    #[test]
    fn who_comes_up_while_it_is_dialled_is_dialled_anew() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.handle(members(1), 0, 1), [node(0)]);
        assert_eq!(schedule.handle(Event::Up(node(0)), 10, 1), [node(0)]);
        assert_eq!(schedule.handle(Event::Tick, 11, 1), []);
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
                    3 => Event::Lost(node(peer)),
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
        assert_eq!(wake.sample(50_000, 10_000), None);
        assert_eq!(wake.sample(51_000, 11_000), None);
        assert_eq!(wake.sample(53_500, 13_500), None, "a busy machine");
        assert_eq!(wake.sample(153_500, 14_500), Some(99_000), "a lid that was closed");
        assert_eq!(wake.sample(154_500, 15_500), None);
        assert_eq!(wake.sample(244_500, 105_500), Some(89_000), "SIGSTOP");
        assert_eq!(wake.sample(245_500, 106_500), None);
    }
}
