//! What an entry does: the operations of its payload, as checked domain types. `wire` holds their bytes.

use bytes::Bytes;

use crate::hlc::Hlc;
use crate::id::{ChunkId, EntryId, FileId};
use crate::key::Key;

/// Values up to this many bytes stand in the entry itself; larger ones are chunks.
pub const MAX_INLINE: usize = 4096;
/// A manifest of more chunks than this is itself a chunk.
pub const MAX_DIRECT_CHUNKS: usize = 16;

/// One operation, and the heads of its key that the author saw (entry ids; sorted, unique).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: Key,
        node: Node,
        new_name: bool,
        parents: Vec<EntryId>,
    },
    Delete {
        key: Key,
        parents: Vec<EntryId>,
    },
    /// Attributes of a file: last writer wins per field, no parents, no conflict. `key` may be the root.
    Attr {
        key: Key,
        file_id: FileId,
        attrs: Attrs,
    },
    /// What a program does that isn't here: kept, and its store's projection waits at it. An instruction of a native
    /// program is never met in an entry: it is decoded to the operation that it is.
    Instruction {
        program_id: String,
        payload: Bytes,
        parents: Vec<EntryId>,
    },
}

impl Op {
    /// The key it touches; an instruction names none.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Attr { key, .. } => Some(key),
            Self::Instruction { .. } => None,
        }
    }

    pub fn parents(&self) -> &[EntryId] {
        match self {
            Self::Put { parents, .. } | Self::Delete { parents, .. } | Self::Instruction { parents, .. } => {
                parents
            }
            Self::Attr { .. } => &[],
        }
    }
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub file_id: FileId,
    pub value: Value,
    /// Only what the author set; these become registers of (key, file id).
    pub attrs: Attrs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    File(Content),
    Dir,
    Symlink(Bytes),
    Fifo,
    Socket,
}

/// A file's bytes, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// At most [`MAX_INLINE`] bytes.
    Inline(Bytes),
    /// At most [`MAX_DIRECT_CHUNKS`] chunks, in order.
    Chunks(Vec<Chunk>),
    /// More: the chunk that holds the encoded manifest. `size` is the file's.
    Manifest { manifest: Chunk, size: u64 },
    /// Local only, never in an entry: inline bytes that the derived state leaves where they are in the log.
    InLog(LogRange),
}

/// A run of bytes in this node's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    pub segment: u64,
    /// From the start of the segment's file.
    pub offset: u64,
    pub len: u32,
}

impl Content {
    pub const EMPTY: Self = Self::Inline(Bytes::new());

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunks(chunks) => chunks.iter().map(|c| c.len).sum(),
            Self::Manifest { size, .. } => *size,
            Self::InLog(range) => u64::from(range.len),
        }
    }
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// `None`: a hole, `len` zero bytes stored nowhere.
    pub id: Option<ChunkId>,
    pub len: u64,
}

/// Seconds and nanoseconds since the epoch, as `timespec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    pub s: i64,
    pub ns: u32,
}

impl From<Hlc> for Time {
    fn from(hlc: Hlc) -> Self {
        let (s, ns) = hlc.as_time();
        Self { s, ns }
    }
}

/// Attributes; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attrs {
    /// Permission bits, `0o7777`.
    pub mode: Option<u32>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Sorted by name, unique. `None` removes.
    pub xattrs: Vec<(Bytes, Option<Bytes>)>,
}

impl Attrs {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `later` on top of these, field by field: one set of attributes that does what the two did in turn.
    pub fn overlay(&mut self, later: Self) {
        self.mode = later.mode.or(self.mode);
        self.mtime = later.mtime.or(self.mtime);
        self.atime = later.atime.or(self.atime);
        self.uid = later.uid.or(self.uid);
        self.gid = later.gid.or(self.gid);
        for (name, value) in later.xattrs {
            match self.xattrs.binary_search_by(|(n, _)| n.cmp(&name)) {
                Ok(i) => self.xattrs[i].1 = value,
                Err(i) => self.xattrs.insert(i, (name, value)),
            }
        }
    }
}
