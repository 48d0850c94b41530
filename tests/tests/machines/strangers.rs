//! Who isn't a member gets nothing: no byte of a store, no head, no name, in none of the ways that there are to ask.

use anyhow::{Context, Result, ensure};
use lattice_engine::wire::v1::join_answer::Kind as Answer;
use lattice_tests::fixture::{Cluster, Machine, Peer, until};

use super::stranger::{Target, id_of, key_of};
use super::{SOON, networks};

/// Words that nobody outside may hear.
const SECRET_NAME: &str = "the-name-of-a-file";
const SECRET_TEXT: &str = "what stands in it";
/// The close code of `lattice/1` for those who are no members.
const NOT_A_MEMBER: u64 = 1;
const OTHER_MESH: u64 = 5;

fn log_is_sane(peer: &Peer) -> Result<()> {
    let log = peer.log();
    let bad = log.lines().find(|line| line.contains("panicked") || line.contains("ERROR"));
    ensure!(bad.is_none(), "{} logs {bad:?}", peer.name());
    ensure!(log.len() < 4 << 20, "{} has logged {} bytes", peer.name(), log.len());
    Ok(())
}

fn with_secret() -> Result<Cluster> {
    let cluster = Cluster::switch(2, 4)?;
    cluster.peers[0].write(SECRET_NAME, SECRET_TEXT)?;
    cluster.peers[1].awaits(SECRET_NAME, SECRET_TEXT, SOON)?;
    Ok(cluster)
}

#[test]
fn a_stranger_who_knows_address_and_id_gets_nothing() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = with_secret()?;
    let target = Target::of(&cluster.peers[0], &cluster.machine(0))?;
    // That the questions are good ones: a member's key, while its daemon is away, is answered.
    let member = key_of(cluster.peers[1].home())?;
    cluster.peers[1].stop()?;
    let heard = target.ask(2, member)?;
    ensure!(heard.contains(target.id().as_bytes()), "even a member hears no tips: {heard:?}");
    let bytes = heard.bytes.len();
    ensure!(!target.hear_gossip(2, member)?.bytes.is_empty(), "not even a member is greeted by gossip");
    let heard = target.of_other_mesh().ask(2, member)?;
    ensure!(heard.closed == Some(OTHER_MESH), "a member of another mesh hears {heard:?}");
    ensure!(!heard.contains(b"home") && !heard.contains(SECRET_NAME.as_bytes()), "and names: {heard:?}");
    cluster.peers[1].mount()?;

    for key in [[1; 32], [2; 32], [0xfe; 32]] {
        for heard in [target.ask(2, key)?, target.hear_gossip(2, key)?] {
            ensure!(heard.bytes.is_empty(), "a stranger heard {heard:?}");
            ensure!(heard.closed.is_none_or(|code| code == NOT_A_MEMBER), "closed with {:?}", heard.closed);
        }
    }
    let (heard, answer) = target.ask_to_join(2, [1; 32])?;
    ensure!(matches!(answer, Some(Answer::Refused(_))), "who asks to join hears {answer:?}");
    let names = ["home", SECRET_NAME, SECRET_TEXT].map(str::as_bytes);
    let ids = [id_of(member)];
    let told = names.into_iter().chain(ids.iter().map(|id| &id.as_bytes()[..])).find(|n| heard.contains(n));
    ensure!(told.is_none() && heard.bytes.len() < 300, "and learns {heard:?}");
    for alpn in [&b"/iroh-bytes/4"[..], b"lattice/2", b"h3"] {
        ensure!(!target.speaks(2, [1; 32], alpn)?, "it speaks {:?}", String::from_utf8_lossy(alpn));
    }
    // Many who knock at once keep nobody from work.
    std::thread::scope(|scope| {
        let knocking: Vec<_> = (10..40u8)
            .map(|n| {
                scope.spawn({
                    let target = &target;
                    move || target.ask(2, [n; 32])
                })
            })
            .collect();
        cluster.peers[0].write("meanwhile", "a")?;
        cluster.peers[1].awaits("meanwhile", "a", SOON)?;
        for knock in knocking {
            let heard = knock.join().map_err(|_| anyhow::anyhow!("a stranger panicked"))??;
            ensure!(heard.bytes.is_empty(), "one of many strangers heard {heard:?}");
        }
        Ok(())
    })?;
    println!("a member's key hears {bytes} bytes, 33 strangers 0");
    log_is_sane(&cluster.peers[0])?;
    cluster.passed();
    Ok(())
}

#[test]
fn a_revoked_peer_gets_nothing_any_more_from_anybody() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let mut cluster = with_secret()?;
    let c = Peer::join(&cluster.machine(2), "C", &cluster.peers[0])?;
    cluster.peers.push(c);
    let network = cluster.network.clone();
    let [a, b, c] = &mut cluster.peers[..] else { unreachable!("three nodes") };
    let id = b.id()?;
    let told = a.lattice(["peer", "revoke", &id]).ok()?;
    ensure!(told.contains(&id), "{told}");
    for peer in [&*a, &*c] {
        until(&format!("{} has cut the revoked one off", peer.name()), SOON, || {
            Ok((!peer.connected()?.contains(&id)).then_some(()))
        })?;
    }
    a.write("after", "a")?;
    c.awaits("after", "a", SOON).context("the others go on")?;
    b.write("by the revoked", "b")?;
    c.write("last", "c")?;
    a.awaits("last", "c", SOON)?;
    ensure!(!b.place("after").exists(), "the revoked one has read what came after");
    ensure!(!a.place("by the revoked").exists(), "its writes are still taken");
    ensure!(b.connected()?.is_empty(), "it is still connected");
    let key = key_of(b.home())?;
    b.stop()?;
    for (peer, host) in [(&*a, 0), (&*c, 2)] {
        let target = Target::of(peer, &Machine::Host(network.clone(), host))?;
        for heard in [target.ask(3, key)?, target.hear_gossip(3, key)?] {
            ensure!(heard.bytes.is_empty(), "{} tells the revoked one {heard:?}", peer.name());
        }
        log_is_sane(peer)?;
    }
    b.mount()?;
    ensure!(b.connected()?.is_empty() && !b.place("last").exists(), "a restart let it in again");
    println!("a revoked peer: 0 bytes");
    cluster.passed();
    Ok(())
}
