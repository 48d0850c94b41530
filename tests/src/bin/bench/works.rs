//! The works of the table: what is prepared, what is timed, and what is asked of it.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use lattice_tests::crates;
use lattice_tests::fixture::Cmd;
use lattice_tests::random::Random;
use lattice_tests::trees;

use crate::places::Place;

const BLOCK: usize = 1 << 20;
const SMALL: usize = 4096;

/// Is more better?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    OpsPerSecond,
    MegabytesPerSecond,
    Seconds,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::OpsPerSecond => "ops/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Seconds => "s",
        }
    }
}

/// What is asked: at least this share of the speed of `of`, or at most this many times its time.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    pub of: Place,
    pub bound: f64,
}

type Run = fn(&Inputs, &Path) -> Result<f64>;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub name: &'static str,
    pub unit: Unit,
    pub goals: &'static [Goal],
    /// At most this many rounds.
    pub rounds: usize,
    /// Which mount is compared with the other places.
    pub subject: Place,
    run: Run,
}

impl Work {
    pub fn measure(&self, inputs: &Inputs, dir: &Path) -> Result<f64> {
        (self.run)(inputs, dir)
    }

    /// A place that is never compared with isn't measured for long work.
    pub fn runs_on(&self, place: Place) -> bool {
        match place {
            Place::Ext4 => true,
            Place::Floor => self.name != "cargo build",
            Place::Lattice | Place::Plain => place == self.subject,
        }
    }

    pub fn goals_text(&self) -> String {
        let sign = if self.unit == Unit::Seconds { "<=" } else { ">=" };
        let goals = self.goals.iter().map(|g| format!("{sign} {} {}", g.bound, g.of.name()));
        goals.collect::<Vec<_>>().join(" or ")
    }
}

const FLOOR_15: &[Goal] = &[Goal { of: Place::Floor, bound: 1.5 }];

/// Every work, in the order of the table. Quick ones have no goals.
pub fn all(quick: bool) -> Vec<Work> {
    use Unit::{MegabytesPerSecond, OpsPerSecond, Seconds};
    let work = |name, unit, goals, run: Run| {
        let (rounds, subject) = (usize::MAX, Place::Lattice);
        Work { name, unit, goals, rounds, subject, run }
    };
    let mut works = vec![
        work("create, write 4 KiB, close", OpsPerSecond, &[Goal { of: Place::Floor, bound: 0.6 }], create),
        work("stat, cached", OpsPerSecond, &[Goal { of: Place::Floor, bound: 0.9 }], stat),
        work("open, read 4 KiB, close", OpsPerSecond, &[Goal { of: Place::Floor, bound: 0.9 }], open_read),
        work("write 1 GiB", MegabytesPerSecond, &[Goal { of: Place::Ext4, bound: 0.5 }], write_large),
        work("read 1 GiB, cached", MegabytesPerSecond, &[Goal { of: Place::Ext4, bound: 0.9 }], read_large),
        work("read 1 GiB, just written", MegabytesPerSecond, &[], read_just_written),
        // As where the kernel or the privilege allow no passthrough.
        Work {
            subject: Place::Plain,
            ..work(
                "write 1 GiB, no passthrough",
                MegabytesPerSecond,
                &[Goal { of: Place::Ext4, bound: 0.5 }],
                write_large,
            )
        },
        Work {
            subject: Place::Plain,
            ..work(
                "read 1 GiB, no passthrough",
                MegabytesPerSecond,
                &[Goal { of: Place::Floor, bound: 0.9 }],
                read_large,
            )
        },
        work("tar x", Seconds, FLOOR_15, tar_x),
        work("cp -r", Seconds, FLOOR_15, cp_r),
        work("git clone", Seconds, FLOOR_15, git_clone),
        work("git status", Seconds, FLOOR_15, git_status),
        work("grep -r", Seconds, FLOOR_15, grep_r),
        work("rm -rf", Seconds, FLOOR_15, rm_rf),
        Work {
            rounds: 3,
            ..work("cargo build", Seconds, &[Goal { of: Place::Ext4, bound: 1.5 }], cargo_build)
        },
    ];
    if quick {
        for work in &mut works {
            work.goals = &[];
        }
    }
    works
}

/// What the works of one round are made from. Each round has bytes of its own, so that storing
/// the same content once doesn't make the later rounds cheaper.
#[derive(Debug)]
pub struct Inputs {
    seed: u64,
    small_files: usize,
    /// Incompressible.
    large: Vec<u8>,
    tree: PathBuf,
    tar: PathBuf,
    repository: PathBuf,
    sample: PathBuf,
}

impl Inputs {
    pub fn make(scratch: &Path, round: u64, quick: bool, works: &[Work]) -> Result<Self> {
        let dir = scratch.join(format!("inputs-{round}"));
        let wants = |unit| works.iter().any(|work| work.unit == unit);
        fs::create_dir(&dir)?;
        let inputs = Self {
            seed: round,
            small_files: if quick { 200 } else { 4_000 },
            large: match wants(Unit::MegabytesPerSecond) {
                true => Random::new(round ^ 0x1a76e).bytes(if quick { 32 } else { 1024 } * BLOCK),
                false => Vec::new(),
            },
            tree: dir.join("tree"),
            tar: dir.join("tree.tar"),
            repository: dir.join("repository"),
            sample: dir.join("sample"),
        };
        if wants(Unit::Seconds) {
            let files = if quick { 200 } else { 3_000 };
            trees::make(&inputs.tree, files, round + 100)?;
            Cmd::bash(&dir, "tar cf tree.tar tree && cp -r tree repository").ok()?;
            let commit = "git init -q -b main . && git add -A && \
                git -c user.name=b -c user.email=b@example.invalid commit -qm tree && git gc -q";
            Cmd::bash(&inputs.repository, commit).ok()?;
        }
        if works.iter().any(|work| work.name == "cargo build") {
            let light = if quick { crates::LIGHT } else { crates::USUAL };
            crates::make(&inputs.sample, light)?;
        }
        Ok(inputs)
    }
}

fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

fn small_files(inputs: &Inputs, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for n in 0..inputs.small_files {
        let at = dir.join(format!("d{}", n / 500));
        if n % 500 == 0 {
            fs::create_dir(&at)?;
        }
        paths.push(at.join(format!("file-{n}")));
    }
    Ok(paths)
}

fn create(inputs: &Inputs, dir: &Path) -> Result<f64> {
    let paths = small_files(inputs, dir)?;
    let bytes = Random::new(inputs.seed).bytes(SMALL + paths.len());
    let started = Instant::now();
    for (n, path) in paths.iter().enumerate() {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(&bytes[n..n + SMALL])?;
    }
    Ok(rate(paths.len(), started))
}

fn written(inputs: &Inputs, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = small_files(inputs, dir)?;
    paths.truncate(1_000);
    for path in &paths {
        fs::write(path, Random::new(inputs.seed).bytes(SMALL))?;
        fs::read(path)?;
    }
    Ok(paths)
}

fn stat(inputs: &Inputs, dir: &Path) -> Result<f64> {
    let paths = written(inputs, dir)?;
    for path in &paths {
        fs::metadata(path)?;
    }
    const PASSES: usize = 50;
    let started = Instant::now();
    for _ in 0..PASSES {
        for path in &paths {
            black_box(rustix::fs::stat(path)?);
        }
    }
    Ok(rate(PASSES * paths.len(), started))
}

fn open_read(inputs: &Inputs, dir: &Path) -> Result<f64> {
    let paths = written(inputs, dir)?;
    let mut buf = vec![0; SMALL];
    const PASSES: usize = 10;
    let started = Instant::now();
    for _ in 0..PASSES {
        for path in &paths {
            File::open(path)?.read_exact(&mut buf)?;
        }
    }
    Ok(rate(PASSES * paths.len(), started))
}

fn write_large(inputs: &Inputs, dir: &Path) -> Result<f64> {
    let started = Instant::now();
    let mut file = File::create(dir.join("large"))?;
    for block in inputs.large.chunks(BLOCK) {
        file.write_all(block)?;
    }
    drop(file);
    Ok(rate(inputs.large.len(), started) / 1e6)
}

/// Once what was written is stored for good, wherever that is: until then the disk, or who cuts and names the file, works beside
/// the reader.
fn read_large(inputs: &Inputs, dir: &Path) -> Result<f64> {
    write_large(inputs, dir)?;
    File::open(dir.join("large"))?.sync_all()?;
    read_passes(inputs, dir, 8)
}

fn read_just_written(inputs: &Inputs, dir: &Path) -> Result<f64> {
    write_large(inputs, dir)?;
    read_passes(inputs, dir, 3)
}

/// After one that doesn't count.
fn read_passes(inputs: &Inputs, dir: &Path, passes: usize) -> Result<f64> {
    let path = dir.join("large");
    let mut buf = vec![0; BLOCK];
    let mut pass = || -> Result<()> {
        let mut file = File::open(&path)?;
        for _ in 0..inputs.large.len() / BLOCK {
            file.read_exact(&mut buf)?;
        }
        Ok(())
    };
    pass()?;
    let started = Instant::now();
    for _ in 0..passes {
        pass()?;
    }
    Ok(rate(passes * inputs.large.len(), started) / 1e6)
}

fn timed(dir: &Path, script: &str) -> Result<f64> {
    let done = Cmd::bash(dir, script).deadline(600).succeed()?;
    Ok(done.took.as_secs_f64())
}

fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path in UTF-8")?;
    Ok(format!("'{text}'"))
}

fn copy_of_tree(inputs: &Inputs, dir: &Path) -> Result<()> {
    timed(dir, &format!("cp -r {} tree", quoted(&inputs.tree)?)).map(drop)
}

fn tar_x(inputs: &Inputs, dir: &Path) -> Result<f64> {
    timed(dir, &format!("tar xf {}", quoted(&inputs.tar)?))
}

fn cp_r(inputs: &Inputs, dir: &Path) -> Result<f64> {
    copy_of_tree(inputs, dir)?;
    timed(dir, "cp -r tree copy")
}

fn git_clone(inputs: &Inputs, dir: &Path) -> Result<f64> {
    timed(dir, &format!("git clone -q --no-hardlinks {} clone", quoted(&inputs.repository)?))
}

fn git_status(inputs: &Inputs, dir: &Path) -> Result<f64> {
    git_clone(inputs, dir)?;
    let clone = dir.join("clone");
    timed(&clone, "git status --porcelain >/dev/null")?;
    let mut best = f64::MAX;
    for _ in 0..3 {
        best = best.min(timed(&clone, "git status --porcelain >/dev/null")?);
    }
    Ok(best)
}

fn grep_r(inputs: &Inputs, dir: &Path) -> Result<f64> {
    copy_of_tree(inputs, dir)?;
    let script = "grep -r 'there is no such text' . || true";
    timed(dir, script)?;
    let mut best = f64::MAX;
    for _ in 0..3 {
        best = best.min(timed(dir, script)?);
    }
    Ok(best)
}

fn rm_rf(inputs: &Inputs, dir: &Path) -> Result<f64> {
    copy_of_tree(inputs, dir)?;
    timed(dir, "rm -rf tree")
}

fn cargo_build(inputs: &Inputs, dir: &Path) -> Result<f64> {
    timed(dir, &format!("cp -r {} sample", quoted(&inputs.sample)?))?;
    let done = crates::build(&dir.join("sample")).succeed()?;
    Ok(done.took.as_secs_f64())
}
