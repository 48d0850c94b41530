//! Random work on three machines: writes, deletions, renames, attributes, meetings, and clocks that are set.

use lattice_engine::entry::Attrs;
use lattice_engine::id::EntryId;
use lattice_engine::store::{Change, RenameHow};
use proptest::prelude::*;

use crate::machine::{MINUTE, Machine, NOW, key};

/// Files, directories, and both at once.
pub const KEYS: [&str; 7] = ["a", "a/b", "a/b/c", "a/d", "e", "f", "g/h"];

#[derive(Debug, Clone)]
pub enum Step {
    /// `large`: over what a row of the state holds, so that the bytes stay in the log.
    Write {
        on: usize,
        key: usize,
        large: bool,
    },
    /// The same bytes whoever writes them.
    WriteSame {
        on: usize,
        key: usize,
        large: bool,
    },
    Remove {
        on: usize,
        key: usize,
    },
    Rename {
        on: usize,
        from: usize,
        to: usize,
    },
    Chmod {
        on: usize,
        key: usize,
        mode: u32,
    },
    Meet {
        on: usize,
        with: usize,
    },
    /// Minutes off, either way.
    Clock {
        on: usize,
        off: i64,
    },
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (on, key) = (0..3usize, 0..KEYS.len());
    let step = prop_oneof![
        6 => (on.clone(), key.clone(), any::<bool>()).prop_map(|(on, key, large)| Step::Write { on, key, large }),
        1 => (on.clone(), key.clone(), any::<bool>()).prop_map(|(on, key, large)| Step::WriteSame { on, key, large }),
        2 => (on.clone(), key.clone()).prop_map(|(on, key)| Step::Remove { on, key }),
        2 => (on.clone(), key.clone(), key.clone()).prop_map(|(on, from, to)| Step::Rename { on, from, to }),
        2 => (on.clone(), key, 0..0o1000u32).prop_map(|(on, key, mode)| Step::Chmod { on, key, mode }),
        3 => (on.clone(), on.clone()).prop_map(|(on, with)| Step::Meet { on, with }),
        2 => (on, -4..5i64).prop_map(|(on, off)| Step::Clock { on, off }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Three machines with one store, after some work.
pub fn work(steps: &[Step]) -> [Machine; 3] {
    let first = Machine::with_store(NOW);
    let (second, third) = (first.join(NOW), first.join(NOW));
    let mut machines = [first, second, third];
    for (n, step) in steps.iter().enumerate() {
        // A refusal (no such key, a file where a directory would be) is as good as a success here.
        let _refused = take(&mut machines, n, step);
    }
    machines
}

fn take(machines: &mut [Machine; 3], n: usize, step: &Step) -> Option<EntryId> {
    let text = |what: String, large: bool| if large { what.repeat(300) } else { what };
    match *step {
        Step::Write { on, key, large } => {
            machines[on].try_write(KEYS[key], &text(format!("{n:04}"), large)).ok()
        }
        Step::WriteSame { on, key, large } => {
            machines[on].try_write(KEYS[key], &text("same".into(), large)).ok()
        }
        Step::Remove { on, key } => machines[on].rm(KEYS[key]).ok(),
        Step::Rename { on, from, to } => {
            let (from, to) = (key(KEYS[from]), key(KEYS[to]));
            let rename = Change::Rename { from, to, how: RenameHow::Replace };
            machines[on].handle().commit(vec![rename]).ok().map(|e| e.id)
        }
        Step::Chmod { on, key: at, mode } => {
            let file_id = machines[on].record(KEYS[at]).shown()?.node.as_ref()?.file_id;
            let attrs = Attrs { mode: Some(mode), ..Attrs::default() };
            let chmod = Change::Attr { key: key(KEYS[at]), file_id, attrs };
            machines[on].handle().commit(vec![chmod]).ok().map(|e| e.id)
        }
        Step::Meet { on, with } => {
            let bundle = machines[with].bundle();
            machines[on].take(&bundle);
            None
        }
        Step::Clock { on, off } => {
            machines[on].clock.set(NOW.saturating_add_signed(off * MINUTE as i64));
            None
        }
    }
}

/// Everyone gets all that anyone has.
pub fn meet(machines: &mut [Machine]) {
    // What is passed on in the first round reaches everyone in the second.
    for _ in 0..2 {
        let bundles: Vec<Vec<u8>> = machines.iter().map(Machine::bundle).collect();
        for (i, machine) in machines.iter_mut().enumerate() {
            // Each in another order.
            for j in 0..bundles.len() {
                machine.take(&bundles[(i + j + 1) % bundles.len()]);
            }
        }
    }
}
