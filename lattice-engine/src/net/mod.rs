//! The network: this node's endpoint, the other members it keeps connected to, and what goes over those connections.
//! The only module that knows iroh, and the only one in the engine with async code: blocking work (signatures, redb,
//! fsync) is done on threads that may block.
//!
//! - [`endpoint`]: the endpoint, on its own port. [`gate`]: who may connect: members, before a byte is said.
//! - [`timing`] drives the schedule that says who is asked when, [`dial`] connects who isn't, and [`accept`] takes in who
//!   dials us; [`peers`] settles which connection counts.
//! - [`link`] is a connection that has been greeted, [`peer`] its whole life. One stream is control; one per store drives a
//!   [`crate::sync::Session`] ([`exchange`]); chunks have streams of their own ([`chunks`]).
//! - [`first`] holds the first write of a start until peers have said what they hold of this node.
//! - [`hints`] is gossip, for members that aren't connected.
//! - [`publish`] makes commits durable and tells sessions of them.
//! - [`local`] is what the threads and sessions of one store share.
//! - [`members`] follows who the members are ([`introducers`] at first), [`stores`] which stores there are, [`genesis`] fetches the beginnings of new
//!   ones, [`content`] the bytes of large files; [`asked`] is what stores ask of all this.
//! - [`revoked`]: what this node hears when it was revoked itself.
//! - [`mod@join`] admits a node that shows a ticket.
//!
//! It refuses strangers, peers of another mesh, and frames over their limits. A peer that misbehaves or vanishes costs
//! its own connection and delays nobody.

mod accept;
mod asked;
mod book;
mod buffers;
mod chunks;
mod config;
mod content;
mod dial;
mod endpoint;
mod error;
mod exchange;
mod files;
mod first;
mod frame;
mod gate;
mod genesis;
mod hints;
mod introducers;
mod join;
mod link;
mod local;
mod members;
mod peer;
mod peers;
mod publish;
mod reopen;
mod revoked;
mod shared;
mod status;
mod stores;
mod timing;
mod wake;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use crate::id::NodeId;
use crate::node::Node;
use crate::sync::schedule::Event;

pub use config::{Config, Relay};
pub use error::{NetError, Result};
pub use hints::HintCounts;
pub use join::{Joined, join};
pub use revoked::revoked_by;
pub use status::{PeerState, PeerStatus, StoreSync};

use shared::Shared;

/// What members speak.
pub const ALPN: &[u8] = b"lattice/1";
/// What a node speaks that wants to become one.
pub const JOIN_ALPN: &[u8] = b"lattice-join/1";

/// In the data directory: what the network keeps for itself.
const DIR: &str = "net";

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
    pub const REVOKED: VarInt = VarInt::from_u32(7);
}

/// Takes any bytes for what a peer or a joiner may send in a frame.
pub(crate) fn decode_any(bytes: &[u8]) {
    use prost::Message;

    use crate::wire::v1;

    let _ = v1::StreamOpen::decode(bytes);
    let _ = v1::ControlFrame::decode(bytes);
    let _ = (v1::ChunkRequest::decode(bytes), v1::ChunkAnswer::decode(bytes));
    let _ = (v1::JoinRequest::decode(bytes), v1::JoinAnswer::decode(bytes));
    if let Ok(signed) = v1::SignedEntry::decode(bytes) {
        let _ = genesis::decode(signed);
    }
    let _ = String::from_utf8_lossy(bytes).parse::<book::Address>();
}

/// How long peers may take with what was written last before a stop.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How long the end of connections may take: a few round trips to the farthest peer, for the last word and its answer. Who
/// never answered (a dial to a peer that is off) would be waited for longer, and for nothing.
const CLOSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);
const ROUND_TRIPS: u32 = 3;

/// A node's running network. Cheap to clone. Ends with [`Net::stop`].
#[derive(Debug, Clone)]
pub struct Net(Arc<Shared>);

impl Net {
    /// Binds the endpoint and begins to dial the members. Wants a tokio runtime around it.
    pub async fn start(node: Node, config: Config) -> Result<Self> {
        let shared = Shared::bind(node, config).await?;
        // Before anybody can write: the first write is held by what is known of a store here.
        let known = shared.clone();
        let looked =
            tokio::task::spawn_blocking(move || drop(known.stores.refresh(&known.node, &known.stop)));
        looked.await.map_err(|_| NetError::Stopping)?;
        shared.clone().run();
        Ok(Self(shared))
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.0.me
    }

    /// Where this node can be reached, as far as it knows.
    pub fn addresses(&self) -> Vec<String> {
        self.0.addresses().iter().map(ToString::to_string).collect()
    }

    /// Dials everybody who isn't connected, now.
    pub fn dial_now(&self) {
        self.0.told(Event::NetworkChanged);
    }

    /// What gossip came to.
    pub fn hints(&self) -> HintCounts {
        self.0.hints.counts()
    }

    /// Gives connected peers what was written last, tells them goodbye, ends every task and closes the endpoint.
    pub async fn stop(&self) {
        let shared = &self.0;
        self.hand_over().await;
        for local in shared.stores.all().values() {
            local.handle.set_network(None);
        }
        shared.stop.cancel();
        let farthest = shared.peers.links().iter().filter_map(|link| link.rtt()).max().unwrap_or_default();
        for link in shared.peers.links() {
            link.close(code::CLOSED, "it stops");
        }
        shared.hints.stop().await;
        let patience = (farthest * ROUND_TRIPS).clamp(*CLOSE.start(), *CLOSE.end());
        if tokio::time::timeout(patience, endpoint::close(&shared.endpoint)).await.is_err() {
            tracing::debug!("some connections end without the other side's answer");
        }
        shared.join_all().await;
    }

    /// What is written and then shut down should not have to wait for the next start.
    async fn hand_over(&self) {
        let stores = self.0.stores.all();
        let published = tokio::task::spawn_blocking({
            let stores = stores.clone();
            move || stores.values().for_each(|local| publish::publish(local))
        });
        // Where nothing could be published there is less to hand over.
        let _ = published.await;
        let deadline = std::time::Instant::now() + HAND_OVER;
        for local in stores.values() {
            let tips = local.handle.published();
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let connected = local.sessions.lock().len();
            self.wait_told(local.handle.id(), &tips, connected, left).await;
        }
    }
}
