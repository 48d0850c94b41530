//! Compares the mount with ext4 and with the floor in one run: several rounds that alternate
//! between the three, medians, one table, and JSON. Exit code 3 where a target is missed.

mod figure;
mod http;
mod keys;
mod mesh;
mod mounted_keys;
mod places;
mod programs;
mod report;
mod works;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lattice_tests::fixture::Scratch;

use places::{Place, Places};
use report::Report;
use works::{Inputs, Work};

/// Compares the mount with ext4 and with a filesystem in memory that does nothing (the floor).
#[derive(Debug, Parser)]
struct Args {
    /// Small sizes, one round, no targets: only that everything runs
    #[arg(long)]
    quick: bool,
    /// Only works whose name contains this; may be given several times
    #[arg(long, value_name = "WORK")]
    only: Vec<String>,
    /// Where to run; everywhere by default
    #[arg(long, value_delimiter = ',', value_name = "PLACE")]
    on: Vec<Place>,
    /// Rounds, of which the median counts
    #[arg(long)]
    rounds: Option<usize>,
    /// Threads of the floor; the mount has one
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Run everything on this CPU: less noise, but background work competes with the caller
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// List the works and their targets
    #[arg(long)]
    list: bool,
    /// A phase of the work with very many keys, in a process of its own
    #[arg(long, hide = true)]
    keys_phase: Option<String>,
    #[arg(long, hide = true, default_value_t = 0)]
    keys: u64,
    #[arg(long, hide = true, default_value = "data")]
    keys_dir: PathBuf,
    /// Be the axum server that HTTP is compared with, with this file, until standard input ends
    #[arg(long, hide = true)]
    http_floor: Option<PathBuf>,
}

/// Name of the work that runs on the engine itself, for `--only`.
const KEYS: &str = "keys in a store";

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    if let Some(phase) = &args.keys_phase {
        keys::run_phase(phase, args.keys, &args.keys_dir)?;
        return Ok(true);
    }
    if let Some(file) = &args.http_floor {
        http::serve_floor(file)?;
        return Ok(true);
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.contains(o.as_str()));
    let works: Vec<Work> = works::all(args.quick).into_iter().filter(|work| wanted(work.name)).collect();
    if args.list {
        for work in &works {
            println!("{:<28} {}", work.name, work.goals_text());
        }
        return Ok(true);
    }
    if let Some(cpu) = args.pin {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set).context("can't pin to that CPU")?;
    }
    let on = if args.on.is_empty() { Place::ALL.to_vec() } else { args.on.clone() };
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 });
    let mut report = Report::new(rounds, args.quick);
    measure_works(args, &works, &on, rounds, &mut report)?;
    if wanted(KEYS) && on.contains(&Place::Lattice) {
        measure_keys(args.quick, &mut report)?;
    }
    if on.contains(&Place::Lattice) {
        report.add_figures(mesh::measure(args.quick, wanted, progress)?);
        report.add_figures(http::measure(args.quick, rounds, wanted, progress)?);
    }
    print!("{}", report.table(&works));
    if let Some(parent) = args.json.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&args.json, report.json(&works)?)
        .with_context(|| format!("can't write {}", args.json.display()))?;
    println!("written to {}", args.json.display());
    Ok(args.quick || report.all_met(&works))
}

fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{text:<70}");
    }
}

/// A small store beside the large one: what an operation costs must hardly depend on the size.
fn measure_keys(quick: bool, report: &mut Report) -> Result<()> {
    let many = if quick { 20_000 } else { 1_000_000 };
    progress(&format!("{many} {KEYS}"));
    let scratch = Scratch::new()?;
    let homes = [scratch.join("few"), scratch.join("many")];
    let small = keys::measure(1_000, &homes[0].join("data"))?;
    let large = keys::measure(many, &homes[1].join("data"))?;
    report.add_keys(&small, &large);
    progress(&format!("{many} {KEYS}, mounted"));
    let [small, large] = mounted_keys::measure([(&homes[0], 1_000), (&homes[1], many)])?;
    report.add_mounted_keys(many, &small, &large);
    progress("");
    Ok(())
}

fn measure_works(
    args: &Args,
    works: &[Work],
    on: &[Place],
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    if works.is_empty() {
        return Ok(());
    }
    let mut places = Places::mount(on, args.threads)?;
    for round in 0..rounds {
        let inputs = Inputs::make(places.scratch(), round as u64, args.quick, works)?;
        for work in works {
            if round >= work.rounds {
                continue;
            }
            // Each place is first in turn.
            for turn in 0..on.len() {
                let place = on[(turn + round) % on.len()];
                if !work.runs_on(place) {
                    continue;
                }
                let dir = places.fresh(place, round, work.name)?;
                progress(&format!("round {}/{rounds}: {:<28} {}", round + 1, work.name, place.name()));
                let value = work
                    .measure(&inputs, &dir)
                    .with_context(|| format!("{} on {}", work.name, place.name()))?;
                report.add(work, place, value);
                std::fs::remove_dir_all(&dir).with_context(|| format!("rm -r {}", dir.display()))?;
            }
        }
    }
    progress("");
    places.stop()
}
