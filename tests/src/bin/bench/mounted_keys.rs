//! A store with very many keys beside a small one, through the mount: new files, look-ups that the
//! kernel has to ask for, and reads of small files, at random over all keys. Both are mounted at
//! the same time and measured in turn.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Kind, MountOptions, Mounted as Mount};

use crate::keys::{DIRECTORY, VALUE, directory, each, into_memory, path, peak_rss_of};

/// Each kind of operation in each round, no key twice: the kernel would remember it.
const OPERATIONS: u64 = 1_000;
const ROUNDS: u64 = 5;
/// A prime that divides no number of keys: its multiples visit all of them, far from each other.
const STRIDE: u64 = 611_953;

/// Microseconds each, medians of the rounds.
#[derive(Debug, Clone, Copy)]
pub struct Mounted {
    /// Create, write 300 bytes, close.
    pub create: f64,
    /// `stat` of a name that the kernel doesn't know yet, in a directory that it knows.
    pub stat: f64,
    /// Open, read, close; likewise.
    pub read: f64,
    /// The most memory that the daemon ever had resident, in MB.
    pub rss: f64,
}

struct Store {
    mount: Mount,
    keys: u64,
    create: Vec<f64>,
    stat: Vec<f64>,
    read: Vec<f64>,
    rss: f64,
}

/// Mounts the filled stores and measures them in turn.
pub fn measure([few, many]: [(&Path, u64); 2]) -> Result<[Mounted; 2]> {
    let mut stores = [Store::mount(few)?, Store::mount(many)?];
    for round in 0..ROUNDS {
        stores.iter_mut().try_for_each(|store| store.round(round))?;
    }
    let [small, large] = stores;
    Ok([small.finish()?, large.finish()?])
}

impl Store {
    fn mount((home, keys): (&Path, u64)) -> Result<Self> {
        into_memory(home)?;
        let options = MountOptions { home: Some(home.into()), ..MountOptions::default() };
        let mount = Mount::with(Kind::Lattice, options)?;
        let (create, stat, read) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { mount, keys, create, stat, read, rss: 0.0 })
    }

    fn round(&mut self, round: u64) -> Result<()> {
        let keys = self.keys;
        let picked = |i: u64| (round * 12_345 + i) % keys * STRIDE % keys;
        let mut i = 0..;
        self.forget()?;
        let stat = each(OPERATIONS, || {
            let at = self.mount.join(&path(picked(i.next().context("endless")?)));
            ensure!(fs::metadata(&at)?.len() == VALUE as u64, "{} has another size", at.display());
            Ok(())
        })?;
        self.forget()?;
        let read = each(OPERATIONS, || {
            let mut bytes = Vec::with_capacity(VALUE);
            let at = self.mount.join(&path(picked(i.next().context("endless")?)));
            File::open(&at)?.read_to_end(&mut bytes)?;
            ensure!(bytes.len() == VALUE, "{} has another size", at.display());
            Ok(())
        })?;
        let create = each(OPERATIONS, || {
            let n = i.next().context("endless")?;
            let name = format!("{}/new-{round}-{n}", directory(picked(n) / DIRECTORY));
            let mut file = File::create_new(self.mount.join(&name))?;
            file.write_all(&[b'x'; VALUE])?;
            Ok(())
        })?;
        self.stat.push(stat);
        self.read.push(read);
        self.create.push(create);
        Ok(())
    }

    /// A new mount: the kernel knows nothing but the directories.
    fn forget(&mut self) -> Result<()> {
        self.note_memory()?;
        self.mount.remount()?;
        for n in 0..self.keys.div_ceil(DIRECTORY) {
            fs::metadata(self.mount.join(&directory(n)))?;
        }
        Ok(())
    }

    fn note_memory(&mut self) -> Result<()> {
        let pid = self.mount.pid().context("the daemon runs")?;
        self.rss = self.rss.max(peak_rss_of(&pid.to_string())?);
        Ok(())
    }

    fn finish(mut self) -> Result<Mounted> {
        self.note_memory()?;
        self.mount.stop()?;
        let median = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (create, stat, read) = (median(self.create), median(self.stat), median(self.read));
        Ok(Mounted { create, stat, read, rss: self.rss })
    }
}
