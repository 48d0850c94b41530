//! The cluster simulator: `scripts/sim --seeds N`, or `--seed N` for one that has failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lattice_tests::random::fresh_seed;
use lattice_tests::sim::{Totals, run};

#[derive(Debug, Parser)]
#[command(about = "Simulates clusters in virtual time: trouble, mending, and whether all are equal after it")]
struct Args {
    /// How many seeds to run, from --from on
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; without it, one that differs from run to run
    #[arg(long)]
    from: Option<u64>,
    /// One seed alone, with all that it has to say
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Stop after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let outcome = run(seed);
        println!("{outcome:#?}");
        return if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let from = args.from.unwrap_or_else(fresh_seed);
    let end = args.seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let mut totals = Totals::default();
    for seed in from..from + args.seeds {
        if end.is_some_and(|end| Instant::now() > end) {
            break;
        }
        totals.add(seed);
    }
    println!("{totals}");
    if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
