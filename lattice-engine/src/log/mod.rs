//! The truth of a store: one append-only log of all authors' entries, in the order they arrived, cut in segments.
//!
//! It stores bytes and knows nothing of what an entry means. It refuses to open a log that is damaged before its tail,
//! to append after a failed sync, and to return a record whose checksum doesn't hold. The bytes are in `FORMAT.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id::StoreId;

mod format;
mod fsck;
mod reader;
mod recover;
mod segment;
mod sync;
mod writer;

#[cfg(test)]
mod explorer;
#[cfg(test)]
mod tests;

pub use format::{MAX_BODY, PAYLOAD_AT, Record, RecordRef};
pub use fsck::{Bad, Report, SegmentReport, fsck};
pub use reader::{LogReader, Scan};
pub use recover::{Cut, Recovery};
pub use sync::Syncer;
pub use writer::{Log, LogOptions};

/// Where a record lies. Ordered as the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment, from 0.
    pub segment: u64,
    /// First byte of the record in its segment's file.
    pub offset: u64,
    /// Bytes of the whole record, framing included.
    pub len: u32,
}

impl Position {
    /// Just past this record: what [`Syncer::sync_to`] takes.
    pub fn end(&self) -> End {
        End { segment: self.segment, offset: self.offset + u64::from(self.len) }
    }
}

/// A place between two records: everything before it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct End {
    /// Number of the segment, from 0.
    pub segment: u64,
    /// Bytes of that segment's file.
    pub offset: u64,
}

/// Takes any bytes for the body of a record.
pub(crate) fn decode_any(kind: u8, body: bytes::Bytes) {
    let _ = format::decode(kind, body);
}

/// What went wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A checksum doesn't hold where the disk had promised to keep the bytes. Nothing was modified.
    #[error(
        "{} is damaged at byte {offset}: {why}. Nothing was changed; `lattice fsck` shows what can still be read, and `lattice \
         help fsck` says what to do",
        path.display()
    )]
    Corrupt { path: PathBuf, offset: u64, why: String },
    /// The log goes on after a segment that isn't there, or the caller knows of records that aren't.
    #[error("{} is missing: {why}. Put the file back from a backup, or run `lattice fsck`", path.display())]
    Missing { path: PathBuf, why: &'static str },
    /// The files of one store under the name of another.
    #[error("{} belongs to store {found}, not to {expected}: put each store's log back in its own directory", path.display())]
    WrongStore { path: PathBuf, found: StoreId, expected: StoreId },
    /// Written by a later program.
    #[error("{} has log format {version}, and this program reads only 1: use a newer lattice", path.display())]
    Version { path: PathBuf, version: u32 },
    /// Refused before anything was written.
    #[error(
        "a log record of {len} bytes is over the limit of {max}: store it as content and log its manifest"
    )]
    TooLarge { len: u64, max: u64 },
    /// The batch was not written; the log is as it was before, and later appends may succeed.
    #[error("cannot append to {}: {source}. Nothing of it was kept; make room on the disk and try again", path.display())]
    NotWritten {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A sync failed, so what the disk holds is unknown.
    #[error("the log takes no more writes since {why}; reopen the store")]
    Poisoned { why: Arc<str> },
    /// `sync_to` beyond what was appended: a mistake of the caller's.
    #[error("asked to sync to {asked:?}, but the log ends at {end:?}")]
    NotAppended { asked: End, end: End },
}

impl LogError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    fn corrupt(path: &Path, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), offset, why: why.into() }
    }
}
