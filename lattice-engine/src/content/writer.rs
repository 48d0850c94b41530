//! Bytes into chunks into packs: whole values, streams, single chunks. Memory is bounded whatever the length.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::append::Records;
use super::chunker::{self, LOOKAHEAD, Piece, Step};
use super::error::{ContentError, Result};
use super::layout::{Layout, MAX_CHUNK_LEN, Runs};
use super::manifest;
use super::store::Inner;
use super::{ContentStore, Pin};
use crate::entry::{Chunk, Content, MAX_DIRECT_CHUNKS, MAX_INLINE};
use crate::id::ChunkId;

/// Records are appended once this many bytes wait.
const FLUSH: u64 = 1 << 20;
/// A stream is cut once this many bytes wait.
const GATHER: usize = 1 << 20;

/// New chunks that wait to be appended together.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    records: Records<'a>,
    waiting: HashSet<ChunkId>,
}

impl<'a> Batch<'a> {
    /// Stores a chunk unless it is stored. Only what is new is copied.
    pub fn add(&mut self, inner: &Inner, plain: &[u8]) -> Result<ChunkId> {
        let id = manifest::name(plain);
        if self.lacks(inner, &id)? {
            self.push(inner, id, Cow::Owned(plain.to_vec()))?;
        }
        Ok(id)
    }

    /// The same without a copy; `id` is the hash of `plain`.
    pub fn add_named(&mut self, inner: &Inner, id: ChunkId, plain: Cow<'a, [u8]>) -> Result<()> {
        if self.lacks(inner, &id)? {
            self.push(inner, id, plain)?;
        }
        Ok(())
    }

    fn lacks(&self, inner: &Inner, id: &ChunkId) -> Result<bool> {
        inner.pins.touch(*id);
        Ok(!self.waiting.contains(id) && !inner.holds(id)?)
    }

    fn push(&mut self, inner: &Inner, id: ChunkId, plain: Cow<'a, [u8]>) -> Result<()> {
        self.records.push(inner, id, plain);
        self.waiting.insert(id);
        if self.records.len() >= FLUSH {
            self.flush(inner)?;
        }
        Ok(())
    }

    pub fn flush(&mut self, inner: &Inner) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        inner.append(&self.records, false)?;
        self.records.clear();
        self.waiting.clear();
        Ok(())
    }

    /// Stores what is new of a piece and lists it.
    pub fn add_piece(&mut self, inner: &Inner, runs: &mut Runs, piece: &Piece<'_>) -> Result<()> {
        let id = piece.bytes.map(|bytes| self.add(inner, bytes)).transpose()?;
        runs.push(Chunk { id, len: piece.len })
    }

    /// The content that these runs are: appended, not yet durable.
    pub fn finish(mut self, inner: &Inner, runs: Runs) -> Result<Content> {
        let chunks = runs.into_vec();
        if chunks.len() <= MAX_DIRECT_CHUNKS {
            // Those that an update took over are pinned by its reader only until it returns.
            chunks.iter().filter_map(|c| c.id).for_each(|id| inner.pins.touch(id));
            self.flush(inner)?;
            return Ok(Content::Chunks(chunks));
        }
        let mut manifests = Vec::new();
        let top = manifest::build(&chunks, &mut |bytes| {
            let id = self.add(inner, bytes)?;
            manifests.push(id);
            Ok(id)
        })?;
        let layout = Arc::new(Layout::new(chunks).kept_in(manifests));
        let size = layout.size();
        self.flush(inner)?;
        let Some(id) = top.id else { return Ok(Content::Manifest { manifest: top, size }) };
        inner.cache.keep_layout(id, layout);
        // After the flush, because a collection reads the manifests; before that an update's reader pins what they name.
        inner.pins.touch_manifest((id, size));
        Ok(Content::Manifest { manifest: top, size })
    }
}

/// Takes a file's bytes in order. Dropped before [`ContentWriter::finish`], it leaves chunks that no content names.
#[derive(Debug)]
pub struct ContentWriter {
    inner: Arc<Inner>,
    _pin: Pin,
    buffer: Vec<u8>,
    /// Where `buffer` starts in the file.
    pos: u64,
    runs: Runs,
    batch: Batch<'static>,
}

impl ContentWriter {
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = (GATHER + LOOKAHEAD - self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == GATHER + LOOKAHEAD {
                self.drain(LOOKAHEAD)?;
            }
        }
        Ok(())
    }

    /// The content: appended to packs, durable after [`ContentStore::sync`].
    pub fn finish(mut self) -> Result<Content> {
        if self.pos == 0 && self.buffer.len() <= MAX_INLINE {
            return Ok(Content::Inline(Bytes::from(self.buffer)));
        }
        self.drain(1)?;
        self.batch.finish(&self.inner, self.runs)
    }

    /// Cuts as long as at least `keep` bytes are left to look at.
    fn drain(&mut self, keep: usize) -> Result<()> {
        let mut used = 0;
        while self.buffer.len() - used >= keep {
            used += cut_one(
                &self.inner,
                &mut self.batch,
                &mut self.runs,
                &self.buffer[used..],
                self.pos + used as u64,
            )?;
        }
        self.buffer.drain(..used);
        self.pos += used as u64;
        Ok(())
    }
}

fn cut_one(
    inner: &Inner,
    batch: &mut Batch<'_>,
    runs: &mut Runs,
    bytes: &[u8],
    offset: u64,
) -> Result<usize> {
    let step = chunker::step(bytes, offset);
    let (Step::Hole(len) | Step::Data(len)) = step;
    let bytes = matches!(step, Step::Data(_)).then(|| &bytes[..len]);
    batch.add_piece(inner, runs, &Piece { len: len as u64, bytes })?;
    Ok(len)
}

impl ContentStore {
    /// Stores a value that is in memory. Durable after [`ContentStore::sync`].
    pub fn put(&self, bytes: &[u8]) -> Result<Content> {
        if bytes.len() <= MAX_INLINE {
            return Ok(Content::Inline(Bytes::copy_from_slice(bytes)));
        }
        let _pin = self.pin();
        let (mut batch, mut runs, mut pos) = (Batch::default(), Runs::default(), 0);
        while pos < bytes.len() {
            pos += cut_one(&self.inner, &mut batch, &mut runs, &bytes[pos..], pos as u64)?;
        }
        batch.finish(&self.inner, runs)
    }

    /// Stores a stream.
    pub fn writer(&self) -> ContentWriter {
        ContentWriter {
            inner: self.inner.clone(),
            _pin: self.pin(),
            buffer: Vec::new(),
            pos: 0,
            runs: Runs::default(),
            batch: Batch::default(),
        }
    }

    /// Stores one chunk that came from elsewhere, if its bytes are what its name says.
    pub fn put_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        match self.put_chunks([(id, bytes)])?.pop() {
            Some((_, why)) => Err(why),
            None => Ok(()),
        }
    }

    /// Stores chunks that came from elsewhere, in one write; gives those that were refused because their bytes are not what
    /// their names say.
    ///
    /// # Errors
    /// None of the others is stored for certain.
    pub fn put_chunks<'a>(
        &self,
        chunks: impl IntoIterator<Item = (&'a ChunkId, &'a [u8])>,
    ) -> Result<Vec<(ChunkId, ContentError)>> {
        let _pin = self.pin();
        let (mut batch, mut refused) = (Batch::default(), Vec::new());
        for (id, bytes) in chunks {
            match check(id, bytes) {
                Ok(()) => batch.add_named(&self.inner, *id, Cow::Borrowed(bytes))?,
                Err(why) => refused.push((*id, why)),
            }
        }
        batch.flush(&self.inner)?;
        Ok(refused)
    }
}

fn check(id: &ChunkId, bytes: &[u8]) -> Result<()> {
    let len = bytes.len() as u64;
    if len > MAX_CHUNK_LEN {
        return Err(ContentError::ChunkTooLarge { len, max: MAX_CHUNK_LEN });
    }
    match manifest::name(bytes) {
        found if found == *id => Ok(()),
        found => Err(ContentError::WrongHash { expected: *id, found }),
    }
}
