//! Promise 8. Convergence: authorised replicas with the same entries show the same files, conflicts and results,
//! whatever the order, the clocks and the other members do.

use proptest::prelude::*;

use crate::machine::{Machine, NOW};
use crate::steps::{KEYS, meet, steps, work};

fn sees(machine: &Machine) -> Vec<String> {
    KEYS.iter().map(|k| machine.sees(k)).chain([machine.sees("g")]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn the_same_entries_are_the_same_files(steps in steps()) {
        let mut machines = work(&steps);
        let apart: Vec<Vec<u8>> = machines.iter().map(Machine::bundle).collect();
        meet(&mut machines);
        let first = sees(&machines[0]);
        for machine in &machines[1..] {
            prop_assert_eq!(&sees(machine), &first);
        }
        // Who was not there gets it all at once, or in another order.
        let late = machines[2].join(NOW);
        prop_assert_eq!(&sees(&late), &first);
        let mut backwards = Machine::start(NOW);
        for bundle in apart.iter().rev() {
            backwards.take(bundle);
        }
        prop_assert_eq!(&sees(&backwards), &first);
        // And so does who makes it all anew from the log.
        let report = machines[1].handle().fsck(true, &mut |_| {}).expect("fsck");
        prop_assert_eq!((report.problems, report.rebuilt_equal), (vec![], Some(true)));
        machines[0].restart();
        prop_assert_eq!(&sees(&machines[0]), &first);
    }
}
