//! What can go wrong between nodes. Messages name the peer or the address, and what to do next.

use std::io;
use std::net::SocketAddr;

use crate::id::{NodeId, StoreId};
use crate::node::NodeError;
use crate::store::StoreError;
use crate::wire::WireError;

pub type Result<T, E = NetError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot listen on {at}: {why}; choose another address with --listen")]
    Bind { at: String, why: String },
    #[error("{0:?} is not the address of a relay: give one like https://relay.example")]
    BadRelay(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("no connection to {peer}: {why}")]
    Connect { peer: NodeId, why: String },
    #[error("the connection to {peer} was lost: {why}")]
    Lost { peer: NodeId, why: String },
    #[error("{peer} broke the protocol: {why}")]
    Protocol { peer: NodeId, why: String },
    #[error("{peer} has another root store, {theirs}: it belongs to another mesh")]
    OtherMesh { peer: NodeId, theirs: StoreId },
    #[error("{0} is not a member: `lattice peer list` shows who is")]
    NotAMember(NodeId),
    #[error("store {0} is not open here")]
    NoSuchStore(StoreId),
    #[error("{0} is not connected: `lattice peer list` says since when")]
    NotConnected(NodeId),
    #[error("no answer from {peer} within {seconds} s")]
    NoAnswer { peer: NodeId, seconds: u64 },
    #[error("joining failed: {0}")]
    Join(String),
    /// What the node that was to admit us answered.
    #[error("{0}")]
    Refused(String),
    /// Nobody who could admit us answers.
    #[error("{0}")]
    Unreachable(String),
    #[error("the network is stopping")]
    Stopping,
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NetError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(super) fn lost(peer: NodeId, why: impl std::fmt::Display) -> Self {
        Self::Lost { peer, why: why.to_string() }
    }

    pub(super) fn protocol(peer: NodeId, why: impl std::fmt::Display) -> Self {
        Self::Protocol { peer, why: why.to_string() }
    }

    pub(super) fn bind(at: SocketAddr, why: impl std::fmt::Display) -> Self {
        Self::Bind { at: at.to_string(), why: why.to_string() }
    }
}

/// Why a frame can't be had from a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {len} bytes is over the limit of {cap}")]
    TooLarge { len: u64, cap: usize },
    #[error("a frame's length can't be read")]
    BadLength,
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Stream(String),
    #[error("the stream ended")]
    Ended,
}
