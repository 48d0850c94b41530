//! The network: this node's endpoint, the other members it keeps connected to, and what goes over those connections.
//! The only module that knows iroh, and the only one in the engine with async code: blocking work (signatures, redb,
//! fsync) is done on threads that may block.
//!
//! - [`endpoint`]: the endpoint, on its own port. [`gate`]: who may connect: members, before a byte is said.
//! - [`dial`] keeps every member connected and [`accept`] takes in who dials us; [`peers`] settles which connection counts.
//! - [`link`] is a connection that has been greeted, [`peer`] its whole life. One stream is control; one per store drives a
//!   [`crate::sync::Session`] ([`exchange`]); chunks have streams of their own ([`chunks`]).
//! - [`publish`] makes commits durable and tells sessions of them.
//! - [`join`] admits a node that shows a ticket.
//!
//! It refuses strangers, peers of another mesh, and frames over their limits. A peer that misbehaves or vanishes costs
//! its own connection and delays nobody.

mod accept;
mod book;
mod chunks;
mod config;
mod dial;
mod endpoint;
mod error;
mod exchange;
mod files;
mod frame;
mod gate;
mod join;
mod link;
mod peer;
mod peers;
mod publish;
mod stores;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use iroh::Endpoint;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::id::NodeId;
use crate::node::Node;

pub use config::{Config, Relay};
pub use error::{NetError, Result};

use book::Book;
use gate::Gate;
use peers::Peers;
use stores::Stores;

/// What members speak.
pub const ALPN: &[u8] = b"lattice/1";
/// What a node speaks that wants to become one.
pub const JOIN_ALPN: &[u8] = b"lattice-join/1";

/// Why a connection was closed, as the other side sees it.
mod code {
    use iroh::endpoint::VarInt;

    pub const CLOSED: VarInt = VarInt::from_u32(0);
    pub const NOT_A_MEMBER: VarInt = VarInt::from_u32(1);
    pub const DUPLICATE: VarInt = VarInt::from_u32(2);
    pub const STALE: VarInt = VarInt::from_u32(3);
    pub const PROTOCOL: VarInt = VarInt::from_u32(4);
    pub const OTHER_MESH: VarInt = VarInt::from_u32(5);
    pub const DONE: VarInt = VarInt::from_u32(6);
}
