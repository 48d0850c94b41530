//! A cluster in one thread and in virtual time: real stores on simulated disks, real sessions over a simulated network.
//!
//! Everything follows from a seed: what is written, when frames arrive, which links work in which direction, when a process
//! is killed or the power goes (at any operation of its disk), whose clock is years off, what a lying member sends. After it
//! has all been mended, every node must come to hold the same within a bound of simulated time, with all that was published
//! ([`check`]). The same seed gives the same trace.
//!
//! - [`world`]: what happens next
//! - [`node`]: stores on their disk, with its clock; how it dies and comes back
//! - [`net`]: streams, each in order and never losing a part: they are late, or cut
//! - [`first`]: whether a node that has just started may write
//! - [`content`]: the bytes of large files
//! - [`members`]: who is let in and revoked, with the ends of what counts in each store, while it writes there
//! - [`work`]: what the nodes write
//! - [`liar`]: a member that forks, inflates time, floods, forges
//! - [`faults`]: what goes wrong, and how it is mended

mod check;
mod content;
mod faults;
mod first;
mod liar;
mod members;
mod net;
mod node;
mod work;
mod world;

use world::World;

/// Simulated milliseconds of trouble before everything is mended.
const TROUBLE_MS: u64 = 120_000;
/// Within so many simulated milliseconds after that, all must be equal.
pub const BOUND_MS: u64 = 180_000;

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// Commits, and entries that the liar sent.
    pub operations: u64,
    pub simulated_ms: u64,
    /// From mending to equality.
    pub healed_ms: u64,
    /// Of everything that happened.
    pub trace: u64,
    pub faults: u64,
    /// Members that were revoked.
    pub revoked: u64,
    /// Those of them that had written more in the store beside than counts, and had given it to somebody who stays.
    pub raced: u64,
    pub violations: Vec<String>,
}

/// Runs one seed.
pub fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    world.trouble(TROUBLE_MS);
    let healed_ms = world.heal(BOUND_MS);
    world.check();
    world.outcome(seed, healed_ms)
}

/// Sums for a report.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub seeds: u64,
    pub operations: u64,
    pub simulated_ms: u64,
    pub faults: u64,
    pub revoked: u64,
    pub raced: u64,
    pub slowest_heal_ms: u64,
    pub failed: Vec<Outcome>,
}

impl Totals {
    /// Runs a seed twice, and takes note.
    pub fn add(&mut self, seed: u64) {
        let mut outcome = run(seed);
        let again = run(seed);
        if outcome.trace != again.trace {
            outcome.violations.push("the same seed took another course the second time".into());
        }
        self.seeds += 1;
        self.operations += outcome.operations;
        self.simulated_ms += outcome.simulated_ms;
        self.faults += outcome.faults;
        self.revoked += outcome.revoked;
        self.raced += outcome.raced;
        self.slowest_heal_ms = self.slowest_heal_ms.max(outcome.healed_ms);
        if !outcome.violations.is_empty() {
            for violation in &outcome.violations {
                eprintln!("seed {seed}: {violation}");
            }
            eprintln!("again: scripts/sim --seed {seed}");
            self.failed.push(outcome);
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seeds, twice each; {} operations, {} faults, {} revocations, {} of them beside writes that count no more; \
             {:.1} simulated hours; equal again after {:.1} s at most; {} seeds with violations",
            self.seeds,
            self.operations,
            self.faults,
            self.revoked,
            self.raced,
            self.simulated_ms as f64 / 3_600_000.0,
            self.slowest_heal_ms as f64 / 1000.0,
            self.failed.len()
        )
    }
}
