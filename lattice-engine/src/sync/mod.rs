//! How two nodes come to hold the same entries of a store: plain state machines, without I/O, clock or random source.
//!
//! - [`Tips`] is how far a node holds each chain, durably, and [`lacking`] what one has beyond another.
//! - [`Frame`] is what the two sides of a stream say, and its bytes.
//! - [`Session`] is one side of such a stream for as long as it lasts. Catching up: `Hello` with a digest of the tips (equal:
//!   nothing to do), else `Tips`, `Want`, `Entries` with a `Have` for what has become durable, `Done`. Then it stays: it tells
//!   what has come, and sends what its own node writes as soon as that is published.
//! - [`Orphans`] is what came too early and waits in memory, within bounds.
//! - [`FirstWrite`] is when a node may write for the first time since it has started.
//! - [`Mesh`] is what the sessions of one store know of each other, so that not every peer is asked for the same.
//! - [`schedule`] is when which peer is asked, and [`gossip`] the hint that something is new.
//!
//! It refuses a peer that speaks of another store, says what is over a cap, sends more than it was asked for, or falls
//! silent while it is waited for: such a session ends with a [`Reason`]. Times are milliseconds of a clock that only runs
//! forward; [`Received::Early`] alone is wall time.

use std::sync::Arc;

use crate::entry::ForkProof;

mod first_write;
mod frame;
pub mod gossip;
mod mesh;
mod orphans;
mod peek;
mod received;
pub mod schedule;
mod session;
mod tips;

pub use first_write::{ALONE_MS, CONNECTED_MS, FirstWrite, Heard, May, OTHERS_MS, STUCK_MS};
pub use frame::{
    Announced, ENTRIES_BYTES, Frame, FrameError, MAX_ENTRIES, MAX_FETCH, MAX_FRAME, MAX_MARKS, MAX_RANGES,
    VERSION,
};
pub use mesh::{LEASE_MS, Mesh};
pub use orphans::{Cause, MAX_AUTHOR, MAX_PEER, MAX_STORE, Orphans, TTL_MS};
pub use peek::{Peek, peek};
pub use received::Received;
pub use session::{Behind, Config, Input, Output, Reason, Session, Wait};
pub use tips::{Leaves, Mark, Range, SharedTips, TIPS_DOMAIN, Tips, TipsDigest, lacking};

/// Authors whose forks are told of.
pub const MAX_FORKS: usize = 1024;

/// The forks that are known, of each author one: shared, and replaced as a whole.
pub type SharedForks = Arc<[Arc<ForkProof>]>;

/// Milliseconds.
pub type Millis = u64;
