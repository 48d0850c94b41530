//! The kill loop (promises 2, 3 and 4): SIGKILL of the daemon at random moments under a writing
//! load, a new mount, and a comparison with what was acknowledged. A file whose close returned is
//! never lost, a rename over another file shows the old or the new, and nothing is garbled.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lattice_tests::fixture::{Kind, Mounted, needs};
use lattice_tests::random::{Random, fresh_seed, seed};
use rustix::fs::{Mode, OFlags};

/// Kills in one run: `LATTICE_TEST_KILLS` overrides it.
const KILLS: u64 = 200;
const WRITERS: u64 = 4;
/// Names that each writer uses over and over.
const SLOTS: u64 = 40;
/// The daemon lives this long under load, at most.
const LONGEST_LIFE_MS: u64 = 120;
/// The whole loop ends by then, whatever happens.
const BOUND: Duration = Duration::from_secs(900);

/// What a file holds: `None` is no file; else the seed and size of its bytes.
type Content = Option<(u64, usize)>;

/// What may be found in one place: the acknowledged content, or, where an operation was under way
/// when the daemon was killed, what that would have left.
#[derive(Debug, Clone, Default)]
struct Slot {
    acknowledged: Content,
    under_way: Vec<Content>,
}

/// One writer's files and what is known of them.
#[derive(Debug)]
struct Writer {
    id: u64,
    dir: PathBuf,
    random: Random,
    slots: BTreeMap<String, Slot>,
    acknowledged: u64,
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// close(2), whose error is the promise that is tested: dropping a `File` would hide it.
fn close(fd: OwnedFd) -> io::Result<()> {
    let raw = fd.into_raw_fd();
    #[expect(unsafe_code, reason = "only close(2) itself tells whether the file was kept")]
    // SAFETY: `raw` was owned by `fd`, which gave it up, and nothing else uses it.
    let result = unsafe { libc::close(raw) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let step = bytes.len().min(1 << 20);
        let n = rustix::io::write(fd, &bytes[..step])?;
        bytes = &bytes[n..];
    }
    Ok(())
}

impl Writer {
    fn new(id: u64, root: &Path, seed: u64) -> Self {
        Self {
            id,
            dir: root.join(format!("w{id}")),
            random: Random::new(seed ^ (id << 40)),
            slots: BTreeMap::new(),
            acknowledged: 0,
        }
    }

    /// Works until the daemon is gone.
    fn work(&mut self, stop: &AtomicBool, done: &AtomicU64) {
        while !stop.load(Ordering::Relaxed) && self.step().is_ok() {
            self.acknowledged += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn name(&mut self) -> String {
        format!("f{}", self.random.below(SLOTS))
    }

    fn content(&mut self) -> (u64, usize) {
        let len = match self.random.below(20) {
            0 => 1_000_000 + self.random.below(2_500_000),
            1..4 => 4_097 + self.random.below(200_000),
            4 => 0,
            _ => self.random.below(4_097),
        };
        (self.random.bits(), len as usize)
    }

    fn step(&mut self) -> io::Result<()> {
        match self.random.below(10) {
            0..5 => self.write_and_close(),
            5..8 => self.rename_over(),
            8 => self.unlink(),
            _ => self.append(),
        }
    }

    /// Runs one operation on some slots: what it leaves in each is known before it starts, and
    /// is what stands there once it has returned.
    fn change(
        &mut self,
        leaves: Vec<(String, Content)>,
        between: Vec<(String, Content)>,
        act: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        for (name, content) in leaves.iter().chain(&between) {
            let slot = self.slots.entry(name.clone()).or_default();
            slot.under_way.push(*content);
        }
        act(&self.dir)?;
        for (name, content) in leaves {
            let slot = self.slots.entry(name).or_default();
            slot.acknowledged = content;
            slot.under_way.clear();
        }
        for (name, _) in between {
            self.slots.entry(name).or_default().under_way.clear();
        }
        Ok(())
    }

    fn write_and_close(&mut self) -> io::Result<()> {
        let name = self.name();
        let content = self.content();
        let sync = self.random.one_in(6);
        // A new file may be found empty: creating it is a change of its own.
        let is_new = self.slots.get(&name).is_none_or(|slot| slot.acknowledged.is_none());
        let between = if is_new { vec![(name.clone(), Some((0, 0)))] } else { vec![] };
        self.change(vec![(name.clone(), Some(content))], between, |dir| {
            write_file(&dir.join(&name), content, sync)
        })
    }

    fn rename_over(&mut self) -> io::Result<()> {
        let (name, temp) = (self.name(), format!("tmp{}", self.id));
        let content = self.content();
        let sync = self.random.one_in(3);
        let empty = vec![(temp.clone(), Some((0, 0)))];
        self.change(vec![(temp.clone(), Some(content))], empty, |dir| {
            write_file(&dir.join(&temp), content, sync)
        })?;
        let leaves = vec![(temp.clone(), None), (name.clone(), Some(content))];
        self.change(leaves, vec![], |dir| fs::rename(dir.join(&temp), dir.join(&name)))
    }

    fn unlink(&mut self) -> io::Result<()> {
        let name = self.name();
        if self.slots.get(&name).is_none_or(|slot| slot.acknowledged.is_none()) {
            return Ok(());
        }
        self.change(vec![(name.clone(), None)], vec![], |dir| fs::remove_file(dir.join(&name)))
    }

    /// Grows a file by writing it anew in place, without truncating it first.
    fn append(&mut self) -> io::Result<()> {
        let name = self.name();
        let Some((seed, len)) = self.slots.get(&name).and_then(|slot| slot.acknowledged) else {
            return Ok(());
        };
        let grown = (seed, len + 1 + self.random.below(10_000) as usize);
        self.change(vec![(name.clone(), Some(grown))], vec![], |dir| {
            let fd = rustix::fs::open(dir.join(&name), OFlags::WRONLY | OFlags::APPEND, Mode::empty())?;
            write_all(&fd, &bytes(seed, grown.1)[len..])?;
            close(fd)
        })
    }

    /// Compares the directory with what is known: gives what was lost or garbled, and takes what
    /// was found as the truth from here on.
    fn check(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, slot) in &mut self.slots {
            let path = self.dir.join(name);
            let found = match fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => {
                    wrong.push(format!("{}: can't be read: {e}", path.display()));
                    continue;
                }
            };
            let allowed = [&[slot.acknowledged], &slot.under_way[..]].concat();
            let matched = allowed.iter().find(|content| match (content, &found) {
                (None, None) => true,
                (Some((seed, len)), Some(found)) => *len == found.len() && bytes(*seed, *len) == *found,
                _ => false,
            });
            match matched {
                Some(content) => slot.acknowledged = *content,
                None => wrong.push(format!(
                    "{}: found {}, acknowledged {:?}, under way {:?}\n{}",
                    path.display(),
                    found.map_or("nothing".into(), |bytes| format!("{} bytes", bytes.len())),
                    slot.acknowledged,
                    slot.under_way,
                    heads(&path)
                )),
            }
            slot.under_way.clear();
        }
        let known = |name: &str| self.slots.get(name).is_some_and(|s| s.acknowledged.is_some());
        match fs::read_dir(&self.dir) {
            Ok(entries) => wrong.extend(
                entries
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .filter(|name| !known(name))
                    .map(|name| format!("{}/{name}: nobody wrote it", self.dir.display())),
            ),
            Err(e) => wrong.push(format!("{}: can't be listed: {e}", self.dir.display())),
        }
        wrong
    }
}

/// What Lattice says of the versions of a file, where it is one: a lost file may be there as a conflict.
fn heads(path: &Path) -> String {
    let mut value = vec![0; 4096];
    let read = rustix::fs::getxattr(path, "user.lattice.heads", &mut value[..]);
    read.map_or(String::new(), |n| String::from_utf8_lossy(&value[..n]).into_owned())
}

fn write_file(path: &Path, (seed, len): (u64, usize), sync: bool) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?;
    write_all(&fd, &bytes(seed, len))?;
    if sync {
        rustix::fs::fsync(&fd)?;
    }
    close(fd)
}

fn kills() -> u64 {
    std::env::var("LATTICE_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS)
}

#[test]
fn no_file_whose_close_returned_is_lost() {
    if !needs(&[]) {
        return;
    }
    let kind = Kind::chosen();
    if kind == Kind::Floor {
        eprintln!("skipped: the floor keeps nothing");
        return;
    }
    let seed = seed(fresh_seed());
    println!("kill loop: seed {seed} (LATTICE_TEST_SEED={seed} repeats the operations)");
    let mut random = Random::new(seed);
    let mut mounted = Mounted::new().expect("a mount");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|id| Writer::new(id, mounted.dir(), seed)).collect();
    for writer in &writers {
        fs::create_dir(&writer.dir).expect("a directory for each writer");
    }

    let started = Instant::now();
    let (operations, mut lost, mut survived) = (AtomicU64::new(0), Vec::new(), 0);
    while survived < kills() && started.elapsed() < BOUND {
        let life = Duration::from_millis(1 + random.below(LONGEST_LIFE_MS));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.work(&stop, &operations));
            }
            // The moment of the kill is what is random here: nothing is waited for.
            thread::sleep(life);
            mounted.kill().expect("the daemon is killed");
            stop.store(true, Ordering::Relaxed);
        });
        mounted.detach();
        mounted.mount().unwrap_or_else(|e| panic!("no mount after kill {survived}: {e:?}"));
        survived += 1;
        for writer in &mut writers {
            lost.extend(writer.check().into_iter().map(|w| format!("kill {survived}: {w}")));
        }
        assert!(lost.is_empty(), "seed {seed}:\n{}", lost.join("\n"));
    }
    println!(
        "kill loop: {survived} kills, {} operations acknowledged, {} files lost, {:.2} s a kill",
        operations.load(Ordering::Relaxed),
        lost.len(),
        started.elapsed().as_secs_f64() / survived.max(1) as f64
    );
    assert_eq!(survived, kills(), "only {survived} kills in {BOUND:?}");
    assert!(operations.load(Ordering::Relaxed) > survived, "the writers hardly wrote");
}

#[test]
fn the_loop_sees_a_lost_a_garbled_and_an_unknown_file() {
    let scratch = lattice_tests::fixture::Scratch::new().expect("a directory");
    let mut writer = Writer::new(0, scratch.path(), 7);
    fs::create_dir(&writer.dir).expect("its directory");
    while writer.slots.values().filter(|s| s.acknowledged.is_some_and(|c| c.1 > 0)).count() < 3 {
        writer.step().expect("a plain directory takes everything");
    }
    assert_eq!(writer.check(), Vec::<String>::new());
    let kept: Vec<String> = writer
        .slots
        .iter()
        .filter(|(_, slot)| slot.acknowledged.is_some_and(|c| c.1 > 0))
        .map(|(name, _)| name.clone())
        .collect();
    fs::remove_file(writer.dir.join(&kept[0])).expect("lost");
    fs::write(writer.dir.join(&kept[1]), "garbled").expect("garbled");
    fs::write(writer.dir.join("stranger"), "?").expect("unknown");
    assert_eq!(writer.check().len(), 3);
}
