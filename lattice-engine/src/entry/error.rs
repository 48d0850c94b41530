//! Why something is not an entry.

use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId};
use crate::identity::{RandomError, SignatureError};
use crate::key::KeyError;
use crate::program::ProgramError;
use crate::wire::WireError;

/// Why an entry can't be built, or what came in is not one. Bad input from a peer: drop it and name the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the entry's header is {0}")]
    Header(WireError),
    #[error("the entry's payload is {0}")]
    Payload(WireError),
    #[error("the entry header's {field} is wrong: {why}")]
    Field { field: &'static str, why: &'static str },
    #[error("the entry's {what} of {have} is over the limit of {limit}: split it into several entries")]
    Limit { what: &'static str, have: usize, limit: usize },
    #[error("the payload is not the one that the entry's header names")]
    WrongPayload,
    #[error("op {index} of the entry: {why}")]
    Op { index: usize, why: OpError },
    #[error("the entry's time {hlc} is not after {before}, the time of entry {dep} that it cites")]
    NotAfterDep { hlc: Hlc, before: Hlc, dep: EntryId },
    #[error("entry {0} is not signed")]
    Unsigned(EntryId),
    #[error("the entry's author is {author}; {signer} can't sign it")]
    NotTheAuthor { author: NodeId, signer: NodeId },
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why an op is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("it is {0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Program(#[from] ProgramError),
    #[error("it does nothing")]
    Empty,
    #[error("{field} has {have} bytes and must have {want}")]
    Length { field: &'static str, have: usize, want: usize },
    #[error("{what} of {have} is over the limit of {limit}")]
    Limit { what: &'static str, have: u64, limit: u64 },
    #[error("node kind {0} is not one of version 1")]
    NodeKind(i32),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("another op of the entry is for the same key; put both into one")]
    SecondOfKey,
    #[error("it cites entry {0}, which is neither the one before nor among the entry's parents")]
    UnknownParent(EntryId),
    #[error("parent index {0} is out of range, out of order or out of place")]
    ParentIndex(u32),
}
