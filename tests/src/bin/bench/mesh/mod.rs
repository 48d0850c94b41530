//! Nodes side by side on loopback: how soon one reads what the other wrote, how fast much of it comes over, and what two
//! nodes take that have nothing to say. A bare iroh stream, measured in the same run, is the bound of the bytes.

mod bulk;
mod files;
mod idle;
mod stream;
mod syncthing;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use lattice_tests::fixture::{Machine, Peer};

use crate::figure::Figure;

/// Patience with the largest works on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Names of the works, for `--only`.
pub const WORKS: [&str; 5] =
    ["mesh: save", "mesh: many files", "mesh: large file", "mesh: first sync", "mesh: idle"];

/// Measures the works that are `wanted`, telling which one is under way.
pub fn measure(quick: bool, wanted: impl Fn(&str) -> bool, progress: impl Fn(&str)) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for work in WORKS.into_iter().filter(|work| wanted(work)) {
        progress(work);
        let measured = match work {
            "mesh: save" => files::save(quick),
            "mesh: many files" => files::many(quick),
            "mesh: large file" => files::large(quick),
            "mesh: first sync" => bulk::first_sync(quick),
            _ => idle::two(quick),
        };
        figures.extend(measured.with_context(|| work)?);
    }
    progress("");
    Ok(figures)
}

/// Two nodes of a mesh, both mounted.
fn pair() -> Result<[Peer; 2]> {
    let a = Peer::found(&Machine::Loopback, "A")?;
    let b = Peer::join(&Machine::Loopback, "B", &a)?;
    b.meets(1, PATIENCE)?;
    Ok([a, b])
}

fn done(mut peers: impl AsMut<[Peer]>) {
    peers.as_mut().iter_mut().for_each(Peer::passed);
}

/// Seconds of a CPU that a process has had.
fn cpu(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name in brackets, which may hold anything; utime and stime are fields 14 and 15.
    let rest = stat.rsplit_once(')').context("a process has a name")?.1;
    let ticks: f64 =
        rest.split_whitespace().skip(11).take(2).map(|t| t.parse::<f64>().unwrap_or_default()).sum();
    // USER_HZ, the same on every Linux.
    Ok(ticks / 100.0)
}
