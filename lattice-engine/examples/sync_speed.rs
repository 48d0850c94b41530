//! How fast an empty store takes in a full one: two stores in one process, two sessions, every signature checked.
//! `cargo run --release -p lattice-engine --example sync_speed [bulk keys, in millions] [single entries, in thousands]`

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lattice_engine::clock::SystemClock;
use lattice_engine::disk::RealDisk;
use lattice_engine::entry::{Attrs, Content, Decoded, Entry, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Handle, OpenOptions};
use lattice_engine::sync::{Announced, Config, Frame, Input, Mesh, Output, Session};

type Error = Box<dyn std::error::Error>;

fn options(seed: u8) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(RealDisk),
        identity: Arc::new(Identity::from_seed([seed; 32])),
        clock: Arc::new(SystemClock),
        background: true,
        authority: Authority::Everyone,
    }
}

fn put(n: u64, len: usize) -> Result<Change, Error> {
    let mut value = vec![b'v'; len];
    value[..8].copy_from_slice(&n.to_le_bytes());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    let node = Node {
        file_id: FileId(id),
        value: Value::File(Content::Inline(Bytes::from(value))),
        attrs: Attrs::default(),
    };
    let key = Key::parse(format!("dir{:04}/key{n:09}", n / 1000).as_bytes())?;
    Ok(Change::Put { key, node, cites: Cites::Heads(Vec::new()), expect: Expect::Anything })
}

/// From the kernel, in MB: now and at most.
fn rss() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name));
        line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Processor time of this process, in seconds: on a busy machine it says more than the clock.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in the kernel's ticks of 10 ms.
    fields.skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// One side on a thread of its own, until both hold the same.
fn side(
    store: &Handle,
    config: Config,
    inbox: Receiver<Bytes>,
    outbox: Sender<Bytes>,
    goal: &lattice_engine::sync::Tips,
) -> Result<(), String> {
    let start = Instant::now();
    let mut mesh = Mesh::default();
    let mut session = Session::new(config, store.published());
    let mut todo: std::collections::VecDeque<Input> = [Input::Opened].into();
    loop {
        let input = match todo.pop_front() {
            Some(input) => input,
            None => match inbox.recv_timeout(Duration::from_secs(60)) {
                Ok(bytes) => {
                    let at = Announced::read(&bytes).map_err(|e| e.to_string())?.ok_or("a frame was cut")?;
                    Input::Frame(Frame::decode(bytes.slice(at.prefix..)).map_err(|e| e.to_string())?)
                }
                Err(_) => return Ok(()),
            },
        };
        for output in session.handle(input, start.elapsed().as_millis() as u64, &mut mesh) {
            match output {
                Output::Send(frame) => {
                    let _ = outbox.send(frame.encode());
                    todo.push_back(Input::Writable);
                }
                Output::Range { request, ranges, max_bytes } => {
                    let entries = store.range(&ranges, max_bytes).map_err(|e| e.to_string())?;
                    todo.push_back(Input::Ranged { request, entries });
                }
                Output::Receive { batch, entries } => {
                    let results = store.receive(entries, config.peer).map_err(|e| e.to_string())?;
                    let durable = store.publish().map_err(|e| e.to_string())?;
                    todo.push_back(Input::Received { batch, results, durable });
                }
                Output::Fetch { .. }
                | Output::Chain { .. }
                | Output::Forked(_)
                | Output::SetTimer(_)
                | Output::CaughtUp => {}
                Output::Close(reason) => return Err(reason.to_string()),
            }
        }
        if session.is_live() && store.published().digest() == goal.digest() {
            return Ok(());
        }
    }
}

fn first_sync(dir: &Path, from: &Handle, keys: u64, what: &str) -> Result<(), Error> {
    let genesis = from.genesis_entry()?;
    let signature = genesis.signature[..].try_into().ok();
    let (Decoded::Known(genesis) | Decoded::Unknown { entry: genesis, .. }) =
        Entry::decode(genesis.header, genesis.payload, signature)?;
    let to = store::adopt(&dir.join("to"), &genesis, &options(2))?;
    let goal = from.publish()?;
    let entries: u64 = goal.marks().values().map(|m| m.seq).sum();
    let (before, _) = rss();
    let (start, cpu_before) = (Instant::now(), cpu());
    let (to_from, from_inbox) = channel();
    let (to_to, to_inbox) = channel();
    let config = |a: &Handle, b: &Handle| Config {
        store: from.id(),
        genesis: from.genesis(),
        node: a.author(),
        peer: b.author(),
    };
    std::thread::scope(|scope| -> Result<(), Error> {
        let (config_from, goal_from) = (config(from, &to), goal.clone());
        let server = scope.spawn(move || side(from, config_from, from_inbox, to_to, &goal_from));
        side(&to, config(&to, from), to_inbox, to_from, &goal)?;
        server.join().map_err(|_| "the serving side panicked")??;
        Ok(())
    })?;
    let took = start.elapsed().as_secs_f64();
    let cpu = cpu() - cpu_before;
    let (now, peak) = rss();
    assert_eq!(to.published().digest(), goal.digest());
    assert_eq!(to.status()?.live_keys, keys);
    println!(
        "{what}: {entries} entries, {keys} keys in {took:.2} s ({cpu:.2} s of processor): {:.0} entries/s, {:.0} keys/s; memory of both nodes {before} MB \
         before, {now} MB after, {peak} MB at most",
        entries as f64 / took,
        keys as f64 / took
    );
    to.close()?;
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<f64>());
    let bulk = (args.next().transpose()?.unwrap_or(1.0) * 1e6) as u64;
    let single = (args.next().transpose()?.unwrap_or(200.0) * 1e3) as u64;
    let scratch = std::env::temp_dir().join(format!("lattice-sync-speed-{}", std::process::id()));
    for (name, keys, per_commit) in [("bulk", bulk, 4000), ("single", single, 1)] {
        if keys == 0 {
            continue;
        }
        let dir = scratch.join(name);
        std::fs::create_dir_all(dir.join("from"))?;
        std::fs::create_dir_all(dir.join("to"))?;
        let from = store::create(&dir.join("from"), &options(1))?;
        let mut n = 0;
        while n < keys {
            let end = (n + per_commit).min(keys);
            from.commit((n..end).map(|n| put(n, 100)).collect::<Result<_, _>>()?)?;
            n = end;
        }
        from.sync()?;
        first_sync(&dir, &from, keys, name)?;
        from.close()?;
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}
