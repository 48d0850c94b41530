//! Which packs there are, their open files, and the one that takes appends. Handles are opened when needed and at most
//! [`MAX_OPEN`] are kept: a store may have very many adopted files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::error::{Result, io_at};
use crate::disk::{Disk, DiskFile, Open};

const MAX_OPEN: usize = 256;

/// A file of chunks.
#[derive(Debug)]
pub(super) struct Pack {
    pub id: u64,
    /// An adopted file.
    pub raw: bool,
    len: AtomicU64,
    synced: AtomicU64,
    /// Descriptors handed out for passthrough: such a file is not punched.
    lent: AtomicU64,
}

impl Pack {
    pub fn new(id: u64, raw: bool, len: u64, synced: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            raw,
            len: AtomicU64::new(len),
            synced: AtomicU64::new(synced),
            lent: AtomicU64::new(0),
        })
    }

    /// Bytes that hold records.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub fn set_len(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Bytes known to be on disk.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub fn set_synced(&self, len: u64) {
        self.synced.fetch_max(len, Ordering::AcqRel);
    }

    pub fn lend(&self) {
        self.lent.fetch_add(1, Ordering::AcqRel);
    }

    pub fn give_back(&self) {
        self.lent.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Acquire) > 0
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        path(dir, self.id, if self.raw { "raw" } else { "pack" })
    }
}

/// `<dir>/<16 hex digits>.<extension>`
pub(super) fn path(dir: &Path, id: u64, extension: &str) -> PathBuf {
    dir.join(format!("{id:016x}.{extension}"))
}

/// The number and extension of a file of ours.
pub(super) fn parse(name: &Path) -> Option<(u64, &str)> {
    let (stem, extension) = name.file_name()?.to_str()?.split_once('.')?;
    let digits = stem.len() == 16 && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    Some((u64::from_str_radix(digits.then_some(stem)?, 16).ok()?, extension))
}

#[derive(Debug)]
pub(super) struct Packs {
    pub dir: PathBuf,
    table: RwLock<BTreeMap<u64, Arc<Pack>>>,
    files: Mutex<Files>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Files {
    open: HashMap<u64, (Arc<dyn DiskFile>, u64)>,
    clock: u64,
}

impl Packs {
    pub fn new(dir: PathBuf, packs: Vec<Arc<Pack>>, next: u64) -> Self {
        let table = packs.into_iter().map(|p| (p.id, p)).collect();
        Self { dir, table: RwLock::new(table), files: Mutex::default(), next: AtomicU64::new(next) }
    }

    /// A number that no pack has had.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn get(&self, id: u64) -> Option<Arc<Pack>> {
        self.table.read().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Pack>> {
        self.table.read().values().cloned().collect()
    }

    pub fn insert(&self, pack: Arc<Pack>) {
        self.table.write().insert(pack.id, pack);
    }

    pub fn forget(&self, id: u64) {
        self.table.write().remove(&id);
        self.files.lock().open.remove(&id);
    }

    /// An open handle for reading. It outlives the file's removal.
    pub fn file(&self, disk: &dyn Disk, pack: &Pack) -> Result<Arc<dyn DiskFile>> {
        {
            let files = &mut *self.files.lock();
            files.clock += 1;
            if let Some((file, used)) = files.open.get_mut(&pack.id) {
                *used = files.clock;
                return Ok(file.clone());
            }
        }
        let path = pack.path(&self.dir);
        let file = disk.open(&path, Open::Read).map_err(io_at("open", &path))?;
        if pack.raw {
            // Not looked at when the store was opened: there may be very many of them.
            let len = file.len().map_err(io_at("measure", &path))?;
            pack.set_len(pack.len().min(len));
        }
        let files = &mut *self.files.lock();
        if files.open.len() >= MAX_OPEN {
            let oldest = files.open.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            oldest.map(|id| files.open.remove(&id));
        }
        files.open.insert(pack.id, (file.clone(), files.clock));
        Ok(file)
    }
}
