//! What goes wrong between machines, and how long after it is over two mounts are level again: in both directions, with
//! what was written meanwhile. `LATTICE_TEST_ROUNDS=20` makes the full measurement, with long pauses.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use lattice_tests::fixture::{Cluster, Peer, Times, until_apart};
use lattice_tests::random::Random;
use rustix::process::Signal;

use super::{SOON, networks, setting};

/// After the cause is gone.
const BOUND: Duration = Duration::from_secs(5);
/// Short, but longer than the 12 s after which a silent connection is dead.
const SHORT: Duration = Duration::from_secs(15);
/// Pairs of nodes that are troubled side by side.
const LANES: u32 = 4;

fn rounds() -> u32 {
    setting("LATTICE_TEST_ROUNDS", 2).max(1)
}

/// The trouble itself: as long as asked for in a full measurement.
fn last(long: u64) {
    thread::sleep(if rounds() >= 20 { Duration::from_secs(long) } else { SHORT });
}

/// Makes the trouble, and says when its cause was gone. The number is another one each time.
type Trouble = fn(&mut Cluster, u32) -> Result<Instant>;

/// Measures the time until A and B read each other's edits again.
fn recovers(what: &str, trouble: Trouble) -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let lanes = rounds().min(LANES);
    let lane = |lane: u32| -> Result<Times> {
        let mut cluster = Cluster::switch(2, 2)?;
        let mut times = Times::default();
        for round in (lane..rounds()).step_by(lanes as usize) {
            times.add(one(&mut cluster, round, trouble).with_context(|| format!("{what}, round {round}"))?);
        }
        cluster.passed();
        Ok(times)
    };
    let mut times = Times::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..lanes).map(|n| scope.spawn(move || lane(n))).collect();
        for lane in running {
            times.extend(&lane.join().map_err(|_| anyhow!("a lane panicked"))??);
        }
        anyhow::Ok(())
    })?;
    println!("{what}: level again after {times}");
    ensure!(times.percentile(99.0) <= BOUND, "{what}: it took more than {BOUND:?}: {times}");
    Ok(())
}

fn one(cluster: &mut Cluster, round: u32, trouble: Trouble) -> Result<Duration> {
    let name = |what: &str| format!("{what}-{round}");
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    a.write(&name("before"), "a")?;
    b.awaits(&name("before"), "a", SOON).context("they were not level before")?;
    let over = trouble(cluster, round)?;
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    a.write(&name("after-a"), "a")?;
    b.write(&name("after-b"), "b")?;
    b.awaits(&name("after-a"), "a", BOUND * 6)?;
    a.awaits(&name("after-b"), "b", BOUND * 6)?;
    let took = over.elapsed();
    // Written in the trouble, by the trouble.
    if a.place(&name("during")).exists() {
        b.awaits(&name("during"), "a", SOON)?;
    }
    Ok(took)
}

#[test]
fn a_pulled_plug() -> Result<()> {
    recovers("a pulled plug", |cluster, round| {
        cluster.network.set_link(1, false)?;
        cluster.peers[0].write(&format!("during-{round}"), "a")?;
        last(60);
        cluster.network.set_link(1, true)?;
        Ok(Instant::now())
    })
}

#[test]
fn a_stopped_process() -> Result<()> {
    recovers("a stopped process", |cluster, round| {
        cluster.peers[1].signal(Signal::STOP)?;
        cluster.peers[0].write(&format!("during-{round}"), "a")?;
        last(90);
        cluster.peers[1].signal(Signal::CONT)?;
        Ok(Instant::now())
    })
}

/// Timed from the start of the new process on.
fn kill(cluster: &mut Cluster, who: usize) -> Result<Instant> {
    cluster.peers[who].kill()?;
    let over = Instant::now();
    cluster.peers[who].mount()?;
    Ok(over)
}

#[test]
fn a_killed_process_on_either_side() -> Result<()> {
    recovers("the one who joined is killed", |cluster, _| kill(cluster, 1))?;
    recovers("the one who invited is killed", |cluster, _| kill(cluster, 0))
}

#[test]
fn another_address() -> Result<()> {
    recovers("another address", |cluster, round| {
        let host = 100 + u8::try_from(round % 100)?;
        cluster.network.move_to(1, [10, 77, 0, host].into())?;
        Ok(Instant::now())
    })
}

#[test]
fn a_peer_that_vanishes_in_mid_sync() -> Result<()> {
    const FILES: usize = 8000;
    recovers("vanished in mid-sync", |cluster, round| {
        let [a, b] = &mut cluster.peers[..] else { unreachable!("two nodes") };
        cluster.network.set_link(1, false)?;
        let dir = format!("many-{round}");
        std::fs::create_dir(a.place(&dir))?;
        let mut random = Random::new(round.into());
        // Small enough to travel in the entries themselves, so many batches of them.
        let bytes = random.bytes(4 << 10);
        (0..FILES).try_for_each(|n| a.write(&format!("{dir}/{n}"), &bytes))?;
        cluster.network.set_link(1, true)?;
        let first = b.place(&format!("{dir}/0"));
        let begun = move || Ok(first.exists().then_some(()));
        until_apart("B has begun to fetch", SOON, begun)?;
        let whole = b.place(&format!("{dir}/{}", FILES - 1)).exists();
        b.kill()?;
        ensure!(!whole, "all {FILES} files were there before B could be killed: write more");
        let over = Instant::now();
        b.mount()?;
        b.awaits(&format!("{dir}/{}", FILES - 1), &bytes, SOON * 3)?;
        let differs =
            (0..FILES).find(|n| std::fs::read(b.place(&format!("{dir}/{n}"))).ok().as_ref() != Some(&bytes));
        ensure!(differs.is_none(), "file {differs:?} is not what was written");
        Ok(over)
    })
}

/// Saves that take turns between two nodes, and how long each took to be read on the other.
fn saves(a: &Peer, b: &Peer, prefix: &str, count: usize) -> Result<Times> {
    let mut times = Times::default();
    for n in 0..count {
        let (from, to) = if n % 2 == 0 { (a, b) } else { (b, a) };
        let (name, text) = (format!("{prefix}-{n}"), format!("{prefix} {n}"));
        from.write(&name, &text)?;
        times.add(to.awaits(&name, &text, SOON)?);
    }
    Ok(times)
}

#[test]
fn a_peer_that_never_answers_delays_nobody() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::switch(3, 3)?;
    let [a, b, c] = &mut cluster.peers[..] else { unreachable!("three nodes") };
    let before = saves(a, b, "before", 40)?;
    c.signal(Signal::STOP)?;
    let stopped = saves(a, b, "stopped", 40)?;
    // More than the connection to it buffers, so that it would hold up whoever waits for it to take something.
    let bytes = Random::new(1).bytes(4 << 10);
    (0..4000).try_for_each(|n| a.write(&format!("many-{n}"), &bytes))?;
    (0..20).try_for_each(|n| a.write(&format!("large-{n}"), Random::new(n).bytes(2 << 20)))?;
    b.awaits("many-3999", &bytes, SOON * 2)?;
    b.awaits("large-19", Random::new(19).bytes(2 << 20), SOON * 2)?;
    let full = saves(a, b, "full", 40)?;
    // Long enough that the connection to it counts as dead and it is dialled in vain.
    thread::sleep(SHORT);
    a.kill()?;
    let restarted = Instant::now();
    a.mount()?;
    a.write("restarted", "a")?;
    b.awaits("restarted", "a", BOUND)?;
    let restarted = restarted.elapsed();
    let away = saves(a, b, "away", 40)?;
    c.signal(Signal::CONT)?;
    let over = Instant::now();
    a.write("over", "a")?;
    c.awaits("over", "a", BOUND * 2)?;
    c.awaits("many-3999", &bytes, BOUND * 2)?;
    println!(
        "saves between two of three:\n  before          {before}\n  one is stopped  {stopped}\n  and much to say {full}\n  \
         and given up    {away}\n  restarted meanwhile, level after {restarted:?}; the stopped one after {:?}",
        over.elapsed()
    );
    for (what, times) in [("stopped", &stopped), ("full", &full), ("away", &away)] {
        ensure!(times.percentile(90.0) < Duration::from_secs(1), "{what}: {times}; before: {before}");
    }
    ensure!(restarted < BOUND, "after a restart beside a stopped peer: {restarted:?}");
    cluster.passed();
    Ok(())
}
