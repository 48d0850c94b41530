//! Promise 11. A wrong clock only picks which of two concurrent versions shows first.

use lattice_engine::hlc::MAX_AHEAD_MS;

use crate::machine::{MINUTE, Machine, NOW};
use crate::steps::meet;

const YEAR: u64 = 365 * 24 * 60 * MINUTE;

#[test]
fn what_was_written_last_by_who_had_seen_the_rest_is_shown_whatever_the_clocks_say() {
    let clocks =
        [(NOW, NOW), (NOW, NOW - 9 * MINUTE), (NOW - 9 * MINUTE, NOW), (NOW - YEAR, NOW - YEAR + 5 * MINUTE)];
    for (a_clock, b_clock) in clocks {
        let a = Machine::with_store(a_clock);
        a.write("f", "1");
        let b = a.join(b_clock);
        b.write("f", "2");
        let mut both = [a, b];
        meet(&mut both);
        both[0].write("f", "3");
        meet(&mut both);
        both[1].write("f", "4");
        meet(&mut both);
        for machine in &both {
            assert_eq!((machine.read("f").as_deref(), machine.versions("f").len()), (Some("4"), 1));
        }
    }
}

#[test]
fn of_two_at_once_the_clock_picks_the_first_and_the_other_stays() {
    for (a_ahead, shown) in [(5 * MINUTE, "a"), (0, "b")] {
        let a = Machine::with_store(NOW);
        let b = a.join(NOW + MINUTE);
        a.clock.set(NOW + a_ahead);
        a.write("f", "a");
        b.write("f", "b");
        let mut both = [a, b];
        meet(&mut both);
        for machine in &both {
            assert_eq!(machine.read("f").as_deref(), Some(shown));
            assert_eq!(machine.versions("f"), ["a", "b"]);
        }
    }
}

#[test]
fn who_lives_in_the_past_sees_what_is_new_once_the_clock_is_right_and_loses_nothing() {
    let a = Machine::with_store(NOW);
    a.write("f", "1");
    let b = a.join(NOW);
    b.clock.set(NOW - YEAR);
    a.write("f", "a");
    let mut both = [a, b];
    meet(&mut both);
    // Dated a year ahead, as b has it.
    assert_eq!(both[1].read("f").as_deref(), Some("1"));
    both[1].write("f", "b");
    both[1].clock.set(NOW);
    meet(&mut both);
    for machine in &both {
        assert_eq!(machine.versions("f"), ["a", "b"]);
        assert_eq!(machine.read("f"), both[0].read("f"));
    }
}

#[test]
fn an_entry_from_next_year_waits_and_moves_nobody_s_clock() {
    let mut a = Machine::with_store(NOW);
    a.write("f", "now");
    let b = a.join(NOW);
    b.clock.set(NOW + YEAR);
    b.write("f", "next year");
    let bundle = b.bundle();
    let report = a.take(&bundle);
    assert_eq!((report.early, report.new_entries), (1, 0));
    assert_eq!(a.versions("f"), ["now"]);
    // Our own writes are dated by our own clock.
    a.write("g", "x");
    let dated = a.record("g").heads[0].entry.hlc;
    assert!(dated.wall_ms() <= NOW + MAX_AHEAD_MS, "{dated}");
    // It is not refused: when it is due it counts.
    a.clock.set(NOW + YEAR);
    let report = a.take(&bundle);
    assert_eq!((report.early, report.new_entries), (0, 1));
    assert_eq!(a.versions("f"), ["next year"]);
}

#[test]
fn a_wrong_clock_stops_no_write_and_time_never_goes_back() {
    let mut a = Machine::with_store(NOW);
    let mut last = None;
    for now in [NOW, NOW + YEAR, NOW - YEAR, 0, NOW] {
        a.clock.set(now);
        a.write("f", &now.to_string());
        let dated = a.record("f").heads[0].entry.hlc;
        assert!(last.replace(dated) < Some(dated));
        assert_eq!(a.read("f"), Some(now.to_string()));
        a.restart();
    }
}
