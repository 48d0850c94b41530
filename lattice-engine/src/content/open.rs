//! Opening: which packs there are, what the index lacks of them, and what a crash or a disk has done to them. Nothing is
//! refused but a format from the future; damage is reported and whatever is intact stays readable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::adopt::{sidecar_of, survey};
use super::append::Appender;
use super::cache::Cache;
use super::codec::Codec;
use super::error::{ContentError, Result, index_err, io_at};
use super::index::ChunkIndex;
use super::manifest;
use super::packs::{self, Pack, Packs};
use super::pins::Pins;
use super::record::{self, Header, PACK_HEADER, PACK_MAGIC, check_header};
use super::scan::Scan;
use super::sidecar::Sidecar;
use super::store::{Inner, Overlay, Pending, Tuning};
use super::sync::Syncer;
use crate::disk::{Disk, DiskFile, Open};

/// Something that opening met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    /// The bytes in question.
    pub offset: u64,
    pub len: u64,
    pub kind: FindingKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// An append that was under way in a crash; cut off. Nothing acknowledged was in it.
    TornTail,
    /// Bytes between intact records, or a chunk of an adopted file, that are not what they were: an append that a crash
    /// reordered, or damage. What they held is taken as absent.
    Damaged,
    /// The pack is shorter than what was durable in it: data is lost. Restore it from a copy.
    Truncated,
    /// A pack that was durable is not there: data is lost. Restore it from a copy.
    Missing,
}

impl Finding {
    /// True if something that was durable is gone.
    pub fn is_loss(&self) -> bool {
        matches!(self.kind, FindingKind::Truncated | FindingKind::Missing)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, offset, len) = (self.path.display(), self.offset, self.len);
        match self.kind {
            FindingKind::TornTail => {
                write!(f, "{path}: cut {len} bytes of an unfinished append at offset {offset}")
            }
            FindingKind::Damaged => write!(f, "{path}: {len} bytes at offset {offset} are damaged; run fsck"),
            FindingKind::Truncated => write!(
                f,
                "{path} is truncated: {offset} bytes are left, {len} are lost; restore it from a copy, or run fsck"
            ),
            FindingKind::Missing => {
                write!(f, "{path} is missing, {len} bytes are lost; restore it from a copy, or run fsck")
            }
        }
    }
}

/// What opening did.
#[derive(Debug, Default)]
pub struct Recovery {
    pub packs: usize,
    /// Bytes read because the index had no mark over them.
    pub scanned_bytes: u64,
    /// Chunks found there.
    pub recovered_chunks: u64,
    pub findings: Vec<Finding>,
}

struct Opening<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: PathBuf,
    codec: Codec,
    marks: BTreeMap<u64, u64>,
    overlay: Overlay,
    syncer: Syncer,
    recovery: Recovery,
    packs: Vec<Arc<Pack>>,
}

pub(super) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    index: Arc<dyn ChunkIndex>,
    tuning: Tuning,
) -> Result<(Inner, Recovery)> {
    let (packs_dir, staging) = (dir.join("packs"), dir.join("staging"));
    for dir in [&packs_dir, &staging] {
        disk.create_dir_all(dir).map_err(io_at("create the directory", dir))?;
    }
    let marks = index.marks().map_err(index_err("list the packs' marks"))?.into_iter().collect();
    let mut opening = Opening {
        disk,
        dir: packs_dir.clone(),
        codec: Codec::default(),
        marks,
        overlay: Overlay::default(),
        syncer: Syncer::default(),
        recovery: Recovery::default(),
        packs: Vec::new(),
    };
    let names = opening.names()?;
    let mut appender = None;
    for (id, extension) in &names {
        match extension.as_str() {
            "pack" => appender = opening.pack(*id)?.or(appender),
            "raw" => opening.raw(*id)?,
            _ => {}
        }
    }
    opening.missing(&names);
    let last = names.iter().map(|(id, _)| *id).chain(opening.marks.keys().copied()).max();
    opening.recovery.packs = opening.packs.len();
    let inner = Inner {
        disk: disk.clone(),
        staging,
        index,
        overlay: RwLock::new(opening.overlay),
        index_lock: Mutex::default(),
        packs: Packs::new(packs_dir, opening.packs, last.map_or(1, |n| n + 1)),
        appender: Mutex::new(appender),
        syncer: opening.syncer,
        pins: Pins::default(),
        codec: opening.codec,
        cache: Cache::default(),
        damaged: Mutex::default(),
        tuning,
        reclaiming: Mutex::default(),
        gave_up: AtomicBool::new(false),
    };
    Ok((inner, opening.recovery))
}

impl Opening<'_> {
    /// Numbers and extensions of what is ours; half-written lists go.
    fn names(&self) -> Result<BTreeSet<(u64, String)>> {
        let names = self.disk.list(&self.dir).map_err(io_at("list", &self.dir))?;
        let mut out = BTreeSet::new();
        for name in &names {
            match packs::parse(name) {
                Some((id, "idx.tmp")) => self.remove(&packs::path(&self.dir, id, "idx.tmp")),
                Some((id, extension)) => {
                    out.insert((id, extension.to_owned()));
                }
                None => {}
            }
        }
        Ok(out)
    }

    /// What can't be removed does no harm and is tried again at the next open.
    fn remove(&self, path: &Path) {
        if let Err(e) = self.disk.remove(path) {
            tracing::warn!("cannot remove {}: {e}", path.display());
        }
    }

    fn find(&mut self, path: PathBuf, offset: u64, len: u64, kind: FindingKind) {
        self.recovery.findings.push(Finding { path, offset, len, kind });
    }

    /// An ordinary pack. Returns it if it can take appends.
    fn pack(&mut self, id: u64) -> Result<Option<Appender>> {
        let path = packs::path(&self.dir, id, "pack");
        let file = open_to_write(self.disk.as_ref(), &path)?;
        let len = file.len().map_err(io_at("measure", &path))?;
        let mark = self.marks.get(&id).copied();
        let header_ok = self.check_header(&path, &file, len)?;
        if let Some(expected) = mark.filter(|mark| len < *mark) {
            self.find(path, len, expected - len, FindingKind::Truncated);
            self.packs.push(Pack::new(id, false, len, len));
            return Ok(None);
        }
        let from = mark.unwrap_or(PACK_HEADER).max(PACK_HEADER);
        let pack = Pack::new(id, false, from, from);
        let mut found = 0;
        let scan = Scan { file: &file, codec: &self.codec, len };
        let overlay = &mut self.overlay;
        let scanned = scan
            .run(from.min(len), &mut |offset, record| {
                let location = record.location(id, offset);
                found += 1;
                overlay.map.insert(record.id, location);
                overlay.queue.push_back(Pending { id: record.id, location, mark: Some(record.next(offset)) });
            })
            .map_err(io_at("scan", &path))?;
        self.recovery.scanned_bytes += len - from.min(len);
        self.recovery.recovered_chunks += found;
        if !header_ok && mark.is_none() && found == 0 {
            // Made just before a crash.
            self.find(path.clone(), 0, len, FindingKind::TornTail);
            self.remove(&path);
            return Ok(None);
        }
        self.settle(&path, &file, len, &pack, scanned.end.max(PACK_HEADER));
        for (offset, len) in scanned.gaps {
            self.find(path.clone(), offset, len, FindingKind::Damaged);
        }
        if !header_ok {
            self.find(path, 0, PACK_HEADER, FindingKind::Damaged);
            return Ok(None);
        }
        Ok(Some(Appender { pack, file }))
    }

    fn check_header(&self, path: &Path, file: &Arc<dyn DiskFile>, len: u64) -> Result<bool> {
        let mut header = [0; PACK_HEADER as usize];
        if len < PACK_HEADER {
            return Ok(false);
        }
        file.read_exact_at(&mut header, 0).map_err(io_at("read", path))?;
        match check_header(&header, PACK_MAGIC) {
            Header::Valid => Ok(true),
            Header::Invalid => Ok(false),
            Header::Version(found) => {
                Err(ContentError::Version { path: path.into(), found, known: record::VERSION })
            }
        }
    }

    /// Cuts the tail that holds no record and lists the pack.
    fn settle(&mut self, path: &Path, file: &Arc<dyn DiskFile>, len: u64, pack: &Arc<Pack>, end: u64) {
        pack.set_len(end);
        if end < len {
            self.find(path.into(), end, len - end, FindingKind::TornTail);
            // On a disk that can't be written nothing is appended either.
            if let Err(e) = file.set_len(end) {
                tracing::warn!("cannot cut {}: {e}", path.display());
            }
        }
        if end > pack.synced() {
            // It survived the end of a process, not yet that of the machine.
            self.syncer.wrote(pack, file, true);
        }
        self.packs.push(pack.clone());
    }

    /// An adopted file. With a mark it was durable and is looked at when it is read; without, all of it is verified.
    fn raw(&mut self, id: u64) -> Result<()> {
        if let Some(mark) = self.marks.get(&id) {
            self.packs.push(Pack::new(id, true, *mark, *mark));
            return Ok(());
        }
        let (path, beside) = (packs::path(&self.dir, id, "raw"), packs::path(&self.dir, id, "idx"));
        let file = self.disk.open(&path, Open::Read).map_err(io_at("open", &path))?;
        let len = file.len().map_err(io_at("measure", &path))?;
        let listed = Sidecar::read(self.disk.as_ref(), &beside)?;
        let mut sidecar = match &listed {
            Some(sidecar) => sidecar.clone(),
            None => sidecar_of(&survey(&file, len)?),
        };
        let before = sidecar.chunks.len();
        if listed.is_some() {
            self.verify(&path, &file, len, &mut sidecar)?;
        }
        self.recovery.scanned_bytes += len;
        if sidecar.chunks.is_empty() {
            self.remove(&path);
            self.remove(&beside);
            return Ok(());
        }
        let pack = Pack::new(id, true, len, 0);
        if sidecar.chunks.len() < before || listed.is_none() {
            if sidecar.chunks.len() < before {
                sidecar.digest = None;
            }
            let list = sidecar.publish(self.disk.as_ref(), &beside)?;
            self.syncer.wrote(&pack, &list, true);
        }
        self.recovery.recovered_chunks += self.overlay.list_raw(&sidecar, id, |_| true);
        self.syncer.wrote(&pack, &file, true);
        self.packs.push(pack);
        Ok(())
    }

    /// Keeps the chunks whose bytes are there.
    fn verify(
        &mut self,
        path: &Path,
        file: &Arc<dyn DiskFile>,
        len: u64,
        sidecar: &mut Sidecar,
    ) -> Result<()> {
        let mut bad = Vec::new();
        let mut kept = Vec::with_capacity(sidecar.chunks.len());
        let mut buffer = Vec::new();
        for row in &sidecar.chunks {
            let (id, offset, size) = *row;
            let mut intact = offset + u64::from(size) <= len;
            if intact {
                buffer.resize(size as usize, 0);
                file.read_exact_at(&mut buffer, offset).map_err(io_at("read", path))?;
                intact = manifest::name(&buffer) == id;
            }
            if intact { kept.push(*row) } else { bad.push((offset, u64::from(size))) }
        }
        sidecar.chunks = kept;
        for (offset, size) in bad {
            self.find(path.into(), offset, size, FindingKind::Damaged);
        }
        Ok(())
    }

    fn missing(&mut self, names: &BTreeSet<(u64, String)>) {
        let here: BTreeSet<u64> =
            names.iter().filter(|(_, e)| e == "pack" || e == "raw").map(|(id, _)| *id).collect();
        let lost: Vec<_> =
            self.marks.iter().filter(|(id, _)| !here.contains(id)).map(|(id, m)| (*id, *m)).collect();
        for (id, mark) in lost {
            let adopted = names.contains(&(id, "idx".to_owned()));
            let path = packs::path(&self.dir, id, if adopted { "raw" } else { "pack" });
            self.find(path, 0, mark, FindingKind::Missing);
        }
        for (id, extension) in names {
            if extension == "idx" && !here.contains(id) && !self.marks.contains_key(id) {
                self.remove(&packs::path(&self.dir, *id, "idx"));
            }
        }
    }
}

/// For writing, so that it can be cut and flushed; for reading where that is all the disk allows.
fn open_to_write(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>> {
    match disk.open(path, Open::Write) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            disk.open(path, Open::Read)
        }
        other => other,
    }
    .map_err(io_at("open", path))
}
