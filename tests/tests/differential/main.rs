//! Random system calls on the mount and on a plain directory of the disk: after each, both must
//! have answered the same, and now and then both trees must be the same, byte for byte.
//! Left out on purpose: hard links and device nodes, which the mount refuses.

mod calls;
mod snapshot;

use std::fs;
use std::path::Path;

use calls::{Call, Side};
use lattice_tests::fixture::{Mounted, Scratch, needs};
use lattice_tests::random::{Random, fresh_seed, seed};

/// Calls in one sequence.
const CALLS: usize = 4_000;
/// Calls between two comparisons of the whole trees.
const COMPARE_EVERY: usize = 250;
/// Calls that are printed with a difference.
const TAIL: usize = 25;

/// Runs one sequence. `Err` tells the first difference and what led to it.
fn run(seed: u64, calls: usize, mount: &Path, plain: &Path) -> Result<(), String> {
    let mut random = Random::new(seed);
    let (mut left, mut right) = (Side::new(mount), Side::new(plain));
    let mut tail: Vec<String> = Vec::new();
    for n in 0..calls {
        let call = Call::random(&mut random);
        let (ours, theirs) = (left.perform(&call), right.perform(&call));
        tail.push(format!("{n}: {call:?} -> {theirs:?}"));
        let from = tail.len().saturating_sub(TAIL);
        if ours != theirs {
            return Err(format!(
                "seed {seed}, call {n}: {call:?}\n   mount: {ours:?}\n   plain: {theirs:?}\nafter\n{}",
                tail[from..].join("\n")
            ));
        }
        if n % COMPARE_EVERY == COMPARE_EVERY - 1 {
            let differences = snapshot::differences(mount, plain);
            if !differences.is_empty() {
                return Err(format!(
                    "seed {seed}, trees differ after call {n}:\n{}\nafter\n{}",
                    differences.join("\n"),
                    tail[from..].join("\n")
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn random_calls_do_the_same_as_on_the_disk() {
    if !needs(&[]) {
        return;
    }
    let mut mounted = Mounted::new().expect("a mount");
    let scratch = Scratch::new().expect("a plain directory");
    // The three fixed seeds gate; the fresh one finds what they don't.
    for seed in [1, 2, 3, seed(fresh_seed())] {
        let (ours, theirs) = (mounted.join(&format!("s{seed}")), scratch.join(&format!("s{seed}")));
        fs::create_dir(&ours).expect("a directory on the mount");
        fs::create_dir(&theirs).expect("a directory on the disk");
        if let Err(difference) = run(seed, CALLS, &ours, &theirs) {
            panic!("LATTICE_TEST_SEED={seed} repeats it\n{difference}");
        }
        println!("differential on {:?}: {CALLS} calls, seed {seed}", mounted.kind());
    }
    if mounted.persists() {
        mounted.remount().expect("a new mount");
        let differences = snapshot::differences(mounted.dir(), scratch.path());
        assert!(differences.is_empty(), "after a new mount:\n{}", differences.join("\n"));
    }
}

#[test]
fn a_difference_is_seen() {
    let (one, other) = (Scratch::new().expect("one"), Scratch::new().expect("other"));
    fs::create_dir(other.join("a")).expect("a directory that only one side has");
    let found = run(1, 500, one.path(), other.path());
    assert!(found.is_err(), "500 calls didn't notice a directory too many");
}
