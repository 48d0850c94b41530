//! Storage crash explorer: random scripts over the simulated disk, a crash at every recorded operation, in several shapes
//! each, and again at every operation of the recovery. Every image must open, hold what was acknowledged, and hold
//! nothing else than a beginning of what was appended.

use std::path::Path;
use std::sync::Arc;

use super::{Log, LogOptions, Record, RecordRef};
use crate::disk::sim::{Rng, SimDisk};
use crate::id::StoreId;

const STORE: StoreId = StoreId([5; 16]);
const OPTS: LogOptions = LogOptions { segment_bytes: 4000 };
const SCRIPTS: u64 = 300;
const VARIANTS: usize = 3;

fn dir() -> &'static Path {
    Path::new("/s/log")
}

fn new_disk() -> SimDisk {
    use crate::disk::Disk;
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/s")).expect("makes");
    disk
}

fn open(disk: &SimDisk) -> Log {
    Log::open(Arc::new(disk.clone()), dir(), STORE, OPTS, None)
        .expect("a crash never leaves a log that won't open")
        .0
}

fn contents(log: &Log) -> Vec<Vec<u8>> {
    let body = |r| match r {
        Record::Intent { body } => body.to_vec(),
        other => panic!("{other:?} was never appended"),
    };
    log.reader().scan(None).map(|r| body(r.expect("whole").1)).collect()
}

/// A call of `append` between two points in time.
struct Append {
    from: usize,
    to: usize,
    bodies: Vec<Vec<u8>>,
    done: bool,
}

/// What was done to a log, and when.
#[derive(Default)]
struct History {
    appends: Vec<Append>,
    /// From this point in time on, so many records are promised.
    promised: Vec<(usize, usize)>,
}

impl History {
    fn done(&self) -> usize {
        self.appends.iter().filter(|a| a.done).map(|a| a.bodies.len()).sum()
    }

    fn append(&mut self, disk: &SimDisk, log: &mut Log, bodies: Vec<Vec<u8>>) {
        let records: Vec<_> = bodies.iter().map(|body| RecordRef::Intent { body }).collect();
        let from = disk.ops();
        let done = log.append(&records).is_ok();
        self.appends.push(Append { from, to: disk.ops(), bodies, done });
    }

    fn promise(&mut self, disk: &SimDisk) {
        self.promised.push((disk.ops(), self.done()));
    }

    /// Checks an image of a power loss at `at`; returns how many promised records are missing.
    fn check(&self, at: usize, found: &[Vec<u8>]) -> usize {
        let begun = |a: &&Append| a.from < at && (a.done || at < a.to);
        let appended: Vec<_> = self.appends.iter().filter(begun).flat_map(|a| &a.bodies).collect();
        assert!(found.len() <= appended.len(), "more records than were appended");
        assert!(found.iter().eq(appended[..found.len()].iter().copied()), "not what was appended, in order");
        let promised = self.promised.iter().filter(|p| p.0 <= at).map(|p| p.1).max();
        promised.unwrap_or(0).saturating_sub(found.len())
    }

    /// Checks an image of a kill at `at`: what an append returned for is there.
    fn check_kill(&self, at: usize, found: &[Vec<u8>]) {
        self.check(at, found);
        let written: usize =
            self.appends.iter().filter(|a| a.done && a.to <= at).map(|a| a.bodies.len()).sum();
        assert!(found.len() >= written, "a kill at {at} lost {} records", written - found.len());
    }
}

fn bodies(rng: &mut Rng) -> Vec<Vec<u8>> {
    let body = |rng: &mut Rng| {
        // Often of equal lengths, so that what was torn and what is written after it can line up.
        let len = if rng.one_in(2) { 100 } else { rng.below(1500) };
        let mut body = vec![0; len as usize];
        rng.fill(&mut body);
        body
    };
    (0..1 + rng.below(4)).map(|_| body(rng)).collect()
}

/// Runs a script of appends, syncs, restarts of the process and full disks.
fn run(rng: &mut Rng) -> (SimDisk, History) {
    let disk = new_disk();
    let mut history = History::default();
    let mut log = open(&disk);
    for _ in 0..4 + rng.below(20) {
        match rng.below(12) {
            0..6 => history.append(&disk, &mut log, bodies(rng)),
            6..9 => {
                log.syncer().sync_to(log.end()).expect("syncs");
                history.promise(&disk);
            }
            9 => {
                if rng.one_in(2) {
                    log.close().expect("closes");
                }
                // The process is gone, the page cache is not: what open finds, it makes durable.
                log = open(&disk);
                assert_eq!(contents(&log).len(), history.done());
                history.promise(&disk);
            }
            _ => {
                disk.set_space(Some(rng.below(700)));
                history.append(&disk, &mut log, bodies(rng));
                disk.set_space(None);
            }
        }
    }
    (disk, history)
}

/// Crashes at every operation of a recovery and of what is done after it.
fn crash_again(image: &SimDisk, rng: &mut Rng, figures: &mut Figures, first: impl Fn(&[Vec<u8>]) -> usize) {
    let mut log = open(image);
    let mut found = contents(&log);
    figures.lost += first(&found);
    let opened = image.ops();
    let new = bodies(rng);
    let records: Vec<_> = new.iter().map(|body| RecordRef::Intent { body }).collect();
    let positions = log.append(&records).expect("appends");
    log.syncer().sync_to(positions[positions.len() - 1].end()).expect("syncs");
    let (recovered, synced) = (found.len(), image.ops());
    found.extend(new);
    for (at, image) in image.crash_images(1, rng.next_u64()) {
        let again = contents(&open(&image));
        figures.second += 1;
        if at < opened {
            figures.lost += first(&again);
            continue;
        }
        let promised = if at < synced { recovered } else { found.len() };
        assert!(
            again.len() <= found.len() && again == found[..again.len()],
            "not what was appended, in order"
        );
        figures.lost += promised.saturating_sub(again.len());
    }
}

#[derive(Default)]
struct Figures {
    first: usize,
    second: usize,
    kills: usize,
    lost: usize,
}

#[test]
fn no_crash_loses_what_was_synced_nor_invents_a_record() {
    let mut figures = Figures::default();
    for seed in 0..SCRIPTS {
        let mut rng = Rng::new(seed);
        let (disk, history) = run(&mut rng);
        for (at, image) in disk.crash_images(VARIANTS, seed) {
            figures.first += 1;
            crash_again(&image, &mut rng, &mut figures, |found| history.check(at, found));
        }
        for at in 0..=disk.ops() {
            figures.kills += 1;
            history.check_kill(at, &contents(&open(&disk.kill_image(at))));
        }
    }
    println!(
        "log: {SCRIPTS} scripts, {} crash images, {} of a second crash, {} kills; acknowledged records lost: {}",
        figures.first, figures.second, figures.kills, figures.lost
    );
    assert_eq!(figures.lost, 0);
}
