//! Mounts the floor on a directory and serves it until it is unmounted.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lattice_tests::floor::{Options, serve};

/// A filesystem in memory that does nothing but answer: the floor of the benchmarks.
#[derive(Debug, Parser)]
struct Args {
    /// An empty directory
    dir: PathBuf,
    /// Threads that read requests
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Let other users in
    #[arg(long)]
    allow_other: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options { threads: args.threads.max(1), allow_other: args.allow_other };
    match serve(&args.dir, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("floor: can't serve {}: {e}", args.dir.display());
            ExitCode::FAILURE
        }
    }
}
