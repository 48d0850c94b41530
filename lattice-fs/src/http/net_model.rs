//! The documents of peers, invites and syncing. As with the others, fields are only ever added.

use serde::{Deserialize, Serialize};

/// A member of the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerDoc {
    pub id: String,
    pub name: String,
    /// `this` node, `connected`, `away`, `refuses` where it says that this node was revoked, `revoked`, or `unknown` where no
    /// daemon runs that could tell.
    pub state: String,
    /// Round trip in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// The address that packets go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_seconds: Option<f64>,
    /// The last sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What the last attempt to connect came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(default)]
    pub addresses: Vec<String>,
    pub added: String,
    pub added_by: String,
    /// Entries, over all stores, that the peer has and this node lacks, and the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_here: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_there: Option<u64>,
    /// Whether the root store is exchanged with it, and nothing of it is lacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_live: Option<bool>,
    #[serde(default)]
    pub stores: Vec<PeerStoreDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerStoreDoc {
    pub store: String,
    pub name: String,
    pub live: bool,
    /// Authors that the peer holds entries of.
    pub tips: u64,
    pub behind_here: u64,
    pub behind_there: u64,
    /// The peer has said that it has the bytes of large files as well.
    #[serde(default)]
    pub whole: bool,
}

/// Hints of what members write that this node isn't connected to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HintsDoc {
    pub sent: u64,
    pub heard: u64,
    /// That brought an entry before any session did.
    pub taken: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerList {
    /// That this node was revoked, as far as it knows, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    pub peers: Vec<PeerDoc>,
}

/// What a ping came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PingDoc {
    pub peer: PeerDoc,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PingList {
    pub pings: Vec<PingDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    pub expires_seconds: u64,
    pub uses: u32,
    /// Also draw the ticket as a QR code.
    #[serde(default)]
    pub qr: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteDoc {
    /// To be handed over in secret: whoever has it may join.
    pub ticket: String,
    pub invite: String,
    pub expires: String,
    pub uses: u32,
    pub addresses: Vec<String>,
    /// The ticket as a QR code, where it was asked for and fits in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qr: Option<QrDoc>,
}

/// A QR code as a drawing of squares.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QrDoc {
    /// Squares on each side, without the four that must stay light around it.
    pub size: usize,
    /// The dark squares as an SVG path, one unit each.
    pub path: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Wait until so many other members hold it durably.
    #[serde(default)]
    pub wait_peers: Option<usize>,
    pub timeout_seconds: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncDoc {
    pub store: String,
    pub name: String,
    /// Members, beside this node, that hold durably what this node does.
    pub held_by: Vec<String>,
    /// Other members, and those of them that are connected.
    pub members: usize,
    pub connected: usize,
}
