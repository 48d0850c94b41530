//! What can go wrong with a data directory.

use std::io;
use std::path::PathBuf;

use crate::access::TokenId;
use crate::id::{NodeId, StoreId};
use crate::identity::KeyFileError;
use crate::store::StoreError;

pub type Result<T, E = NodeError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("{} holds no Lattice data: run `lattice init`", .0.display())]
    NotInitialised(PathBuf),
    #[error("{} is initialised already: nothing was changed", .0.display())]
    AlreadyInitialised(PathBuf),
    #[error("{} is in use by {}: only one lattice can have it open. Stop that one, or go through it", dir.display(), process(*pid))]
    /// `pid` 0: not known.
    Locked { dir: PathBuf, pid: u32 },
    #[error("no store {0:?}: `lattice store list` shows what there is")]
    NoSuchStore(String),
    #[error("{spec:?} could be {candidates}: give more of the id")]
    Ambiguous { spec: String, candidates: String },
    #[error("there is a store named {0:?} already: choose another name")]
    NameTaken(String),
    #[error("{name:?} can't be a store's name: {why}")]
    BadName { name: String, why: &'static str },
    #[error("{name:?} can't be a node's name: {why}")]
    BadNodeName { name: String, why: &'static str },
    #[error("another member, {by}, is called {name:?} already: choose another name")]
    NodeNameTaken { name: String, by: NodeId },
    #[error("no token {0}: `lattice token list` shows what there is")]
    NoSuchToken(TokenId),
    #[error("store {id} can't be opened: {why}")]
    Broken { id: StoreId, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Join(#[from] crate::access::Refusal),
    #[error(transparent)]
    Identity(#[from] KeyFileError),
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Refused(String),
}

fn process(pid: u32) -> String {
    if pid == 0 { "another process".into() } else { format!("process {pid}") }
}

impl NodeError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
