//! The HTTP listener from outside: small values read and written by many clients over connections that stay, and a
//! large one through curl; and by a crowd of clients for a while. Beside it, in the same run, what there is to be had: an axum server that does nothing else, and
//! the disk. Debian's etcd is measured too where it is installed. Refuses to count an answer that isn't the right one.

mod client;
mod crowd;
mod disk;
mod etcd;
mod floor;
mod large;
mod small;

use std::path::Path;

use anyhow::{Context, Result};
use lattice_tests::fixture::{Http, Machine, Peer};

use crate::figure::{Asked, Figure, median};

pub use floor::serve as serve_floor;

/// Names of the works, for `--only`.
pub const WORKS: [&str; 5] =
    ["http: get", "http: put", "http: durable put", "http: large file", "http: 200 clients"];

/// Measures the works that are `wanted`, telling which one is under way.
pub fn measure(
    quick: bool,
    rounds: usize,
    wanted: impl Fn(&str) -> bool,
    progress: impl Fn(&str),
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for work in WORKS.into_iter().filter(|work| wanted(work)) {
        progress(work);
        let measured = match work {
            "http: get" => small::get(quick, rounds),
            "http: put" => small::put(quick, rounds),
            "http: durable put" => small::durable_put(quick, rounds),
            "http: 200 clients" => crowd::measure(quick),
            _ => large::there_and_back(quick, rounds),
        };
        figures.extend(measured.with_context(|| work)?);
    }
    progress("");
    Ok(figures)
}

/// A daemon with the store `home`, and a token that reads and writes it.
struct Served {
    peer: Peer,
    http: Http,
    token: String,
}

impl Served {
    fn start() -> Result<Self> {
        let mut peer = Peer::bare(&Machine::Loopback, "A")?;
        peer.lattice(["init", "--store", "home"]).ok()?;
        let nobody = peer.serve_http(&[])?;
        let token = peer.token(&["--store", "home", "--scope", "rw"])?;
        Ok(Self { http: nobody.by(&token), peer, token })
    }

    fn stop(mut self) -> Result<()> {
        self.peer.stop()?;
        self.peer.passed();
        Ok(())
    }
}

/// One of several that do the same work; is told the round, and gives its figure.
type Side<'a> = &'a mut dyn FnMut(usize) -> Result<f64>;

/// Their medians over the rounds. Each is first in turn, and starts with nothing left to be written to the disk of `dir`.
fn in_turn(rounds: usize, dir: &Path, sides: &mut [Side<'_>]) -> Result<Vec<f64>> {
    let mut values = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let side = (turn + round) % sides.len();
            settle(dir)?;
            values[side].push(sides[side](round)?);
        }
    }
    values.iter().map(|values| median(values).context("at least one round")).collect()
}

/// A row of what there is to be had and one of ours, ours first, and one of the share that is asked.
fn shares<N: Into<String>>(
    [ours_name, bare_name, share]: [N; 3],
    unit: &'static str,
    [bare, ours]: [f64; 2],
    least: f64,
) -> [Figure; 3] {
    [
        Figure::new(ours_name, unit, ours, Asked::Nothing),
        Figure::new(bare_name, unit, bare, Asked::Nothing),
        Figure::new(share, "", ours / bare, Asked::AtLeast(least)),
    ]
}

/// Has the disk of `dir` write what is left to be written, so that nobody pays for who was before.
fn settle(dir: &Path) -> Result<()> {
    let dir = std::fs::File::open(dir)?;
    rustix::fs::syncfs(&dir).context("syncfs")
}
