//! Taking a staged file as it is: its bytes stay where they are and its name becomes a pack's. The file is cut by as many
//! threads as there are cores: each starts at an offset of its own, and where the cuts of one meet those of the next,
//! the rest is the same.

use std::borrow::Cow;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ContentStore;
use super::chunker::{BLOCK, Scanner, Zeros};
use super::error::{ContentError, Result, io_at};
use super::gc::Rows;
use super::layout::{Layout, Runs};
use super::manifest;
use super::packs::{self, Pack};
use super::sidecar::Sidecar;
use super::store::Inner;
use super::sync::MAX_DIRTY;
use super::writer::Batch;
use crate::disk::{DiskFile, Open};
use crate::entry::{Chunk, Content};
use crate::id::ChunkId;

/// A thread is worth starting for so many bytes.
const PER_THREAD: u64 = 16 << 20;
const MAX_THREADS: u64 = 4;
/// Chunks of a content that are looked up to find the adopted file that holds it.
const PROBES: usize = 16;

/// A file that the kernel may read directly: byte n of the content is byte n of the file. While this lives, the file
/// isn't punched; it may be unlinked, which the descriptor survives.
#[derive(Debug)]
pub struct Contiguous {
    fd: OwnedFd,
    pack: Arc<Pack>,
}

impl Contiguous {
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// False once it was collected or given up.
    pub(super) fn is_stored(&self, inner: &Inner) -> bool {
        inner.packs.get(self.pack.id).is_some()
    }

    pub(super) fn give_up(&self, inner: &Inner) -> Result<()> {
        let _one = inner.reclaiming.lock();
        if !self.is_stored(inner) {
            return Ok(());
        }
        // Before any byte can change: a reader that has looked a chunk up looks again after reading it.
        inner.gave_up.store(true, Ordering::Release);
        let mut rows = Rows::new();
        {
            let _moving = inner.index_lock.lock();
            inner.each_row(&mut |id, location| {
                if location.pack == self.pack.id {
                    rows.insert(location.offset, (id, location));
                }
            })?;
        }
        inner.rewrite(&self.pack, &rows)
    }
}

impl Drop for Contiguous {
    fn drop(&mut self) {
        self.pack.give_back();
    }
}

impl ContentStore {
    /// Stores a file of `staging/` that holds `size` bytes and that nobody writes any more. It becomes a pack, or, where
    /// at least half of it was stored already or it is small, its new chunks are copied. Its name in `staging/` stays
    /// for the caller to remove, once what it is adopted for is logged: a kill before that must find it again.
    pub fn adopt(&self, file: &Path, size: u64) -> Result<Content> {
        self.inner.syncer.check()?;
        let handle = self.inner.disk.open(file, Open::Read).map_err(io_at("open", file))?;
        let found = handle.len().map_err(io_at("measure", file))?;
        if found != size {
            return Err(ContentError::WrongSize { path: file.into(), found, expected: size });
        }
        let _pin = self.pin();
        let content = if size < self.inner.tuning.min_adopt {
            self.copy(&handle, size)?
        } else {
            let runs = survey(&handle, size)?;
            let new = self.inner.unknown(runs.iter())?;
            let data: u64 = runs.iter().filter(|c| c.id.is_some()).map(|c| c.len).sum();
            if data == 0 || new.bytes < data.div_ceil(2) {
                self.copy_new(&handle, runs, &new.ids)?
            } else {
                self.take(file, &handle, runs, &new.ids)?
            }
        };
        Ok(content)
    }

    fn copy(&self, file: &Arc<dyn DiskFile>, size: u64) -> Result<Content> {
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|source| ContentError::Source { offset: 0, source })?;
        self.put(&bytes)
    }

    fn copy_new(
        &self,
        file: &Arc<dyn DiskFile>,
        chunks: Vec<Chunk>,
        new: &HashSet<ChunkId>,
    ) -> Result<Content> {
        let (mut batch, mut runs, mut offset) = (Batch::default(), Runs::default(), 0);
        for chunk in chunks {
            if let Some(id) = chunk.id.filter(|id| new.contains(id)) {
                let mut bytes = vec![0; chunk.len as usize];
                file.read_exact_at(&mut bytes, offset)
                    .map_err(|source| ContentError::Source { offset, source })?;
                if manifest::name(&bytes) != id {
                    let source = std::io::Error::other("the file changed while it was being stored");
                    return Err(ContentError::Source { offset, source });
                }
                batch.add_named(&self.inner, id, Cow::Owned(bytes))?;
            }
            offset += chunk.len;
            runs.push(chunk)?;
        }
        batch.finish(&self.inner, runs)
    }

    /// Publishes the list of chunks, then the file.
    fn take(
        &self,
        path: &Path,
        file: &Arc<dyn DiskFile>,
        chunks: Vec<Chunk>,
        new: &HashSet<ChunkId>,
    ) -> Result<Content> {
        let inner = &self.inner;
        if inner.syncer.dirty() >= MAX_DIRTY {
            inner.sync()?;
        }
        let sidecar = sidecar_of(&chunks);
        let id = inner.packs.number();
        let beside = packs::path(&inner.packs.dir, id, "idx");
        let list = sidecar.publish(inner.disk.as_ref(), &beside)?;
        let pack = Pack::new(id, true, sidecar.size, 0);
        let to = pack.path(&inner.packs.dir);
        inner.disk.link(path, &to).map_err(|e| {
            let _ = inner.disk.remove(&beside);
            io_at("link into the packs", path)(e)
        })?;
        inner.syncer.wrote(&pack, &list, true);
        inner.syncer.wrote(&pack, file, true);
        inner.damaged.lock().retain(|id| !new.contains(id));
        inner.cache.set_verified(sidecar.locations(id).map(|(_, location)| location));
        {
            // Together: a collection must not see a pack without rows.
            let mut overlay = inner.overlay.write();
            inner.packs.insert(pack);
            overlay.list_raw(&sidecar, id, |id| new.contains(id));
        }
        let mut runs = Runs::default();
        chunks.into_iter().try_for_each(|chunk| runs.push(chunk))?;
        Batch::default().finish(inner, runs)
    }

    /// The adopted file whose bytes are exactly this content, if there is one, for the kernel to read by itself.
    pub fn contiguous(&self, content: &Content) -> Result<Option<Contiguous>> {
        if content.size() < self.inner.tuning.min_adopt {
            return Ok(None);
        }
        self.inner.contiguous(&*self.inner.resolve(content)?, manifest::digest(content))
    }
}

impl Inner {
    pub fn contiguous(&self, layout: &Layout, digest: ChunkId) -> Result<Option<Contiguous>> {
        let data: Vec<_> = layout.chunks().iter().filter_map(|c| c.id).collect();
        let mut tried = HashSet::new();
        // Some of its chunks may be stored elsewhere: ask several.
        for id in data.iter().step_by(data.len().div_ceil(PROBES).max(1)) {
            let Some(pack) = self.locate(id)?.and_then(|l| self.packs.get(l.pack)) else {
                continue;
            };
            if !pack.raw || !tried.insert(pack.id) {
                continue;
            }
            if let Some(found) = self.lend(pack, layout.size(), digest)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// What of a list isn't stored yet: each chunk once.
pub(super) struct Unknown {
    pub ids: HashSet<ChunkId>,
    pub bytes: u64,
}

impl Inner {
    fn unknown<'a>(&self, chunks: impl Iterator<Item = &'a Chunk>) -> Result<Unknown> {
        let mut out = Unknown { ids: HashSet::new(), bytes: 0 };
        for chunk in chunks {
            let Some(id) = chunk.id.filter(|id| !out.ids.contains(id)) else {
                continue;
            };
            self.pins.touch(id);
            if !self.holds(&id)? {
                out.ids.insert(id);
                out.bytes += chunk.len;
            }
        }
        Ok(out)
    }

    fn lend(&self, pack: Arc<Pack>, size: u64, digest: ChunkId) -> Result<Option<Contiguous>> {
        // Before looking: a collection that punches asks after it has marked the list, so one of us sees the other.
        pack.lend();
        let found = Contiguous::open(self, pack.clone(), size, digest);
        if !matches!(found, Ok(Some(_))) {
            pack.give_back();
        }
        found
    }
}

impl Contiguous {
    fn open(inner: &Inner, pack: Arc<Pack>, size: u64, digest: ChunkId) -> Result<Option<Self>> {
        let beside = packs::path(&inner.packs.dir, pack.id, "idx");
        let Some(sidecar) = Sidecar::read_fixed(inner.disk.as_ref(), &beside)? else {
            return Ok(None);
        };
        if sidecar.size != size || sidecar.digest != Some(digest) {
            return Ok(None);
        }
        let path = pack.path(&inner.packs.dir);
        let file = inner.packs.file(inner.disk.as_ref(), &pack)?;
        if file.len().map_err(io_at("measure", &path))? != size {
            return Ok(None);
        }
        let Some(fd) = file.fd() else { return Ok(None) };
        let fd = fd.try_clone_to_owned().map_err(io_at("duplicate the handle of", &path))?;
        Ok(Some(Self { fd, pack }))
    }
}

/// The list of chunks of an adopted file.
pub(super) fn sidecar_of(chunks: &[Chunk]) -> Sidecar {
    let layout = Layout::new(chunks.to_vec());
    let rows = (0..layout.len())
        .filter_map(|i| Some((chunks[i].id?, layout.range(i).start, chunks[i].len as u32)))
        .collect();
    let digest = Some(manifest::name_of_list(chunks));
    Sidecar { size: layout.size(), digest, chunks: rows }
}

/// Cuts and names a whole file.
pub(super) fn survey(file: &Arc<dyn DiskFile>, size: u64) -> Result<Vec<Chunk>> {
    let zeros = known_zeros(file, size);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let threads = (size / PER_THREAD).clamp(1, cores.min(MAX_THREADS));
    let starts: Vec<u64> = (0..threads).map(|i| size / threads * i / BLOCK as u64 * BLOCK as u64).collect();
    let parts = std::thread::scope(|scope| {
        let zeros = &zeros;
        let handles: Vec<_> = starts
            .iter()
            .enumerate()
            .map(|(i, start)| {
                let end = starts.get(i + 1).copied().unwrap_or(size);
                scope.spawn(move || cut_part(file, zeros, size, *start, end))
            })
            .collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut runs = Runs::default();
    let mut pos = 0;
    for (start, part) in starts.iter().zip(parts) {
        pos = stitch(file, &zeros, size, &mut runs, pos, *start, part)?;
    }
    Ok(runs.into_vec())
}

/// The runs from the cut at `start` on until one ends at or after `end`.
fn cut_part(file: &Arc<dyn DiskFile>, zeros: &Zeros, size: u64, start: u64, end: u64) -> Result<Vec<Chunk>> {
    let mut scanner = Scanner::new(file, zeros, size, start, true);
    let mut out = Vec::new();
    while scanner.pos() < end {
        let Some(piece) = scanner.next()? else { break };
        out.push(Chunk { id: piece.bytes.map(manifest::name), len: piece.len });
    }
    Ok(out)
}

/// Adds a part that was cut from `start` on to runs that end at `pos`: from the first cut that both have.
fn stitch(
    file: &Arc<dyn DiskFile>,
    zeros: &Zeros,
    size: u64,
    runs: &mut Runs,
    mut pos: u64,
    start: u64,
    part: Vec<Chunk>,
) -> Result<u64> {
    let mut scanner = None;
    let mut at = start;
    for chunk in part {
        while pos < at {
            let scanner = scanner.get_or_insert_with(|| Scanner::new(file, zeros, size, pos, false));
            let Some(piece) = scanner.next()? else { break };
            runs.push(Chunk { id: piece.bytes.map(manifest::name), len: piece.len })?;
            pos += piece.len;
        }
        if pos == at {
            runs.push(chunk)?;
            pos += chunk.len;
            scanner = None;
        }
        at += chunk.len;
    }
    // They never met: the rest is cut here, up to where the part ended.
    while pos < at {
        let scanner = scanner.get_or_insert_with(|| Scanner::new(file, zeros, size, pos, false));
        let Some(piece) = scanner.next()? else { break };
        runs.push(Chunk { id: piece.bytes.map(manifest::name), len: piece.len })?;
        pos += piece.len;
    }
    Ok(pos)
}

/// The holes of a sparse file, where the file system tells.
fn known_zeros(file: &Arc<dyn DiskFile>, size: u64) -> Zeros {
    use rustix::fs::{SeekFrom, seek};
    let mut zeros = Vec::new();
    let Some(fd) = file.fd() else {
        return Zeros::default();
    };
    let mut pos = 0;
    while pos < size {
        let data = match seek(fd, SeekFrom::Data(pos)) {
            Ok(data) => data.min(size),
            Err(rustix::io::Errno::NXIO) => size,
            Err(_) => break,
        };
        if data > pos {
            zeros.push(pos..data);
        }
        match seek(fd, SeekFrom::Hole(data)) {
            Ok(hole) if hole > data => pos = hole,
            _ => break,
        }
    }
    Zeros(zeros)
}
