//! Bytes out of packs. A chunk is verified against its name when it is first read; after that a plain one is read
//! straight into the caller's buffer.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::ContentStore;
use super::adopt::Contiguous;
use super::chunker::ReadAt;
use super::error::{ContentError, Result};
use super::index::{FLAG_ZSTD, Location};
use super::layout::Layout;
use super::manifest;
use super::store::Inner;
use crate::entry::{Chunk, Content};
use crate::id::ChunkId;

/// Runs that are looked for before anything is read: some 4 GiB in a tenth of a second.
const MAX_CHECKED: usize = 1 << 16;
/// How often a look-up is repeated when a collection moved the chunk meanwhile.
const RETRIES: usize = 4;

impl Inner {
    /// A chunk's plain bytes, verified.
    pub fn load(&self, id: &ChunkId) -> Result<Bytes> {
        if let Some(bytes) = self.cache.chunk(id) {
            return Ok(bytes);
        }
        let bytes = self.at_location(id, |location| self.load_from(id, location))?;
        self.cache.keep_chunk(*id, bytes.clone());
        Ok(bytes)
    }

    /// Runs `read` on the chunk's place; again if a collection moved it under our feet.
    fn at_location<T>(&self, id: &ChunkId, mut read: impl FnMut(&Location) -> Result<T>) -> Result<T> {
        let mut tried = None;
        for _ in 0..RETRIES {
            let location = self.locate(id)?.ok_or(ContentError::Missing { chunk: *id })?;
            let e = match read(&location) {
                Ok(out) => return Ok(out),
                Err(e) => e,
            };
            // The same place twice: it is not a move.
            if tried.replace(location) == Some(location) {
                if matches!(e, ContentError::Corrupt { .. } | ContentError::Truncated { .. }) {
                    self.damaged.lock().insert(*id);
                }
                return Err(e);
            }
        }
        Err(ContentError::Missing { chunk: *id })
    }

    /// Whether a chunk is here and reads as what its name says: bytes are left away only because of others that are good.
    pub fn holds(&self, id: &ChunkId) -> Result<bool> {
        let reads = |location: &Location| match self.cache.is_verified(location) {
            true => Ok(()),
            false => self.load_from(id, location).map(drop),
        };
        // What can't be read for now is stored again, which does no harm.
        Ok(self.has(id)? && self.at_location(id, reads).is_ok())
    }

    /// A chunk's plain bytes, verified now.
    pub fn load_from(&self, id: &ChunkId, location: &Location) -> Result<Bytes> {
        let mut plain = Vec::new();
        self.load_into(id, location, &mut plain)?;
        Ok(plain.into())
    }

    /// The same at the start of `out`, which grows where it must; how many they are.
    fn load_into(&self, id: &ChunkId, location: &Location, out: &mut Vec<u8>) -> Result<usize> {
        let len = self.plain(id, location, out)?;
        if manifest::name(&out[..len]) != *id {
            self.cache.unset_verified(location);
            return Err(self.corrupt(id, location, "its bytes do not match its name"));
        }
        self.cache.set_verified([*location]);
        Ok(len)
    }

    fn plain(&self, id: &ChunkId, location: &Location, out: &mut Vec<u8>) -> Result<usize> {
        let pack = self.packs.get(location.pack).ok_or(ContentError::Missing { chunk: *id })?;
        let plain = at_least(out, location.len as usize);
        if location.flags & FLAG_ZSTD == 0 {
            self.read_pack(&pack, plain, location.offset)?;
            return Ok(plain.len());
        }
        let mut stored = vec![0; location.stored_len as usize];
        self.read_pack(&pack, &mut stored, location.offset)?;
        let done = self.codec.decompress(&stored, plain);
        done.map_err(|_| self.corrupt(id, location, "it does not decompress"))?;
        Ok(plain.len())
    }

    pub fn corrupt(&self, id: &ChunkId, location: &Location, what: &'static str) -> ContentError {
        let pack = self.packs.get(location.pack).map(|p| p.path(&self.packs.dir)).unwrap_or_default();
        ContentError::Corrupt { chunk: *id, pack, offset: location.offset, what }
    }

    /// Fills `out` with the chunk's bytes from `skip` on.
    fn read_chunk(&self, id: &ChunkId, len: u64, skip: usize, out: &mut [u8]) -> Result<()> {
        if let Some(bytes) = self.cache.chunk(id) {
            let part = bytes.get(skip..skip + out.len()).ok_or(ContentError::BadManifest {
                chunk: *id,
                what: "it gives this chunk a length that it doesn't have",
            })?;
            out.copy_from_slice(part);
            return Ok(());
        }
        let location = self.locate(id)?.ok_or(ContentError::Missing { chunk: *id })?;
        if u64::from(location.len) != len {
            return Err(self.corrupt(id, &location, "its length is not the one that the file gives it"));
        }
        if location.flags & FLAG_ZSTD == 0 && self.read_plain(id, &location, skip, out) {
            return Ok(());
        }
        out.copy_from_slice(&self.load(id)?[skip..skip + out.len()]);
        Ok(())
    }

    /// Straight into `out`, if the chunk is verified or can be because `out` takes the whole of it. On any trouble
    /// false: the ordinary way finds out what it is.
    fn read_plain(&self, id: &ChunkId, location: &Location, skip: usize, out: &mut [u8]) -> bool {
        let verified = self.cache.is_verified(location);
        let whole = out.len() == location.len as usize;
        let Some(pack) = self.packs.get(location.pack).filter(|_| verified || whole) else {
            return false;
        };
        if self.read_pack(&pack, out, location.offset + skip as u64).is_err() {
            return false;
        }
        if !verified {
            if manifest::name(out) != *id {
                return false;
            }
            self.cache.set_verified([*location]);
            return true;
        }
        // A collection may have punched it between the look-up and the read, or the file was given up; then the row has
        // changed.
        let stays = !self.pins.collecting() && !self.gave_up.load(Ordering::Acquire);
        stays || self.locate(id).is_ok_and(|now| now == Some(*location))
    }

    /// The list that the topmost manifest of a file stands for.
    pub fn layout(&self, id: &ChunkId, size: u64) -> Result<Arc<Layout>> {
        if let Some(layout) = self.cache.layout(id).filter(|layout| layout.size() == size) {
            return Ok(layout);
        }
        let whole = manifest::load(*id, size, &mut |id| self.load(id).map(Some))?;
        let layout = Arc::new(whole.ok_or(ContentError::Missing { chunk: *id })?);
        self.cache.keep_layout(*id, layout.clone());
        Ok(layout)
    }

    /// The runs of a content; an inline one has none.
    pub fn resolve(&self, content: &Content) -> Result<Arc<Layout>> {
        match content {
            Content::Inline(_) | Content::InLog(_) => Ok(Arc::new(Layout::new(Vec::new()))),
            Content::Chunks(chunks) => Ok(Arc::new(Layout::new(chunks.clone()))),
            Content::Manifest { manifest: Chunk { id: Some(id), .. }, size } => self.layout(id, *size),
            Content::Manifest { .. } => {
                Err(ContentError::BadManifest { chunk: ChunkId([0; 32]), what: "it has no name" })
            }
        }
    }

    pub fn read_layout(&self, layout: &Layout, buf: &mut [u8], offset: u64) -> Result<usize> {
        if offset >= layout.size() || buf.is_empty() {
            return Ok(0);
        }
        let len = buf.len().min(usize::try_from(layout.size() - offset).unwrap_or(usize::MAX));
        let (mut run, mut done) = (layout.find(offset), 0);
        while done < len {
            let chunk = layout.chunks()[run];
            let range = layout.range(run);
            let skip = offset + done as u64 - range.start;
            let part = usize::try_from(chunk.len - skip).unwrap_or(usize::MAX).min(len - done);
            let out = &mut buf[done..done + part];
            match &chunk.id {
                None => out.fill(0),
                Some(id) => self.read_chunk(id, chunk.len, skip as usize, out)?,
            }
            done += part;
            run += 1;
        }
        Ok(len)
    }
}

impl Inner {
    fn must_have(&self, layout: &Layout) -> Result<()> {
        for id in layout.ids() {
            // What was stored again since it was condemned waits for the index, and stays.
            let waits = self.overlay.read().map.contains_key(&id);
            if !waits && (self.pins.is_condemned(&id) || self.locate(&id)?.is_none()) {
                return Err(ContentError::Missing { chunk: id });
            }
        }
        Ok(())
    }
}

fn read_inline(bytes: &[u8], buf: &mut [u8], offset: u64) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let len = rest.len().min(buf.len());
    buf[..len].copy_from_slice(&rest[..len]);
    len
}

/// An open file: its manifest is resolved once and no collection takes its chunks. Clones share that.
#[derive(Debug, Clone)]
pub struct ContentReader {
    opened: Arc<Opened>,
    pos: u64,
}

#[derive(Debug)]
struct Opened {
    inner: Arc<Inner>,
    inline: Bytes,
    layout: Arc<Layout>,
    digest: Option<ChunkId>,
    pinned: Option<u64>,
    /// Lent to the kernel as long as the reader lives.
    lent: OnceLock<Option<Contiguous>>,
}

impl ContentReader {
    pub fn size(&self) -> u64 {
        self.opened.layout.size() + self.opened.inline.len() as u64
    }

    /// Whether a chunk is stored and not known to be damaged.
    pub(super) fn has(&self, id: &ChunkId) -> Result<bool> {
        self.opened.inner.pins.touch(*id);
        self.opened.inner.has(id)
    }

    /// The runs; empty for inline content.
    pub fn layout(&self) -> &Layout {
        &self.opened.layout
    }

    /// Fills `buf` as far as the file goes; 0 at and beyond its end. Holes read as zeros.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let opened = &self.opened;
        if opened.layout.is_empty() {
            return Ok(read_inline(&opened.inline, buf, offset));
        }
        opened.inner.read_layout(&opened.layout, buf, offset)
    }

    /// Whether the chunks of a range are here, without reading them; of very many, the first ones.
    ///
    /// # Errors
    /// [`ContentError::Missing`] names one that isn't.
    pub fn check(&self, range: Range<u64>) -> Result<()> {
        let (inner, layout) = (&self.opened.inner, self.layout());
        if layout.is_empty() || range.start >= layout.size() {
            return Ok(());
        }
        let runs =
            (layout.find(range.start)..layout.len()).take_while(|i| layout.range(*i).start < range.end);
        for id in runs.take(MAX_CHECKED).filter_map(|i| layout.chunks()[i].id) {
            if !inner.locate(&id)?.is_some_and(|location| inner.usable(&location)) {
                return Err(ContentError::Missing { chunk: id });
            }
        }
        Ok(())
    }

    /// What is data and not a hole.
    pub fn data_ranges(&self) -> Vec<Range<u64>> {
        if self.layout().is_empty() {
            return (self.size() > 0).then_some(0..self.size()).into_iter().collect();
        }
        self.layout().extents().into_iter().filter(|(_, hole)| !hole).map(|(range, _)| range).collect()
    }

    /// A file that the kernel may read directly, byte for byte this content, if an adopted file is that. It is valid as
    /// long as a clone of this reader lives.
    pub fn contiguous(&self) -> Option<File> {
        let lent = self.opened.lent.get_or_init(|| {
            let found = self.opened.digest.map(|digest| self.opened.inner.contiguous(self.layout(), digest));
            found.transpose().map(Option::flatten).unwrap_or_else(|e| {
                tracing::warn!("reading through the daemon: {e}");
                None
            })
        });
        let ours = lent.as_ref().filter(|lent| lent.is_stored(&self.opened.inner));
        ours.and_then(|lent| lent.fd().try_clone().ok()).map(File::from)
    }

    /// Gives up the file that [`ContentReader::contiguous`] lent: its chunks are copied into ordinary packs, durably, and
    /// it loses its name. Then the bytes that the borrower has open are nobody else's, and it may change them.
    pub fn give_up(&self) -> Result<()> {
        match self.opened.lent.get() {
            Some(Some(lent)) => lent.give_up(&self.opened.inner),
            _ => Ok(()),
        }
    }

    /// The first byte of data at or after `offset`; `None` if there is none (`ENXIO`).
    pub fn seek_data(&self, offset: u64) -> Option<u64> {
        seek(self.layout(), self.size(), offset, false)
    }

    /// The first byte of a hole at or after `offset`: at the latest the end. `None` beyond the end (`ENXIO`).
    pub fn seek_hole(&self, offset: u64) -> Option<u64> {
        let size = self.size();
        (offset < size).then(|| seek(self.layout(), size, offset, true).unwrap_or(size))
    }
}

fn seek(layout: &Layout, size: u64, offset: u64, hole: bool) -> Option<u64> {
    if offset >= size {
        return None;
    }
    if layout.is_empty() {
        return (!hole).then_some(offset);
    }
    let first = layout.find(offset);
    let found = (first..layout.len()).find(|i| layout.chunks()[*i].id.is_none() == hole)?;
    Some(layout.range(found).start.max(offset))
}

impl io::Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.read_at(buf, self.pos).map_err(io::Error::other)?;
        self.pos += len as u64;
        Ok(len)
    }
}

impl ReadAt for ContentReader {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buf, offset).map_err(io::Error::other)? {
            len if len == buf.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(reader) = self.pinned {
            self.inner.pins.close_reader(reader);
        }
    }
}

impl ContentStore {
    /// Fills `buf` as far as the content goes. The content must be live or pinned; an open file wants a
    /// [`ContentStore::reader`].
    pub fn read_at(&self, content: &Content, buf: &mut [u8], offset: u64) -> Result<usize> {
        match content {
            Content::Inline(bytes) => Ok(read_inline(bytes, buf, offset)),
            Content::InLog(_) => Err(ContentError::InLog),
            _ => self.inner.read_layout(&*self.inner.resolve(content)?, buf, offset),
        }
    }

    /// Opens a content: while the reader lives, its chunks stay. `Missing` if a collection has just taken one: then the
    /// content is no longer what any head names, look the head up again.
    pub fn reader(&self, content: &Content) -> Result<ContentReader> {
        let inline = match content {
            Content::Inline(bytes) => bytes.clone(),
            Content::InLog(_) => return Err(ContentError::InLog),
            _ => Bytes::new(),
        };
        let layout = self.inner.resolve(content)?;
        let digest = (content.size() >= self.inner.tuning.min_adopt).then(|| manifest::digest(content));
        let mut opened =
            Opened { inner: self.inner.clone(), inline, layout, digest, pinned: None, lent: OnceLock::new() };
        if !opened.layout.is_empty() {
            let (number, collecting) = self.inner.pins.open_reader(opened.layout.clone());
            opened.pinned = Some(number);
            if collecting {
                self.inner.must_have(&opened.layout)?;
            }
        }
        Ok(ContentReader { opened: Arc::new(opened), pos: 0 })
    }

    /// The runs of a content, its manifests resolved.
    pub fn chunks_of(&self, content: &Content) -> Result<Vec<Chunk>> {
        Ok(self.inner.resolve(content)?.chunks().to_vec())
    }

    /// Maximal ranges of data (`false`) and holes (`true`).
    pub fn extents(&self, content: &Content) -> Result<Vec<(Range<u64>, bool)>> {
        match content {
            Content::Inline(_) | Content::InLog(_) if content.size() == 0 => Ok(Vec::new()),
            Content::Inline(_) | Content::InLog(_) => Ok(vec![(0..content.size(), false)]),
            _ => Ok(self.inner.resolve(content)?.extents()),
        }
    }

    /// Every chunk that a content needs, those of its manifests included: what a collection must be told is live.
    pub fn ids_of(&self, content: &Content) -> Result<Vec<ChunkId>> {
        Ok(self.inner.resolve(content)?.ids().collect())
    }

    /// Chunks of a content that are not here, in the order of its bytes, each once. Where manifests are not here, those alone:
    /// what they name is known once they are.
    pub fn missing(&self, content: &Content) -> Result<Vec<ChunkId>> {
        let (mut out, mut seen) = (Vec::new(), HashSet::new());
        let mut want = |id: ChunkId| -> Result<bool> {
            self.inner.pins.touch(id);
            let here = self.inner.has(&id)?;
            if !here && seen.insert(id) {
                out.push(id);
            }
            Ok(here)
        };
        let layout = match content {
            Content::Manifest { manifest: Chunk { id: Some(id), .. }, size } => {
                let mut get =
                    |id: &ChunkId| if want(*id)? { self.inner.load(id).map(Some) } else { Ok(None) };
                let whole = manifest::load(*id, *size, &mut get)?;
                if whole.is_some() {
                    self.inner.pins.touch_manifest((*id, *size));
                }
                whole.map(Arc::new)
            }
            _ => Some(self.inner.resolve(content)?),
        };
        for id in layout.iter().flat_map(|layout| layout.chunks()).filter_map(|c| c.id) {
            want(id)?;
        }
        Ok(out)
    }

    /// Whether a chunk is here. While a pin is held it stays.
    pub fn has_chunk(&self, id: &ChunkId) -> Result<bool> {
        self.inner.pins.touch(*id);
        self.inner.has(id)
    }

    /// A chunk's plain bytes, verified.
    pub fn get_chunk(&self, id: &ChunkId) -> Result<Bytes> {
        self.inner.load(id)
    }

    /// The same for who asks for very many of them, each once, and checks them itself: what has been verified since the start isn't
    /// verified again, and nothing is kept. The bytes stand at the start of `buf`, which grows where it must; how many they
    /// are.
    pub fn read_chunk(&self, id: &ChunkId, buf: &mut Vec<u8>) -> Result<usize> {
        let plain = self.inner.locate(id)?.filter(|location| location.flags & FLAG_ZSTD == 0);
        if let Some(location) = plain {
            let out = at_least(buf, location.len as usize);
            if self.inner.read_plain(id, &location, 0, out) {
                return Ok(out.len());
            }
        }
        self.inner.at_location(id, |location| self.inner.load_into(id, location, buf))
    }
}

/// The first `len` bytes of a buffer, which grows where it must: what is there already isn't cleared.
fn at_least(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buf.len() < len {
        buf.resize(len, 0);
    }
    &mut buf[..len]
}
