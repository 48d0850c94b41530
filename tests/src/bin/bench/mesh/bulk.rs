//! A store with much in it, and an empty node that joins.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Node as Held, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect};
use lattice_tests::fixture::{Machine, Peer};
use lattice_tests::random::Random;

use super::PATIENCE;
use crate::figure::{Asked, Figure};
use crate::programs::memory;

const VALUE: usize = 100;
/// Keys in one directory.
const DIRECTORY: u64 = 1_000;

/// Many keys in few entries, then fewer keys in an entry each.
pub fn first_sync(quick: bool) -> Result<Vec<Figure>> {
    let (keys, singles) = if quick { (5_000, 500) } else { (1_000_000, 200_000) };
    let bulk = join(keys, 200)?;
    let single = join(singles, 1)?;
    let rate = |n: u64, came: Duration| n as f64 / came.as_secs_f64();
    let name = |n: u64, what: &str| format!("mesh: first sync, {n} {what}");
    Ok(vec![
        Figure::new(name(keys, "keys"), "1/s", rate(keys, bulk.came), Asked::AtLeast(100_000.0)),
        Figure::new(name(keys, "keys, memory"), "MB", bulk.rss, Asked::AtMost(500.0)),
        Figure::new(name(singles, "entries"), "1/s", rate(singles, single.came), Asked::AtLeast(20_000.0)),
        Figure::new(name(singles, "entries, memory"), "MB", single.rss, Asked::AtMost(500.0)),
    ])
}

struct Came {
    came: Duration,
    /// The most that the new node ever had resident.
    rss: f64,
}

/// Fills a node's store with `each` keys in a commit, and times an empty node's joining.
fn join(keys: u64, each: u64) -> Result<Came> {
    let mut a = filled(keys, each)?;
    let mut b = Peer::bare(&Machine::Loopback, "B")?;
    let ticket = a.invite()?;
    let began = Instant::now();
    b.join_within(&ticket, PATIENCE)?;
    let came = began.elapsed();
    let rss = memory(b.pid().context("a daemon")?, "VmHWM")?;
    let status = b.json(["status", "home"])?;
    ensure!(status["open"]["live_keys"] == keys, "of {keys} keys have come: {status}");
    for peer in [&mut a, &mut b] {
        peer.stop()?;
        peer.passed();
    }
    Ok(Came { came, rss })
}

/// A founder whose store holds so many keys; its daemon runs, without a mount.
pub fn filled(keys: u64, each: u64) -> Result<Peer> {
    let mut a = Peer::bare(&Machine::Loopback, "A")?;
    a.lattice(["init", "--store", "home"]).ok()?;
    fill(&a.home().join("data"), keys, each)?;
    a.serve()?;
    Ok(a)
}

/// Without a daemon. The data directory's lock goes with the last handle.
fn fill(data: &Path, keys: u64, each: u64) -> Result<()> {
    let node = Node::open(data)?;
    let store = node.find("home")?;
    let mut random = Random::new(keys);
    for from in (0..keys).step_by(each as usize) {
        let batch: Result<Vec<Change>> = (from..keys.min(from + each)).map(|n| put(n, &mut random)).collect();
        store.commit(batch?)?;
    }
    store.sync()?;
    Ok(node.close()?)
}

fn put(n: u64, random: &mut Random) -> Result<Change> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1).to_le_bytes());
    let node = Held {
        file_id: FileId(id),
        value: Value::File(Content::Inline(Bytes::from(random.bytes(VALUE)))),
        attrs: Attrs::default(),
    };
    let key = Key::parse(format!("many/{:06}/{n:09}", n / DIRECTORY).as_bytes()).context("a key")?;
    Ok(Change::Put { key, node, cites: Cites::All, expect: Expect::Anything })
}
