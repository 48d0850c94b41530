//! A node that has joined is in live exchange at once, whoever let it in.

use std::fs;

use anyhow::{Result, ensure};
use lattice_tests::fixture::{Cluster, Peer, until};

use super::{SOON, networks};

#[test]
fn whoever_joins_reads_and_is_read_at_once_and_lets_others_in() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::switch(2, 3)?;
    cluster.peers[0].write("before", "a")?;
    cluster.peers[0].lattice(["store", "create", "second"]).ok()?;
    cluster.peers[0].lattice(["put", "second:k", "v"]).ok()?;
    // By a node that was itself let in.
    let c = Peer::join(&cluster.machine(2), "C", &cluster.peers[1])?;
    ensure!(fs::read(c.place("before"))? == b"a", "what was there before isn't there");
    let second = c.lattice(["get", "second:k"]).ok()?;
    ensure!(second.trim_end() == "v", "the second store has {second:?}");
    c.write("by-c", "c")?;
    let there = cluster.peers[0].awaits("by-c", "c", SOON)?;
    cluster.peers[0].write("by-a", "a")?;
    let back = c.awaits("by-a", "a", SOON)?;
    println!(
        "a file of the new node is read by the first after {there:?}, one of the first by the new after {back:?}"
    );
    // A store that is made later shows up everywhere without a restart.
    c.lattice(["store", "create", "third"]).ok()?;
    c.lattice(["put", "third:k", "w"]).ok()?;
    until("the third store is on A", SOON, || {
        let third = cluster.peers[0].lattice(["get", "third:k"]).run()?;
        Ok((third.stdout.trim_end() == "w").then_some(()))
    })?;
    cluster.peers.push(c);
    cluster.passed();
    Ok(())
}
