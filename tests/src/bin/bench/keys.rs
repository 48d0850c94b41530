//! A store with very many keys: memory, time to open, what one operation costs and what one key
//! takes on the disk. Here through the engine, where each phase is a process of its own, so that
//! what one has allocated isn't counted for the other; `mounted_keys` does it through the mount.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Node as Held, Time, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Handle};
use lattice_tests::fixture::Cmd;
use lattice_tests::random::Random;
use serde::{Deserialize, Serialize};

/// Bytes in a value.
pub const VALUE: usize = 300;
/// The store's name.
const STORE: &str = "home";
/// Puts in one commit while filling.
const BATCH: u64 = 200;
/// Keys in one directory.
pub const DIRECTORY: u64 = 1_000;
/// Operations that are timed.
const OPERATIONS: u64 = 20_000;
/// Gets before those that are timed again: enough to have touched nearly every page of the state.
const WARM_UP: u64 = 200_000;

/// What the second process, which only opens and works, came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Phase {
    /// Seconds from the call to the first answer.
    pub open: f64,
    /// Microseconds each: of pages that the program hasn't read before, and of those that it has.
    pub cold_get: f64,
    pub get: f64,
    /// Until it is signed and in the state file.
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
    /// Bytes on the disk for each key, with its value of 300 bytes; and those of the state alone.
    pub per_key: f64,
    pub state_per_key: f64,
    pub phase: Phase,
}

/// Fills a store in one process, opens it in another. `home` is where it is made.
pub fn measure(keys: u64, home: &Path) -> Result<Measured> {
    let child = |phase: &str| -> Result<String> {
        Cmd::new(std::env::current_exe()?)
            .args(["--keys-phase", phase, "--keys", &keys.to_string(), "--keys-dir"])
            .arg(home)
            .deadline(900)
            .ok()
    };
    let fill: (f64, f64) = serde_json::from_str(&child("fill")?)?;
    let files = files_of(home)?;
    let each = |named: &str| {
        let bytes: u64 =
            files.iter().filter(|(path, _)| named.is_empty() || path.ends_with(named)).map(|(_, n)| n).sum();
        bytes as f64 / keys as f64
    };
    let (per_key, state_per_key) = (each(""), each("state.redb"));
    let phase: Phase = serde_json::from_str(&child("work")?)?;
    Ok(Measured { keys, fill: fill.0, fill_rss: fill.1, per_key, state_per_key, phase })
}

/// All files below a directory, with the bytes that they take on the disk.
fn files_of(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            files.extend(files_of(&path)?);
        } else {
            files.push((path, meta.blocks() * 512));
        }
    }
    Ok(files)
}

/// Reads every file once: what is measured is the store, and not which of its pages the machine happens to have dropped
/// since it was filled.
pub fn into_memory(dir: &Path) -> Result<()> {
    for (path, _) in files_of(dir)? {
        if fs::symlink_metadata(&path)?.is_file() {
            std::io::copy(&mut fs::File::open(&path)?, &mut std::io::sink())?;
        }
    }
    Ok(())
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

/// Where the `n`-th directory is.
pub fn directory(n: u64) -> String {
    format!("archive/of/many/keys/{n:06}")
}

/// Where key `n` is.
pub fn path(n: u64) -> String {
    format!("{}/the-name-of-a-file-{n:09}", directory(n / DIRECTORY))
}

fn key(n: u64) -> Result<Key> {
    Key::parse(path(n).as_bytes()).context("a key")
}

fn put(n: u64, random: &mut Random) -> Result<Change> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1).to_le_bytes());
    let node = Held {
        file_id: FileId(id),
        value: Value::File(Content::Inline(Bytes::from(random.bytes(VALUE)))),
        // What the mount writes for a new file.
        attrs: Attrs {
            mode: Some(0o644),
            uid: Some(1000),
            gid: Some(1000),
            mtime: Some(Time { s: 1_790_000_000 + n.cast_signed(), ns: 123_456_789 }),
            ..Attrs::default()
        },
    };
    Ok(Change::Put { key: key(n)?, node, cites: Cites::All, expect: Expect::Anything })
}

fn fill(dir: &Path, keys: u64) -> Result<()> {
    fs::create_dir_all(dir.parent().context("a directory in a home")?)?;
    Node::init(dir)?;
    let node = Node::open(dir)?;
    let store = node.create_store(STORE)?;
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
    into_memory(dir)?;
    let started = Instant::now();
    let node = Node::open(dir)?;
    let store = node.find(STORE)?;
    get(&store, keys / 2)?;
    let open = started.elapsed().as_secs_f64();

    let mut random = Random::new(7);
    let cold_get = each(OPERATIONS, || get(&store, random.below(keys)))?;
    each(WARM_UP, || get(&store, random.below(keys)))?;
    let get = each(OPERATIONS, || get(&store, random.below(keys)))?;
    let mut random = Random::new(8);
    let mut left = OPERATIONS;
    let put = each(OPERATIONS, || {
        let n = random.below(keys);
        store.commit(vec![put(n, &mut random)?])?;
        left -= 1;
        // What follows a put must not be left out only because it is done later.
        if left == 0 { Ok(store.maintain(false)?) } else { Ok(()) }
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
    Ok(Phase { open, cold_get, get, put, list, rss })
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
pub fn each(count: u64, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / count as f64)
}

fn peak_rss() -> Result<f64> {
    peak_rss_of("self")
}

/// The most memory that a process ever had resident, in MB.
pub fn peak_rss_of(pid: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).context("VmHWM")?;
    Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
}
