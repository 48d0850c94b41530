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
pub use tips::{Mark, Range, SharedTips, TIPS_DOMAIN, Tips, TipsDigest, lacking};

/// Milliseconds.
pub type Millis = u64;
