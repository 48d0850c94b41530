//! Crash explorer: random scripts over the simulated disk, a power loss at every recorded operation in several shapes,
//! and again within the recovery. Every image must open without a loss, give back what a `sync` acknowledged, never give
//! back anything else than what was stored, and take everything again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::error::{ContentError, Result};
use super::super::store::Tuning;
use super::super::{ChunkIndex, ContentStore, IndexBatch, IndexError, Location, MemoryIndex, Recovery};
use super::{text, try_read};
use crate::disk::sim::{Rng, SimDisk};
use crate::disk::{Disk, Open};
use crate::entry::Content;
use crate::id::ChunkId;

const SCRIPTS: u64 = 40;
const STEPS: u64 = 14;
const VARIANTS: usize = 2;
const TUNING: Tuning = Tuning { pack_target: 90_000, min_adopt: 60_000 };

fn dir() -> &'static Path {
    Path::new("/s")
}

/// An index that remembers when each batch came, so that a crash can take back those that were not durable.
#[derive(Debug)]
struct Journal {
    disk: SimDisk,
    now: MemoryIndex,
    batches: Mutex<Vec<(usize, IndexBatch, bool)>>,
}

impl Journal {
    fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), now: MemoryIndex::default(), batches: Mutex::default() }
    }

    /// What a crash at `at` leaves: everything durable, and some of what came after.
    fn after_crash(&self, at: usize, rng: &mut Rng) -> MemoryIndex {
        let batches = self.batches.lock();
        let done: Vec<_> = batches.iter().filter(|(when, _, _)| *when <= at).collect();
        let durable = done.iter().rposition(|(_, _, durable)| *durable).map_or(0, |i| i + 1);
        let kept = durable + rng.below((done.len() - durable) as u64 + 1) as usize;
        let index = MemoryIndex::default();
        for (_, batch, _) in &done[..kept] {
            index.apply(batch, true).expect("memory");
        }
        index
    }
}

impl ChunkIndex for Journal {
    fn get(&self, id: &ChunkId) -> std::result::Result<Option<Location>, IndexError> {
        self.now.get(id)
    }
    fn apply(&self, batch: &IndexBatch, durable: bool) -> std::result::Result<(), IndexError> {
        self.batches.lock().push((self.disk.ops(), batch.clone(), durable));
        self.now.apply(batch, durable)
    }
    fn marks(&self) -> std::result::Result<Vec<(u64, u64)>, IndexError> {
        self.now.marks()
    }
    fn for_each(&self, visit: &mut dyn FnMut(ChunkId, Location)) -> std::result::Result<(), IndexError> {
        self.now.for_each(visit)
    }
}

struct Stored {
    bytes: Vec<u8>,
    content: Content,
    /// Acknowledged from this point in time on.
    synced: Option<usize>,
    /// No longer promised from this point in time on.
    dropped: Option<usize>,
}

#[derive(Default)]
struct Script {
    all: Vec<Stored>,
    staged: usize,
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let len = 4097 + rng.below(90_000) as usize;
    if rng.one_in(3) {
        return text(rng.next_u64(), len);
    }
    let mut out = vec![0; len];
    // Few seeds: contents share chunks.
    super::noise(rng.below(5), len).into_iter().zip(&mut out).for_each(|(b, o)| *o = b);
    out
}

impl Script {
    fn step(&mut self, disk: &SimDisk, store: &ContentStore, rng: &mut Rng) {
        match rng.below(8) {
            0..=2 => {
                let bytes = bytes(rng);
                let content = store.put(&bytes).expect("puts");
                self.add(bytes, content);
            }
            3 => {
                let bytes = bytes(rng);
                self.staged += 1;
                let path = stage(disk, self.staged, &bytes);
                let content = store.adopt(&path, bytes.len() as u64).expect("adopts");
                self.add(bytes, content);
            }
            4 | 5 => {
                store.sync().expect("syncs");
                let now = disk.ops();
                self.all.iter_mut().for_each(|s| s.synced = s.synced.or(Some(now)));
            }
            6 => {
                store.index_pending(1 + rng.below(6) as usize).expect("indexes");
            }
            _ => self.collect(disk, store, rng),
        }
    }

    fn add(&mut self, bytes: Vec<u8>, content: Content) {
        self.all.push(Stored { bytes, content, synced: None, dropped: None });
    }

    fn collect(&mut self, disk: &SimDisk, store: &ContentStore, rng: &mut Rng) {
        let token = store.begin_gc().expect("begins");
        let now = disk.ops();
        let mut live = HashSet::new();
        for stored in &mut self.all {
            if stored.dropped.is_none() && rng.one_in(2) {
                stored.dropped = Some(now);
            }
            if stored.dropped.is_none() {
                live.extend(store.ids_of(&stored.content).expect("resolves"));
            }
        }
        let report = store.collect(token, &live).expect("collects");
        assert_eq!(report.problems, Vec::<String>::new());
        for stored in self.all.iter().filter(|s| s.dropped.is_none()) {
            assert!(try_read(store, &stored.content).expect("live") == stored.bytes);
        }
    }
}

fn stage(disk: &SimDisk, n: usize, bytes: &[u8]) -> PathBuf {
    let path = dir().join(format!("staging/{n}"));
    let file = disk.open(&path, Open::CreateNew).expect("makes");
    file.write_all_at(bytes, 0).expect("writes");
    path
}

fn open(disk: &SimDisk, index: Arc<dyn ChunkIndex>) -> Result<(ContentStore, Recovery)> {
    ContentStore::open_with(Arc::new(disk.clone()), dir(), index, TUNING)
}

/// Checks an image; how many acknowledged contents it lost.
fn check(script: &Script, image: &SimDisk, index: Arc<MemoryIndex>, at: usize, again: bool) -> usize {
    let (store, recovery) = open(image, index).expect("a crash never leaves packs that won't open");
    let losses: Vec<_> = recovery.findings.iter().filter(|f| f.is_loss()).collect();
    assert!(losses.is_empty(), "at {at}: {losses:?}");
    let mut lost = 0;
    for stored in &script.all {
        match try_read(&store, &stored.content) {
            Ok(bytes) => assert!(bytes == stored.bytes, "at {at}: not what was stored"),
            Err(ContentError::Missing { .. }) => {
                let promised =
                    stored.synced.is_some_and(|t| t <= at) && stored.dropped.is_none_or(|t| t > at);
                lost += usize::from(promised);
            }
            Err(e) => panic!("at {at}: {e}"),
        }
    }
    if again {
        for stored in &script.all {
            assert_eq!(store.put(&stored.bytes).expect("puts"), stored.content);
        }
        store.sync().expect("syncs");
        while store.index_pending(100).expect("indexes") > 0 {}
        for stored in &script.all {
            assert!(try_read(&store, &stored.content).expect("stored again") == stored.bytes, "at {at}");
        }
        assert_eq!(store.fsck(true).expect("checks").problems, Vec::<String>::new());
    }
    lost
}

#[test]
fn nothing_acknowledged_is_lost_in_any_crash() {
    let (mut images, mut lost) = (0, 0);
    for seed in 0..SCRIPTS {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new();
        disk.create_dir_all(dir()).expect("makes");
        disk.sync_dir(Path::new("/")).expect("syncs");
        let index = Arc::new(Journal::new(&disk));
        let (mut store, _) = open(&disk, index.clone()).expect("opens");
        for sub in ["", "packs", "staging"] {
            disk.sync_dir(&dir().join(sub)).expect("syncs");
        }
        let from = disk.ops();
        let mut script = Script::default();
        for _ in 0..STEPS {
            script.step(&disk, &store, &mut rng);
            if rng.one_in(8) {
                // The process ends and starts again.
                store = open(&disk, index.clone()).expect("opens").0;
            }
        }
        for at in from..=disk.ops() {
            for variant in 0..VARIANTS + 1 {
                let image = match variant {
                    0 => disk.kill_image(at),
                    _ => disk.crash_image(at, rng.next_u64()),
                };
                let left = index.after_crash(at, &mut rng);
                let twice = rng.one_in(12);
                let copy = Arc::new(MemoryIndex::default());
                copy.apply(&rows(&left), true).expect("memory");
                lost += check(&script, &image, Arc::new(left), at, !twice);
                images += 1;
                if twice {
                    for within in 0..=image.ops() {
                        let index = Arc::new(MemoryIndex::default());
                        index.apply(&rows(&copy), true).expect("memory");
                        lost += check(&script, &image.crash_image(within, rng.next_u64()), index, at, true);
                        images += 1;
                    }
                }
            }
        }
    }
    println!("content crash explorer: {images} images, acknowledged contents lost: {lost}");
    assert_eq!(lost, 0);
}

fn rows(index: &MemoryIndex) -> IndexBatch {
    let mut batch = IndexBatch::default();
    index.for_each(&mut |id, location| batch.inserts.push((id, location))).expect("memory");
    batch.marks = index.marks().expect("memory").into_iter().map(|(pack, mark)| (pack, Some(mark))).collect();
    batch
}
