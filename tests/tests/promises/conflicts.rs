//! Promise 10. No conflict is silently lost; a delete beside an edit keeps the edit.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::machine::{Machine, NOW};
use crate::steps::{meet, steps, work};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_version_is_there_until_a_write_that_cites_it(steps in steps()) {
        let mut machines = work(&steps);
        meet(&mut machines);
        for (key, operations) in machines[0].operations() {
            let cited: BTreeSet<_> = operations.iter().flat_map(|(_, parents)| parents).collect();
            let expected: BTreeSet<_> =
                operations.iter().map(|(id, _)| id).filter(|id| !cited.contains(id)).collect();
            let record = machines[0].handle().get(&key).expect("get").expect("a record");
            let heads: BTreeSet<_> = record.heads.iter().map(|h| &h.entry.id).collect();
            prop_assert_eq!(&heads, &expected, "{}", key);
            // If any of them is a version of something, something is shown.
            prop_assert_eq!(record.exists(), record.live_heads().count() > 0 || record.below.children > 0);
        }
    }
}

#[test]
fn a_delete_beside_an_edit_keeps_the_edit() {
    for edit_first in [false, true] {
        let a = Machine::with_store(NOW);
        a.write("f", "old");
        let b = a.join(NOW);
        // Whichever is later by the clocks.
        (if edit_first { &a } else { &b }).clock.set(NOW + 1000);
        a.rm("f").expect("rm");
        b.write("f", "edit");
        let mut both = [a, b];
        meet(&mut both);
        for machine in &both {
            assert_eq!(machine.read("f").as_deref(), Some("edit"));
        }
    }
}

#[test]
fn both_versions_stay_through_restarts_and_later_writes_elsewhere() {
    let a = Machine::with_store(NOW);
    let b = a.join(NOW);
    a.write("f", "a");
    b.write("f", "b");
    let mut both = [a, b];
    meet(&mut both);
    both[0].write("elsewhere", "x");
    both[0].restart();
    both[1].restart();
    meet(&mut both);
    for machine in &both {
        assert_eq!(machine.versions("f"), ["a", "b"]);
    }
    // A save of what is shown takes the place of that, and of nothing else.
    let (shown, other) = if both[0].read("f").as_deref() == Some("a") { ("a", "b") } else { ("b", "a") };
    both[0].write("f", "edit");
    meet(&mut both);
    for machine in &both {
        let mut expected = [other, "edit"];
        expected.sort_unstable();
        assert_eq!(machine.versions("f"), expected, "{shown} was edited");
    }
}

#[test]
fn what_a_reader_has_seen_is_all_that_its_write_replaces() {
    let a = Machine::with_store(NOW);
    a.write("f", "old");
    let mut b = a.join(NOW);
    let c = a.join(NOW);
    c.write("f", "unseen");
    b.write("f", "b");
    // It arrives after b's write, which can't have meant it.
    b.take(&c.bundle());
    assert_eq!(b.versions("f"), ["b", "unseen"]);
}
