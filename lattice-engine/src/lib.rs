//! Replicated key-value stores: signed append-only logs, a deterministic merge, and content named by its hash.
//!
//! This crate knows nothing of FUSE, HTTP or terminals. Modules import downwards in this order only (a test checks it):
//! `id key clock hlc` < `wire` < `program` < `entry identity` < `chain merge access sync` < `disk` < `content log state` < `store` <
//! `node` < `net` < `decoders`.
#![forbid(unsafe_code)]

pub mod access;
pub mod chain;
pub mod clock;
pub mod content;
pub mod decoders;
pub mod disk;
pub mod entry;
pub mod hlc;
pub mod id;
pub mod identity;
pub mod key;
pub mod log;
pub mod merge;
pub mod net;
pub mod node;
pub mod program;
pub mod state;
pub mod store;
pub mod sync;
pub mod wire;
