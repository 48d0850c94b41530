//! Five machines in a line: each reaches its neighbours only, and what one end writes the other reads all the same.

use std::time::{Duration, Instant};

use anyhow::Result;
use lattice_tests::fixture::{Cluster, until};

use super::networks;

/// Writes of which hints are counted.
const HINTED: usize = 20;

/// Over four hops.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_hint_goes_beyond_direct_peers_and_again_when_the_middle_is_back() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::line(3)?;
    let taken = |cluster: &Cluster| -> Result<u64> {
        Ok(cluster.peers[2].json(["status"])?["hints"]["taken"].as_u64().unwrap_or_default())
    };
    // One after the other: what comes in time is the next entry, and is taken from the hint.
    let write = |cluster: &Cluster, what: &str| -> Result<u64> {
        let before = taken(cluster)?;
        for n in 0..HINTED {
            let text = format!("{what} {before}");
            cluster.peers[0].write(&format!("{what}-{n}"), &text)?;
            cluster.peers[2].awaits(&format!("{what}-{n}"), &text, SOON)?;
        }
        Ok(taken(cluster)? - before)
    };
    let hinted = |cluster: &Cluster, what: &str| {
        until("an entry comes by a hint", SOON, || Ok(Some(write(cluster, what)?).filter(|taken| *taken > 0)))
    };
    let first = hinted(&cluster, "first")?;
    cluster.peers[1].kill()?;
    cluster.peers[1].detach();
    cluster.peers[1].mount()?;
    cluster.peers[1].meets(2, SOON)?;
    let again = hinted(&cluster, "again")?;
    let sent = cluster.peers[0].json(["status"])?["hints"]["sent"].clone();
    println!("{first} entries came by hints, {again} when the middle was back; {sent} hints sent");
    cluster.passed();
    Ok(())
}

#[test]
fn what_one_end_of_a_line_writes_the_other_end_reads() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let began = Instant::now();
    let cluster = Cluster::line(5)?;
    println!("five nodes have joined one after the other: {:.1} s", began.elapsed().as_secs_f64());
    let (first, last) = (&cluster.peers[0], &cluster.peers[4]);
    first.write("from-first", "a")?;
    last.write("from-last", "e")?;
    let there = last.awaits("from-first", "a", SOON)?;
    let back = first.awaits("from-last", "e", SOON)?;
    println!("over four hops: {there:?} there, {back:?} back");
    for (n, peer) in cluster.peers.iter().enumerate() {
        peer.write(&format!("by-{n}"), format!("{n}"))?;
    }
    for peer in &cluster.peers {
        for n in 0..cluster.peers.len() {
            peer.awaits(&format!("by-{n}"), format!("{n}"), SOON)?;
        }
    }
    // All the same set of entries, and no node keeps more connections than it has neighbours.
    let entries = |n: usize| -> Result<String> {
        let status = cluster.peers[n].json(["status", "home"])?;
        Ok(format!("{} entries, {} keys", status["open"]["entries"], status["open"]["live_keys"]))
    };
    until("all hold the same", SOON, || {
        let all = (0..5).map(entries).collect::<Result<Vec<_>>>()?;
        Ok(all.iter().all(|one| *one == all[0]).then_some(()))
    })?;
    cluster.passed();
    Ok(())
}
