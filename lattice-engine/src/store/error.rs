//! What can go wrong with a store, as a caller sees it.

use std::io;

use crate::content::ContentError;
use crate::entry::EntryError;
use crate::id::{ChunkId, StoreId};
use crate::key::{Key, KeyError};
use crate::log::LogError;
use crate::state::StateError;

pub type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}: no such key")]
    NotFound(Key),
    #[error("{0} exists already")]
    Exists(Key),
    #[error("{0} is not empty")]
    NotEmpty(Key),
    #[error("{0} is a directory")]
    IsADirectory(Key),
    #[error("{0} is not a directory")]
    NotADirectory(Key),
    #[error("{0} has changed meanwhile: its heads are not the ones expected; read it again and retry")]
    Precondition(Key),
    #[error("{0} has too much below it to be renamed in one step: copy it and delete the old one")]
    TooMany(Key),
    #[error("{0} can't be moved into itself")]
    IntoItself(Key),
    #[error("{0}: its name is too long there")]
    Key(Key, #[source] KeyError),
    /// After a failed write or sync, on a read-only data directory, damaged or stalled.
    #[error("store {store} takes no writes: {why}")]
    ReadOnly { store: StoreId, why: String },
    #[error("no space left on the disk of store {0}: nothing was changed; make room and try again")]
    NoSpace(StoreId),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Log(LogError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Content(ContentError),
    /// An entry names it, and nobody who has it can be asked.
    #[error(
        "chunk {chunk} is not here and can't be had now: {why}. Either `lattice gc` has freed it, or it comes when a peer that \
         has it is connected"
    )]
    NotHere { chunk: ChunkId, why: String },
    /// Content that isn't here was waited for, and who waited was interrupted.
    #[error("interrupted while the bytes were on their way")]
    Interrupted,
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// A failure that several callers share: each gets the same words.
    #[error("{0}")]
    Shared(std::sync::Arc<StoreError>),
}

impl StoreError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The failure itself, where several callers share it.
    pub fn cause(&self) -> &StoreError {
        match self {
            Self::Shared(inner) => inner.cause(),
            other => other,
        }
    }
}
