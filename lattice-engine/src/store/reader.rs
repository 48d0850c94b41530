//! Reading a version's bytes, wherever they are: in the row, in the log, in packs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::{ContentReader, ContentStore};
use crate::entry::{Content, Value};

use super::core::Store;
use super::error::{Result, StoreError};
use super::view::View;

/// An open version: goes on reading what it opened whatever happens to the key, and keeps it from `gc`.
#[derive(Debug, Clone)]
pub struct Reader {
    source: Source,
    /// Reads wait for what isn't here.
    waits: Option<Arc<Waits>>,
}

#[derive(Debug)]
struct Waits {
    store: Arc<Store>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Source {
    Small(Bytes),
    Large(ContentReader),
}

/// Opens a version's bytes.
pub(super) fn open(view: &View, store: &ContentStore, content: &Content) -> Result<Reader> {
    let source = match small(view, content)? {
        Some(bytes) => Source::Small(bytes),
        None => Source::Large(store.reader(content).map_err(StoreError::Content)?),
    };
    Ok(Reader { source, waits: None })
}

/// As [`open`], for a thread that may block: it and the reads that follow wait for what isn't here.
pub(super) fn open_waiting(store: &Arc<Store>, content: &Content) -> Result<Reader> {
    if store.network.read().is_none() {
        // Nobody can be asked, so there is nothing to wait for.
        return open(&store.view, &store.content, content);
    }
    let reader = match open(&store.view, &store.content, content) {
        Err(StoreError::Content(e)) if e.absent().is_some() => {
            store.bring(content, &(0..0), &|| false)?;
            open(&store.view, &store.content, content)?
        }
        opened => opened?,
    };
    Ok(Reader { waits: Some(Arc::new(Waits { store: store.clone(), content: content.clone() })), ..reader })
}

/// The bytes of content that is no larger than an entry holds.
pub(super) fn small(view: &View, content: &Content) -> Result<Option<Bytes>> {
    match content {
        Content::Inline(bytes) => Ok(Some(bytes.clone())),
        Content::InLog(range) => {
            let bytes = view.log.read_range(range.segment, range.offset, range.len);
            Ok(Some(bytes.map_err(StoreError::Log)?))
        }
        Content::Chunks(_) | Content::Manifest { .. } => Ok(None),
    }
}

/// A value as an entry holds it: bytes that this node left in its log are put back in line.
pub(super) fn to_wire(view: &View, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::File(content @ Content::InLog(_)) => {
            Value::File(Content::Inline(small(view, content)?.unwrap_or_default()))
        }
        value => value.clone(),
    })
}

impl Reader {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match &self.source {
            Source::Small(bytes) => bytes.len() as u64,
            Source::Large(reader) => reader.size(),
        }
    }

    /// Fewer bytes than asked for only at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        match &self.source {
            Source::Small(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let n = buf.len().min(bytes.len() - start);
                buf[..n].copy_from_slice(&bytes[start..start + n]);
                Ok(n)
            }
            Source::Large(reader) => match (reader.read_at(buf, offset), &self.waits) {
                (Err(e), Some(waits)) if e.absent().is_some() => {
                    waits.store.bring(&waits.content, &(offset..offset + buf.len() as u64), &|| false)?;
                    reader.read_at(buf, offset).map_err(StoreError::Content)
                }
                (read, _) => read.map_err(StoreError::Content),
            },
        }
    }

    /// Whether what a range needs is here, as far as that can be told without reading it: for who can't take back what
    /// is sent. A reader that waits for what isn't here waits for the range's beginning only.
    ///
    /// # Errors
    /// As the read would fail.
    pub fn check(&self, range: Range<u64>) -> Result<()> {
        match &self.source {
            Source::Small(_) => Ok(()),
            Source::Large(reader) => match (reader.check(range.clone()), &self.waits) {
                (Err(e), Some(waits)) if e.absent().is_some() => {
                    waits.store.bring(&waits.content, &(range.start..range.start + 1), &|| false)
                }
                (checked, _) => checked.map_err(StoreError::Content),
            },
        }
    }

    /// All of it, in memory: for values known to be small.
    pub fn read_all(&self) -> Result<Bytes> {
        if let Source::Small(bytes) = &self.source {
            return Ok(bytes.clone());
        }
        let mut all = vec![0; usize::try_from(self.size()).unwrap_or(usize::MAX)];
        let n = self.read_at(&mut all, 0)?;
        all.truncate(n);
        Ok(all.into())
    }

    /// Where there is data rather than holes, for SEEK_DATA and SEEK_HOLE.
    pub fn data_ranges(&self) -> Vec<Range<u64>> {
        match &self.source {
            Source::Small(bytes) if bytes.is_empty() => Vec::new(),
            Source::Small(bytes) => std::iter::once(0..bytes.len() as u64).collect(),
            Source::Large(reader) => reader.data_ranges(),
        }
    }

    /// The file that [`Reader::contiguous`] lent is the borrower's own from now on: the store keeps a copy of what it holds,
    /// durably, and the file has no name any more. Takes as long as copying does.
    pub fn give_up(&self) -> Result<()> {
        match &self.source {
            Source::Small(_) => Ok(()),
            Source::Large(reader) => reader.give_up().map_err(StoreError::Content),
        }
    }

    /// A file whose bytes are exactly this version's, where there is one: for kernel passthrough.
    pub fn contiguous(&self) -> Option<std::fs::File> {
        match &self.source {
            Source::Small(_) => None,
            Source::Large(reader) => reader.contiguous(),
        }
    }
}
