//! Two nodes that have nothing to say.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lattice_tests::fixture::{Machine, Peer, until};

use super::{PATIENCE, bulk, cpu};
use crate::figure::{Asked, Figure};
use crate::programs::memory;

/// Two mounted nodes with many files, left alone.
pub fn two(quick: bool) -> Result<Vec<Figure>> {
    let (files, rest) = if quick { (1_000, 2) } else { (100_000, 30) };
    let mut a = bulk::filled(files, 200)?;
    a.mount()?;
    let mut b = Peer::join(&Machine::Loopback, "B", &a)?;
    // Started anew, so that what it took to come here isn't counted.
    for peer in [&mut a, &mut b] {
        peer.stop()?;
        peer.mount()?;
    }
    b.meets(1, PATIENCE)?;
    let pids = [a.pid().context("a daemon")?, b.pid().context("a daemon")?];
    let used = || Ok::<f64, anyhow::Error>(cpu(pids[0])? + cpu(pids[1])?);
    settle(used)?;
    let (before, began) = (used()?, Instant::now());
    thread::sleep(Duration::from_secs(rest));
    let share = (used()? - before) / 2.0 / began.elapsed().as_secs_f64() * 100.0;
    let rss = memory(pids[0], "VmRSS")?.max(memory(pids[1], "VmRSS")?);
    a.passed();
    b.passed();
    let name = |what: &str| format!("mesh: idle with {files} files, {what}");
    Ok(vec![
        Figure::new(name("a CPU's"), "%", share, Asked::AtMost(1.0)),
        Figure::new(name("memory"), "MB", rss, Asked::AtMost(150.0)),
    ])
}

/// Until a second has passed in which both together did next to nothing.
fn settle(used: impl Fn() -> Result<f64>) -> Result<()> {
    until("the nodes come to rest", PATIENCE, || {
        let before = used()?;
        thread::sleep(Duration::from_secs(1));
        Ok((used()? - before < 0.05).then_some(()))
    })
}
