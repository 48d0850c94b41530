//! A data directory that was copied: two nodes of one name are noticed, and a node on an old copy of its own asks first.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Cluster, Cmd, Peer, until};

use super::{SOON, networks};

/// Makes `to`'s data what `from`'s is, stopped or not.
fn copy(from: &Peer, to: &Peer) -> Result<()> {
    fs::create_dir_all(to.home())?;
    let data = from.home().join("data");
    Cmd::new("cp").arg("-a").arg(data).arg(to.home()).ok()?;
    Ok(())
}

/// What status and the list of peers say to a person.
fn shown(peer: &Peer) -> Result<String> {
    let said = [peer.lattice(["status"]).run()?, peer.lattice(["peer", "list"]).run()?];
    Ok(said.map(|done| done.stdout + &done.stderr).join("\n"))
}

/// What the versions in conflict of the file hold.
fn versions(peer: &Peer) -> BTreeSet<String> {
    let files = fs::read_dir(peer.place(".lattice/conflicts/same")).into_iter().flatten().flatten();
    let live = files.map(|file| file.path()).filter(|path| !path.ends_with("base"));
    live.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

fn both() -> BTreeSet<String> {
    ["b", "twin"].map(String::from).into()
}

#[test]
fn a_cloned_data_directory_that_runs_twice_is_noticed_and_shown() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::switch(2, 4)?;
    cluster.peers[1].write("before", "b")?;
    cluster.peers[0].awaits("before", "b", SOON)?;
    cluster.peers[1].stop()?;
    let mut twin = Peer::bare(&cluster.machine(2), "twin of B")?;
    copy(&cluster.peers[1], &twin)?;
    cluster.peers[1].mount()?;
    twin.mount()?;
    cluster.peers.push(twin);
    let [a, b, twin] = &cluster.peers[..] else { unreachable!("three nodes") };
    // Both go on as if they were the one: two entries of one number.
    b.write("same", "b")?;
    twin.write("same", "twin")?;
    let notices = |peer: &Peer| -> Result<bool> {
        let shown = shown(peer)?.to_lowercase();
        Ok(shown.contains("copied data directory"))
    };
    let all = || -> Result<String> { Ok([shown(a)?, shown(b)?, shown(twin)?].join("\n--\n")) };
    // The proof comes to all of them, whichever branch A has: so there are not two branches that grow.
    for peer in [a, b, twin] {
        until(&format!("{} shows that there are two of B", peer.name()), SOON * 3, || {
            Ok(notices(peer)?.then_some(()))
        })
        .with_context(|| all().unwrap_or_default())?;
    }
    for stopped in [b, twin] {
        let more = stopped.lattice(["put", "home:more", "x"]).run()?;
        ensure!(more.code() != 0, "{} goes on writing", stopped.name());
        ensure!(more.stderr.contains("lattice help join"), "what to do is not said: {}", more.stderr);
    }
    // Both branches come to all of them: what was written to one file on both is a conflict.
    for peer in [a, b, twin] {
        until(&format!("{} has both versions", peer.name()), SOON * 3, || {
            Ok((versions(peer) == both()).then_some(()))
        })?;
    }
    // The others go on.
    a.write("after", "a")?;
    ensure!(fs::read(a.place("before"))? == b"b", "what was written before is lost");
    // And so does the twin: as a new node, which gets what the old one wrote like everything else.
    let mut new = Peer::join(&cluster.machine(3), "new", a)?;
    until("the new node has both versions", SOON * 3, || Ok((versions(&new) == both()).then_some(())))?;
    new.lattice(["put", "home:same", "settled"]).ok()?;
    a.awaits("same", "settled", SOON)?;
    until("the conflict is settled on A", SOON, || Ok(versions(a).is_empty().then_some(())))?;
    new.passed();
    cluster.passed();
    Ok(())
}

#[test]
fn an_old_backup_that_was_put_back_does_not_fork_its_node() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = Cluster::switch(2, 3)?;
    cluster.peers[1].write("old", "b")?;
    cluster.peers[0].awaits("old", "b", SOON)?;
    cluster.peers[1].stop()?;
    let backup = Peer::bare(&cluster.machine(1), "backup")?;
    copy(&cluster.peers[1], &backup)?;
    cluster.peers[1].mount()?;
    (0..20).try_for_each(|n| cluster.peers[1].write(&format!("new-{n}"), "b"))?;
    cluster.peers[0].awaits("new-19", "b", SOON)?;
    cluster.peers[1].stop()?;
    fs::remove_dir_all(cluster.peers[1].home().join("data"))?;
    copy(&backup, &cluster.peers[1])?;
    cluster.peers[1].mount()?;
    let [a, b] = &cluster.peers[..] else { unreachable!("two nodes") };
    // At once: before anything can have come from A, unless the node asks first.
    b.write("restored", "b")?;
    a.awaits("restored", "b", SOON).context("what the restored node wrote")?;
    b.awaits("new-19", "b", SOON).context("what it had written before, and lost")?;
    for peer in [a, b] {
        let shown = shown(peer)?.to_lowercase();
        ensure!(!shown.contains("fork") && !peer.log().to_lowercase().contains("fork"), "{shown}");
    }
    let mut backup = backup;
    backup.passed();
    cluster.passed();
    Ok(())
}
