//! What one side of a session says, and its bytes. Refuses: a frame over the cap of its kind, before anything is allocated
//! for it; more items than a kind may have; bytes that are not the one encoding of what they say.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::entry::{ForkProof, MAX_HEADER, MAX_PAYLOAD};
use crate::id::{EntryId, NodeId, StoreId};
use crate::wire::v1::sync_frame::Kind;
use crate::wire::{self, WireError, v1};

use super::{Mark, Range, TipsDigest};

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// Marks in one Tips or Have: 80 bytes each, so about 640 KiB.
pub const MAX_MARKS: usize = 8192;
/// Ranges in one Want.
pub const MAX_RANGES: usize = 8192;
/// Entries in one frame.
pub const MAX_ENTRIES: usize = 8192;
/// Entries asked for by name at a time.
pub const MAX_FETCH: usize = 256;
/// Bytes of entries that a sender puts into a frame, but for one entry that is larger.
pub const ENTRIES_BYTES: usize = 1 << 20;

const MIB: usize = 1 << 20;
/// The largest frame of any kind.
pub const MAX_FRAME: usize = 2 * MIB;

/// What one side says.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Hello { store: StoreId, genesis: EntryId, digest: TipsDigest, check: bool },
    Tips { marks: Vec<(NodeId, Mark)>, more: bool },
    Want(Vec<Range>),
    Entries { entries: Vec<v1::SignedEntry>, last: bool },
    Have { marks: Vec<(NodeId, Mark)>, taken: u64, whole: bool },
    Done,
    Fetch(Vec<(NodeId, Mark)>),
    FetchChain { author: NodeId, of: Mark, from: u64 },
    Fork(Arc<ForkProof>),
}

/// Why bytes are not a frame: the peer's mistake, and the end of the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of kind {kind} is {len} bytes long, over its limit of {limit}")]
    TooLong { kind: u32, len: u64, limit: usize },
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u32),
    #[error("an empty frame")]
    Empty,
    #[error("a frame's length is not a number")]
    BadLength,
    #[error("a frame is {0}")]
    Wire(#[from] WireError),
    #[error(
        "a frame speaks version {0} of the protocol, and this lattice version {VERSION}: upgrade one of them"
    )]
    Version(u32),
    #[error("a frame's {0} is wrong")]
    Field(&'static str),
}

/// How long a frame of each kind may be, by the field number of its kind.
fn cap(kind: u32) -> Result<usize, FrameError> {
    match kind {
        1 => Ok(256),
        2 | 3 | 5 => Ok(MIB),
        // One entry of any size fits: 1 MiB of payload, 64 KiB of header.
        4 => Ok(MAX_FRAME),
        6 => Ok(16),
        7 => Ok(64 << 10),
        8 => Ok(256),
        // Two headers and their signatures.
        9 => Ok(2 * MAX_HEADER + 256),
        other => Err(FrameError::UnknownKind(other)),
    }
}

/// What a reader learns of the next frame from its first bytes, before it allocates for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Bytes of the length that stands before the frame.
    pub prefix: usize,
    /// Bytes of the frame itself, within the cap of its kind.
    pub len: usize,
}

impl Announced {
    /// Reads a frame's length and kind. `None`: more bytes are needed, at most 5 in all.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let mut len = 0u64;
        for (i, byte) in bytes.iter().take(4).enumerate() {
            len |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 != 0 {
                continue;
            }
            // The frame's first byte is the tag of its kind.
            return match (len, bytes.get(i + 1)) {
                _ if i > 0 && *byte == 0 => Err(FrameError::BadLength),
                (0, _) => Err(FrameError::Empty),
                (_, None) => Ok(None),
                (_, Some(tag)) => {
                    let kind = u32::from(tag >> 3);
                    let limit = cap(kind)?;
                    if len > limit as u64 {
                        return Err(FrameError::TooLong { kind, len, limit });
                    }
                    Ok(Some(Self { prefix: i + 1, len: len as usize }))
                }
            };
        }
        if bytes.len() < 4 { Ok(None) } else { Err(FrameError::BadLength) }
    }
}

impl Frame {
    /// The frame as it stands on a stream: its length and its bytes.
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_length_delimited_to_vec().into()
    }

    /// Reads a frame without its length. Entries share the memory of `bytes`.
    pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
        let kind = u32::from(*bytes.first().ok_or(FrameError::Empty)? >> 3);
        let limit = cap(kind)?;
        if bytes.len() > limit {
            return Err(FrameError::TooLong { kind, len: bytes.len() as u64, limit });
        }
        if kind == 4 {
            return entries(bytes);
        }
        // Items of a few bytes in a frame of a MiB would be fifty times as large in memory.
        let smallest = 38;
        let message: v1::SyncFrame = match kind {
            2 | 3 | 5 | 7 if items(&bytes)? > bytes.len() / smallest => {
                return Err(FrameError::Field("items"));
            }
            _ => wire::decode_strict(bytes)?,
        };
        Self::from_wire(message.kind.ok_or(FrameError::Empty)?)
    }

    fn from_wire(kind: Kind) -> Result<Self, FrameError> {
        Ok(match kind {
            Kind::Hello(hello) => {
                if hello.version != VERSION {
                    return Err(FrameError::Version(hello.version));
                }
                if !matches!(hello.state_root.len(), 0 | 32) {
                    return Err(FrameError::Field("state root"));
                }
                let digest = hello.tips_digest[..].try_into().map_err(|_| FrameError::Field("digest"))?;
                Self::Hello {
                    store: StoreId::from_slice(&hello.store_id).ok_or(FrameError::Field("store id"))?,
                    genesis: EntryId::from_slice(&hello.genesis).ok_or(FrameError::Field("genesis"))?,
                    digest: TipsDigest(digest),
                    check: hello.check,
                }
            }
            Kind::Tips(tips) => Self::Tips { marks: marks(tips.tips, MAX_MARKS)?, more: tips.more },
            Kind::Have(have) => {
                let v1::Have { tips, taken, whole } = have;
                Self::Have { marks: marks(tips, MAX_MARKS)?, taken, whole }
            }
            Kind::Fetch(fetch) => Self::Fetch(marks(fetch.entries, MAX_FETCH)?),
            Kind::Want(want) => Self::Want(ranges(want.ranges)?),
            Kind::Done(_) => Self::Done,
            Kind::FetchChain(fetch) => {
                let (author, of) = mark(fetch.of.ok_or(FrameError::Field("entry"))?)?;
                if fetch.from == 0 || fetch.from > of.seq {
                    return Err(FrameError::Field("range"));
                }
                Self::FetchChain { author, of, from: fetch.from }
            }
            Kind::Fork(proof) => {
                let proof = ForkProof::try_from(proof).map_err(|_| FrameError::Field("proof"))?;
                Self::Fork(Arc::new(proof))
            }
            // Taken apart by `entries`.
            Kind::Entries(_) => return Err(FrameError::Field("kind")),
        })
    }

    fn to_wire(&self) -> v1::SyncFrame {
        let kind = match self {
            Self::Hello { store, genesis, digest, check } => Kind::Hello(v1::Hello {
                version: VERSION,
                store_id: Bytes::copy_from_slice(store.as_bytes()),
                genesis: Bytes::copy_from_slice(genesis.as_bytes()),
                tips_digest: Bytes::copy_from_slice(&digest.0),
                state_root: Bytes::new(),
                check: *check,
            }),
            Self::Tips { marks, more } => Kind::Tips(v1::Tips { tips: to_marks(marks), more: *more }),
            Self::Want(ranges) => Kind::Want(v1::Want {
                ranges: ranges
                    .iter()
                    .map(|r| v1::ChainRange {
                        author: Bytes::copy_from_slice(r.author.as_bytes()),
                        from: r.from,
                        to: r.to,
                    })
                    .collect(),
            }),
            Self::Entries { entries, last } => {
                Kind::Entries(v1::Entries { entries: entries.clone(), last: *last })
            }
            Self::Have { marks, taken, whole } => {
                Kind::Have(v1::Have { tips: to_marks(marks), taken: *taken, whole: *whole })
            }
            Self::Done => Kind::Done(v1::Done {}),
            Self::Fetch(marks) => Kind::Fetch(v1::Fetch { entries: to_marks(marks) }),
            Self::FetchChain { author, of, from } => {
                Kind::FetchChain(v1::FetchChain { of: Some(to_mark(author, of)), from: *from })
            }
            Self::Fork(proof) => Kind::Fork(v1::ForkProof::from(&**proof)),
        };
        v1::SyncFrame { kind: Some(kind) }
    }
}

fn to_mark(author: &NodeId, mark: &Mark) -> v1::ChainMark {
    v1::ChainMark {
        author: Bytes::copy_from_slice(author.as_bytes()),
        seq: mark.seq,
        id: Bytes::copy_from_slice(mark.id.as_bytes()),
    }
}

fn to_marks(marks: &[(NodeId, Mark)]) -> Vec<v1::ChainMark> {
    marks.iter().map(|(author, mark)| to_mark(author, mark)).collect()
}

fn mark(mark: v1::ChainMark) -> Result<(NodeId, Mark), FrameError> {
    let author = NodeId::from_slice(&mark.author).ok_or(FrameError::Field("author"))?;
    let id = EntryId::from_slice(&mark.id).ok_or(FrameError::Field("entry id"))?;
    if mark.seq == 0 {
        return Err(FrameError::Field("seq"));
    }
    Ok((author, Mark { seq: mark.seq, id }))
}

/// Sorted and unique. Of one author there may be several, where it forked.
fn marks(list: Vec<v1::ChainMark>, max: usize) -> Result<Vec<(NodeId, Mark)>, FrameError> {
    too_many(list.len(), max)?;
    let marks = list.into_iter().map(mark).collect::<Result<Vec<_>, _>>()?;
    if !marks.is_sorted_by(|a, b| a < b) {
        return Err(FrameError::Field("order"));
    }
    Ok(marks)
}

fn ranges(list: Vec<v1::ChainRange>) -> Result<Vec<Range>, FrameError> {
    too_many(list.len(), MAX_RANGES)?;
    let range = |r: v1::ChainRange| {
        let author = NodeId::from_slice(&r.author).ok_or(FrameError::Field("author"))?;
        if r.from == 0 || r.from > r.to || r.to == u64::MAX {
            return Err(FrameError::Field("range"));
        }
        Ok(Range { author, from: r.from, to: r.to })
    };
    let ranges = list.into_iter().map(range).collect::<Result<Vec<_>, _>>()?;
    if !ranges.is_sorted_by(|a, b| a.author < b.author) {
        return Err(FrameError::Field("order"));
    }
    Ok(ranges)
}

fn too_many(have: usize, limit: usize) -> Result<(), FrameError> {
    if have > limit { Err(WireError::TooMany { have, limit }.into()) } else { Ok(()) }
}

/// The fields of an encoded message, taken apart one level deep. Strict: as short as they can be, in order.
struct Fields {
    bytes: Bytes,
    last: u8,
}

enum Field {
    Bytes(u8, Bytes),
    Flag(u8),
}

impl Fields {
    fn new(bytes: Bytes) -> Self {
        Self { bytes, last: 0 }
    }

    fn next(&mut self) -> Result<Option<Field>, FrameError> {
        let len = self.bytes.len();
        let bad = || FrameError::Wire(WireError::NotCanonical { len });
        let Some(tag) = self.bytes.first().copied() else { return Ok(None) };
        let number = tag >> 3;
        if number < self.last || tag & 0x80 != 0 {
            return Err(bad());
        }
        self.last = number;
        let _ = self.bytes.split_to(1);
        match tag & 7 {
            2 => {
                let before = self.bytes.len();
                let size = prost::decode_length_delimiter(&mut self.bytes).map_err(WireError::from)?;
                if before - self.bytes.len() != prost::length_delimiter_len(size) || size > self.bytes.len() {
                    return Err(bad());
                }
                Ok(Some(Field::Bytes(number, self.bytes.split_to(size))))
            }
            // The only numbers in an Entries frame are flags, and a flag that is not set is not written.
            0 if self.bytes.first() == Some(&1) => {
                let _ = self.bytes.split_to(1);
                Ok(Some(Field::Flag(number)))
            }
            _ => Err(bad()),
        }
    }
}

/// How many items a frame's lists have, without making room for them.
fn items(frame: &Bytes) -> Result<usize, FrameError> {
    let Some(Field::Bytes(_, mut body)) = Fields::new(frame.clone()).next()? else {
        return Err(FrameError::Empty);
    };
    let mut count = 0;
    while body.first() == Some(&0x0a) {
        let _ = body.split_to(1);
        let size = prost::decode_length_delimiter(&mut body).map_err(WireError::from)?;
        if size > body.len() {
            return Err(WireError::NotCanonical { len: body.len() }.into());
        }
        let _ = body.split_to(size);
        count += 1;
    }
    Ok(count)
}

/// An Entries frame: by hand, so that two MiB are neither copied nor encoded again to be checked.
fn entries(frame: Bytes) -> Result<Frame, FrameError> {
    let len = frame.len();
    let bad = || FrameError::Wire(WireError::NotCanonical { len });
    let mut outer = Fields::new(frame);
    let Some(Field::Bytes(4, body)) = outer.next()? else { return Err(bad()) };
    if outer.next()?.is_some() {
        return Err(bad());
    }
    let mut body = Fields::new(body);
    let mut entries = Vec::new();
    let mut last = false;
    while let Some(field) = body.next()? {
        match field {
            Field::Bytes(1, entry) if entries.len() < MAX_ENTRIES => entries.push(signed(entry)?),
            Field::Bytes(1, _) => too_many(MAX_ENTRIES + 1, MAX_ENTRIES)?,
            Field::Flag(2) if !last => last = true,
            _ => return Err(bad()),
        }
    }
    Ok(Frame::Entries { entries, last })
}

fn signed(bytes: Bytes) -> Result<v1::SignedEntry, FrameError> {
    let mut fields = Fields::new(bytes);
    let mut entry = v1::SignedEntry::default();
    let mut seen = 0;
    while let Some(field) = fields.next()? {
        let Field::Bytes(number, bytes) = field else { return Err(FrameError::Field("entry")) };
        if number <= seen || bytes.is_empty() {
            return Err(FrameError::Field("entry"));
        }
        seen = number;
        match number {
            1 if bytes.len() <= MAX_HEADER => entry.header = bytes,
            2 if bytes.len() == 64 => entry.signature = bytes,
            3 if bytes.len() <= MAX_PAYLOAD => entry.payload = bytes,
            _ => return Err(FrameError::Field("entry")),
        }
    }
    Ok(entry)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
