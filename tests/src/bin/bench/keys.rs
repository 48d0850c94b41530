//! A store with very many keys, through the engine: memory, time to open, what one operation costs
//! and what one key takes on the disk. Each phase is a process of its own, so that what one
//! has allocated isn't counted for the other.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Node as Held, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Handle};
use lattice_tests::fixture::{Cmd, Scratch};
use lattice_tests::random::Random;
use serde::{Deserialize, Serialize};

/// Bytes in a value.
const VALUE: usize = 300;
/// Puts in one commit while filling.
const BATCH: u64 = 200;
/// Keys in one directory.
const DIRECTORY: u64 = 1_000;
/// Operations that are timed.
const OPERATIONS: u64 = 20_000;

/// What the second process, which only opens and works, came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Phase {
    /// Seconds from the call to the first answer.
    pub open: f64,
    /// Microseconds each.
    pub get: f64,
    pub put: f64,
    pub list: f64,
    /// The most memory that was ever resident, in MB.
    pub rss: f64,
}

/// One size of store.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub keys: u64,
    /// Keys a second, 200 in a commit.
    pub fill: f64,
    /// The most memory that was ever resident while filling, in MB.
    pub fill_rss: f64,
    /// Bytes on the disk for each key, with its value of 300 bytes.
    pub per_key: f64,
    pub phase: Phase,
}

/// Fills a store in one process, opens it in another.
pub fn measure(keys: u64) -> Result<Measured> {
    let scratch = Scratch::new()?;
    let home = scratch.join("data");
    let child = |phase: &str| -> Result<String> {
        Cmd::new(std::env::current_exe()?)
            .args(["--keys-phase", phase, "--keys", &keys.to_string(), "--keys-dir"])
            .arg(&home)
            .deadline(900)
            .ok()
    };
    let fill: (f64, f64) = serde_json::from_str(&child("fill")?)?;
    let size = Cmd::new("du").arg("-sk").arg(&home).ok()?;
    let kib: f64 = size.split_whitespace().next().context("du prints a size")?.parse()?;
    let phase: Phase = serde_json::from_str(&child("work")?)?;
    Ok(Measured { keys, fill: fill.0, fill_rss: fill.1, per_key: kib * 1024.0 / keys as f64, phase })
}

/// What a child process does: prints its result as JSON.
pub fn run_phase(phase: &str, keys: u64, dir: &Path) -> Result<()> {
    match phase {
        "fill" => {
            let started = Instant::now();
            fill(dir, keys)?;
            let rate = keys as f64 / started.elapsed().as_secs_f64();
            println!("{}", serde_json::to_string(&(rate, peak_rss()?))?);
        }
        "work" => println!("{}", serde_json::to_string(&work(dir, keys)?)?),
        other => bail!("no phase {other:?}"),
    }
    Ok(())
}

fn key(n: u64) -> Result<Key> {
    let path = format!("archive/of/many/keys/{:06}/the-name-of-a-file-{n:09}", n / DIRECTORY);
    Key::parse(path.as_bytes()).context("a key")
}

fn put(n: u64, random: &mut Random) -> Result<Change> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1).to_le_bytes());
    let node = Held {
        file_id: FileId(id),
        value: Value::File(Content::Inline(Bytes::from(random.bytes(VALUE)))),
        attrs: Attrs::default(),
    };
    Ok(Change::Put { key: key(n)?, node, cites: Cites::All, expect: Expect::Anything })
}

fn fill(dir: &Path, keys: u64) -> Result<()> {
    Node::init(dir)?;
    let node = Node::open(dir)?;
    let store = node.create_store("many")?;
    let mut random = Random::new(keys);
    for from in (0..keys).step_by(BATCH as usize) {
        let batch: Result<Vec<Change>> =
            (from..keys.min(from + BATCH)).map(|n| put(n, &mut random)).collect();
        store.commit(batch?)?;
    }
    node.close()?;
    Ok(())
}

fn work(dir: &Path, keys: u64) -> Result<Phase> {
    let started = Instant::now();
    let node = Node::open(dir)?;
    let store = node.find("many")?;
    get(&store, keys / 2)?;
    let open = started.elapsed().as_secs_f64();

    let mut random = Random::new(7);
    let get = each(OPERATIONS, || get(&store, random.below(keys)))?;
    let mut random = Random::new(8);
    let put = each(OPERATIONS, || {
        let n = random.below(keys);
        store.commit(vec![put(n, &mut random)?])?;
        Ok(())
    })?;
    let mut random = Random::new(9);
    let list = each(OPERATIONS / 20, || {
        let below = key(random.below(keys))?;
        let dir = below.parent().context("a key has a parent")?;
        let some = store.list(&dir, None, 100)?;
        anyhow::ensure!(some.len() == 100.min(keys as usize), "{} entries in {dir}", some.len());
        Ok(())
    })?;
    let rss = peak_rss()?;
    node.close()?;
    Ok(Phase { open, get, put, list, rss })
}

fn get(store: &Handle, n: u64) -> Result<()> {
    let record = store.get(&key(n)?)?.with_context(|| format!("key {n} isn't there"))?;
    let head = record.shown().with_context(|| format!("key {n} has no version"))?;
    let node = head.node.as_ref().with_context(|| format!("key {n} is deleted"))?;
    let content = node.content().with_context(|| format!("key {n} is no file"))?;
    let size = store.read(content)?.read_all()?.len();
    anyhow::ensure!(size == VALUE, "key {n} has {size} bytes");
    Ok(())
}

/// Microseconds that one call takes.
fn each(count: u64, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / count as f64)
}

fn peak_rss() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).context("VmHWM")?;
    Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
}
