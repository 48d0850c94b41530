//! The JSON documents of the API, the same types for the router, the client and `--json`. Fields are only ever added.
//!
//! Ids are hex; times are RFC 3339 in UTC with `hlc` (`milliseconds.counter`) beside them where order matters; sizes
//! are bytes.

use serde::{Deserialize, Serialize};

use super::key_text::KeyText;
use super::net_model::{HintsDoc, PeerDoc};

/// A store as `store list` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreDoc {
    pub id: String,
    pub name: String,
    pub created: String,
    /// Why it can't be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// Why it takes no writes, in a list of stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreList {
    pub stores: Vec<StoreDoc>,
}

/// One store's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreStatusDoc {
    #[serde(flatten)]
    pub store: StoreDoc,
    /// Absent where the store is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenDoc {
    pub live_keys: u64,
    pub entries: u64,
    pub authors: u64,
    pub conflicts: u64,
    pub log_bytes: u64,
    pub pack_bytes: u64,
    pub state_bytes: u64,
    /// Entries whose signature is still to be added; bytes that are not in the state file yet; large files under way.
    pub unsigned: u64,
    pub unapplied_bytes: u64,
    pub staged: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// Nodes that have signed two entries of one number: a copied data directory or a restored backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forked: Vec<String>,
    pub cursor: String,
    /// `eager` or `on-demand`: whether this node fetches content that nobody has read here.
    #[serde(default)]
    pub policy: String,
    /// Paths whose content is fetched all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<KeyText>,
    /// Of a store on demand: files that are more than an entry holds, and how much of them is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<HereDoc>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct HereDoc {
    pub files: u64,
    /// Those that are here to the last byte.
    pub whole: u64,
    pub bytes: u64,
    pub here: u64,
}

/// `PUT …/policy`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDoc {
    pub policy: String,
}

/// The node: `lattice status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusDoc {
    pub node: String,
    /// What the node is called; absent where nobody named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub version: String,
    /// Of the mesh: all its members have the same.
    #[serde(default)]
    pub root_store: String,
    pub data_dir: String,
    /// The daemon's process, absent where none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_pid: Option<u32>,
    pub mounts: Vec<MountDoc>,
    /// Why the daemon has no network, where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// That this node was revoked, as far as it knows, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Where the daemon serves HTTP, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Where this node can be reached.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The members, this node first.
    #[serde(default)]
    pub peers: Vec<PeerDoc>,
    /// What gossip came to since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<HintsDoc>,
    pub stores: Vec<StoreStatusDoc>,
}

/// `GET …/stats`: what a store holds, counted by walking it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatsDoc {
    #[serde(flatten)]
    pub store: StoreDoc,
    pub files: u64,
    pub dirs: u64,
    pub symlinks: u64,
    pub others: u64,
    /// Sum of the files' sizes.
    pub file_bytes: u64,
    pub largest_file: u64,
    pub open: OpenDoc,
}

/// A key in a listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyDoc {
    #[serde(flatten)]
    pub key: KeyText,
    /// `file`, `dir`, `symlink`, `fifo`, `socket`.
    pub kind: String,
    pub size: u64,
    /// Permission bits, as a number.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: String,
    /// The winner's entry; absent for a directory that is there only because of what stands in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Live heads that differ; 0: no conflict.
    pub conflict: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    pub keys: Vec<KeyDoc>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a write made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    pub entry: String,
    pub hlc: String,
    pub time: String,
    /// Keys removed, for a recursive delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}

/// One version of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionDoc {
    pub entry: String,
    pub author: String,
    pub hlc: String,
    pub time: String,
    /// As in [`KeyDoc`], or `deleted`.
    pub kind: String,
    pub size: u64,
    pub parents: Vec<String>,
    pub head: bool,
    pub winner: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    #[serde(flatten)]
    pub key: KeyText,
    /// Newest first.
    pub versions: Vec<VersionDoc>,
}

/// A key's heads, the winner first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConflictDoc {
    #[serde(flatten)]
    pub key: KeyText,
    pub etag: String,
    /// The key is a directory, because of what is below it, and no head is that directory: none is the winner.
    pub directory: bool,
    pub heads: Vec<HeadDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeadDoc {
    pub entry: String,
    pub author: String,
    pub hlc: String,
    pub time: String,
    pub kind: String,
    pub size: u64,
    pub winner: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConflictList {
    pub conflicts: Vec<ConflictDoc>,
}

/// What resolves a conflict: one of its heads, by id or unique prefix, or `dir`, the directory that is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    pub pick: String,
}

/// What one entry did; an event of `/events` and a line of `log`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntryDoc {
    /// Resume after this.
    pub cursor: String,
    pub entry: String,
    pub author: String,
    pub seq: u64,
    pub hlc: String,
    pub time: String,
    /// Made by this node.
    pub local: bool,
    pub ops: Vec<OpDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpDoc {
    /// `put`, `delete`, `attr`, `instruction`.
    pub op: String,
    #[serde(flatten)]
    pub key: Option<KeyText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntryList {
    pub entries: Vec<EntryDoc>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A line of a long task's answer (`gc`, `fsck`): progress, then one of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum TaskLine {
    Progress { message: String },
    Gc { store: String, name: String, chunks: u64, bytes: u64, kept_bytes: u64 },
    GcStores { removed: Vec<String> },
    Fsck(FsckDoc),
    Failed { problem: super::problem::Problem },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FsckDoc {
    pub store: String,
    pub name: String,
    pub entries: u64,
    pub chunks: u64,
    pub problems: Vec<String>,
    /// Whether the state made anew from the log equals the one that stood; absent where it wasn't asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt_equal: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportDoc {
    pub store: String,
    pub name: String,
    pub entries: u64,
    pub new_entries: u64,
    pub chunks: u64,
    pub bytes: u64,
    /// Entries dated too far ahead of this machine's clock, left out for now.
    pub early: u64,
    /// Keys in conflict in the store as it is now.
    pub conflicts: u64,
}

/// A mount of the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountDoc {
    pub dir: String,
    /// What is mounted there: one store, or all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// As in `/proc/mounts`.
    pub source: String,
    pub read_only: bool,
    /// Whether the kernel reads large files by itself.
    pub passthrough: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountList {
    pub mounts: Vec<MountDoc>,
    /// The daemon goes on when its last mount has gone.
    #[serde(default)]
    pub stays: bool,
}

/// What to mount, and where.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// An absolute path, percent-encoded.
    pub dir: String,
    #[serde(default)]
    pub store: Option<String>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub allow_other: bool,
    /// Everything goes through the daemon, also where the kernel could read large files by itself.
    #[serde(default)]
    pub no_passthrough: bool,
}

/// The name of a new store, or a new name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameDoc {
    pub name: String,
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub ops: Vec<BatchOp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BatchOp {
    /// A file's bytes, as text or as base64. At most 1 MiB in a batch: larger ones are a PUT.
    Put {
        key: String,
        #[serde(default)]
        key_base64: Option<String>,
        #[serde(default)]
        value: Option<String>,
        #[serde(default)]
        value_base64: Option<String>,
        #[serde(default)]
        if_match: Option<String>,
        #[serde(default)]
        if_absent: bool,
    },
    Delete {
        key: String,
        #[serde(default)]
        key_base64: Option<String>,
        #[serde(default)]
        if_match: Option<String>,
    },
    Mkdir {
        key: String,
        #[serde(default)]
        key_base64: Option<String>,
    },
    Rename {
        key: String,
        #[serde(default)]
        key_base64: Option<String>,
        to: String,
        #[serde(default)]
        to_base64: Option<String>,
        /// Refuse where `to` is there already.
        #[serde(default)]
        no_replace: bool,
    },
    /// The key as it was at an earlier version, by entry id or unique prefix.
    Restore {
        key: String,
        #[serde(default)]
        key_base64: Option<String>,
        version: String,
    },
}
