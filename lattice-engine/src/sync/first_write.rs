//! When a node may write for the first time since it has started: [`FirstWrite`]. Pure; the caller looks at its peers and says
//! what it sees.
//!
//! A disk that was put back from a backup lacks what the node has written since, and others hold it. Writing on from there
//! would use numbers twice: a fork, which nothing mends. So the first write waits until a peer has said how far it holds this
//! node's own chain, and until what it holds more has come. It waits for no more than it must: a peer that is away can't
//! warn, and doesn't hold anything up for longer than [`ALONE_MS`].

use std::collections::BTreeMap;

use crate::id::NodeId;

use super::Millis;

/// How long nobody may answer, while nobody is connected either.
pub const ALONE_MS: Millis = 2_500;
/// How long those who are connected may take to say what they hold.
pub const CONNECTED_MS: Millis = 5_000;
/// When one has answered the others may still, for so long from the start: whoever is near has connected by then, and who is
/// away shouldn't be felt.
pub const OTHERS_MS: Millis = 250;
/// How long nothing may come of what a peer says it holds.
pub const STUCK_MS: Millis = 30_000;

/// What is known of one other member since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It holds this node's own chain up to here.
    Holds(u64),
    /// It is connected, and has yet to say.
    Connected,
    /// It is being dialled, for the first time.
    Dialled,
    /// It can't be reached, or doesn't have the store.
    Away,
}

/// Whether the first write must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    Write,
    /// To be looked at again when something has changed, and at this time.
    Wait(Millis),
}

/// The first write since a start, in one store. See the module.
#[derive(Debug)]
pub struct FirstWrite {
    since: Millis,
    /// The most that anybody was heard to hold, even one that has gone since.
    known: u64,
    /// How much of it was here, and since when it is no more.
    progress: (u64, Millis),
    open: bool,
}

impl FirstWrite {
    /// At a start. One that has begun its store just now has nothing to wait for, and needs none.
    pub fn new(now: Millis) -> Self {
        Self { since: now, known: 0, progress: (0, now), open: false }
    }

    /// `own`: how far this node's own chain is here. `peers`: every other member. Once it may write, it may.
    pub fn look(&mut self, own: u64, peers: &BTreeMap<NodeId, Heard>, now: Millis) -> May {
        if self.open {
            return May::Write;
        }
        let held =
            peers.values().filter_map(|heard| if let Heard::Holds(seq) = heard { Some(*seq) } else { None });
        self.known = held.fold(self.known, u64::max);
        if own > self.progress.0 {
            self.progress = (own, now);
        }
        if self.known > own {
            // Known to be behind: whoever said so must get the time to give it. One that only says so must not hold us up.
            let until = self.progress.1.max(self.since) + STUCK_MS;
            return if now < until { May::Wait(until) } else { self.opened() };
        }
        let until = self.since + patience(peers);
        if now < until { May::Wait(until) } else { self.opened() }
    }

    fn opened(&mut self) -> May {
        self.open = true;
        May::Write
    }
}

/// For how long from the start on the answers that are missing are worth waiting for.
fn patience(peers: &BTreeMap<NodeId, Heard>) -> Millis {
    let any = |what: fn(&Heard) -> bool| peers.values().any(what);
    let answered = any(|heard| matches!(heard, Heard::Holds(_)));
    match (any(|heard| *heard == Heard::Connected), any(|heard| *heard == Heard::Dialled)) {
        (true, _) => CONNECTED_MS,
        (_, true) if answered => OTHERS_MS,
        (_, true) => ALONE_MS,
        (false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(heard: &[Heard]) -> BTreeMap<NodeId, Heard> {
        heard.iter().enumerate().map(|(n, heard)| (NodeId([n as u8; 32]), *heard)).collect()
    }

    /// What it says for these peers and 5 own entries, a time after its start.
    fn after(ms: Millis, heard: &[Heard]) -> May {
        FirstWrite::new(1_000).look(5, &peers(heard), 1_000 + ms)
    }

    #[test]
    fn who_is_alone_or_has_been_told_that_nothing_is_missing_writes_at_once() {
        use Heard::{Away, Holds};
        for heard in [&[][..], &[Away], &[Holds(5)], &[Holds(0), Away], &[Holds(3), Holds(5)]] {
            assert_eq!(after(0, heard), May::Write, "{heard:?}");
        }
    }

    #[test]
    fn answers_are_waited_for_as_long_as_they_are_worth() {
        use Heard::{Away, Connected, Dialled, Holds};
        for (heard, ms) in [
            (&[Dialled][..], ALONE_MS),
            (&[Dialled, Away], ALONE_MS),
            (&[Dialled, Holds(5)], OTHERS_MS),
            (&[Connected], CONNECTED_MS),
            (&[Connected, Dialled, Holds(5)], CONNECTED_MS),
        ] {
            assert_eq!(after(0, heard), May::Wait(1_000 + ms), "{heard:?}");
            assert_eq!(after(ms - 1, heard), May::Wait(1_000 + ms), "{heard:?}");
            assert_eq!(after(ms, heard), May::Write, "{heard:?}");
        }
    }

    #[test]
    fn what_somebody_holds_more_comes_first() {
        let mut first = FirstWrite::new(0);
        let (ahead, gone) = (peers(&[Heard::Holds(9)]), peers(&[Heard::Away]));
        assert_eq!(first.look(5, &ahead, 10), May::Wait(10 + STUCK_MS));
        assert_eq!(first.look(7, &ahead, 20_000), May::Wait(20_000 + STUCK_MS));
        assert_eq!(first.look(7, &gone, 21_000), May::Wait(20_000 + STUCK_MS), "it is not forgotten");
        assert_eq!(first.look(9, &gone, 22_000), May::Write);
        assert_eq!(first.look(9, &peers(&[Heard::Holds(12)]), 23_000), May::Write, "once is enough");
    }

    #[test]
    fn who_claims_to_hold_more_and_gives_nothing_is_not_waited_for() {
        let mut first = FirstWrite::new(0);
        let liar = peers(&[Heard::Holds(u64::MAX)]);
        assert_eq!(first.look(5, &liar, 0), May::Wait(STUCK_MS));
        assert_eq!(first.look(5, &liar, STUCK_MS), May::Write);
    }
}
