//! The simulator on fixed seeds, and on fresh ones for a while: `scripts/sim` runs more.

use std::time::{Duration, Instant};

use lattice_tests::random::fresh_seed;
use lattice_tests::sim::Totals;

/// Seeds that found something: an act of a node on an old disk that did not wait as any other write does.
const ONCE_WRONG: [u64; 1] = [2_128_654_452];

#[test]
fn nodes_agree_again_after_any_trouble() {
    let mut totals = Totals::default();
    for seed in (0..12).chain(ONCE_WRONG) {
        totals.add(seed);
    }
    println!("fixed: {totals}");
    assert!(totals.failed.is_empty(), "{:#?}", totals.failed);
}

#[test]
fn fresh_seeds() {
    let mut totals = Totals::default();
    let end = Instant::now() + Duration::from_secs(12);
    let from = fresh_seed();
    for seed in from.. {
        if Instant::now() > end {
            break;
        }
        totals.add(seed);
    }
    println!("fresh: {totals}");
    assert!(totals.failed.is_empty(), "{:#?}", totals.failed);
}
