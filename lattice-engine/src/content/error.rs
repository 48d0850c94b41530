//! What can go wrong with content. Every message names the pack, chunk or file, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::ChunkId;

/// What a [`ChunkIndex`](super::ChunkIndex) failed with.
pub type IndexError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot read the bytes to store at offset {offset}: {source}")]
    Source { offset: u64, source: io::Error },
    #[error("the chunk index cannot {what}: {source}")]
    Index { what: &'static str, source: IndexError },
    #[error("chunk {chunk} is not here; restore it from a bundle or a peer that has it")]
    Missing { chunk: ChunkId },
    #[error(
        "chunk {chunk} at offset {offset} of {pack} is damaged ({what}); store the same content again, or restore the pack from a copy",
        pack = pack.display()
    )]
    Corrupt { chunk: ChunkId, pack: PathBuf, offset: u64, what: &'static str },
    #[error(
        "{pack} is truncated: {len} bytes where {expected} were stored; restore it from a copy, or run fsck to list what is lost",
        pack = pack.display()
    )]
    Truncated { pack: PathBuf, len: u64, expected: u64 },
    #[error("{path} has format version {found}, this build reads {known}: use a newer build", path = path.display())]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error("manifest {chunk} is invalid: {what}")]
    BadManifest { chunk: ChunkId, what: &'static str },
    #[error("a file of more than {max} chunks (about {gib} GiB) cannot be stored; split it", gib = max >> 14)]
    TooManyChunks { max: usize },
    #[error("a chunk of {len} bytes is over the limit of {max}")]
    ChunkTooLarge { len: u64, max: u64 },
    #[error("these bytes are chunk {found}, not {expected}; they were refused, fetch the chunk again")]
    WrongHash { expected: ChunkId, found: ChunkId },
    #[error("{path} has {found} bytes, not {expected}: it changed while it was being stored", path = path.display())]
    WrongSize { path: PathBuf, found: u64, expected: u64 },
    #[error("an earlier flush failed ({why}); nothing more is stored until the store is opened again")]
    Poisoned { why: String },
    #[error("a collection is already running; wait for it to end")]
    GcRunning,
    #[error("these bytes stand in the log, not in a pack; ask the store for them")]
    InLog,
}

pub(crate) type Result<T> = std::result::Result<T, ContentError>;

/// Names the operation and the file of an I/O error.
pub(super) fn io_at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ContentError + 'a {
    move |source| ContentError::Io { what, path: path.to_path_buf(), source }
}

pub(super) fn index_err(what: &'static str) -> impl FnOnce(IndexError) -> ContentError {
    move |source| ContentError::Index { what, source }
}
