//! The bytes of a segment: its header, the frame of a record, the body of each kind. `FORMAT.md` has the tables.
//!
//! A frame's checksum covers the store, the segment and the offset it was written for, so a record is valid in one place
//! only: a copy of a log stored *in* the log is never mistaken for records. Refuses nothing by itself: it says what is
//! wrong, and its callers decide.

use bytes::Bytes;
use crc32fast::Hasher;

use crate::id::{NodeId, StoreId};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEAD: u64 = 40;
/// Bytes before a record's body.
pub(super) const RECORD_HEAD: usize = 17;
/// Bytes of an entry's body before its header.
const ENTRY_HEAD: usize = 5;
/// Where an entry's payload starts within its record, less the length of its header.
pub const PAYLOAD_AT: u32 = (RECORD_HEAD + ENTRY_HEAD) as u32;
/// The longest body of a record: 16 MiB.
pub const MAX_BODY: usize = 16 << 20;

const MAGIC: &[u8; 8] = b"lattice\x01";
const VERSION: u32 = 1;
const SIGNED: u8 = 1;
const SIGNATURE: usize = 64;

pub(super) const KIND_ENTRY: u8 = 1;
pub(super) const KIND_SIGNATURES: u8 = 2;
pub(super) const KIND_INTENT: u8 = 3;
pub(super) const KIND_INTENT_DONE: u8 = 4;
/// Nothing but a frame: written on close, so that the `synced` field vouches for all that is before it.
pub(super) const KIND_CLOSED: u8 = 5;

/// A record to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordRef<'a> {
    /// A link of an author's chain. An own entry may be signed later: see [`RecordRef::Signatures`].
    Entry { header: &'a [u8], payload: &'a [u8], signature: Option<&'a [u8; 64]> },
    /// Signatures of entries appended before without one: sequence number and signature, all of one author.
    Signatures { author: NodeId, list: &'a [(u64, [u8; 64])] },
    /// A staged file that will become an entry. The body is the store's own.
    Intent { body: &'a [u8] },
    /// That intent was carried out or given up.
    IntentDone { id: u64 },
}

/// A record as read back. Its parts share one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// See [`RecordRef::Entry`].
    Entry { header: Bytes, payload: Bytes, signature: Option<[u8; 64]> },
    /// See [`RecordRef::Signatures`].
    Signatures { author: NodeId, list: Vec<(u64, [u8; 64])> },
    /// See [`RecordRef::Intent`].
    Intent { body: Bytes },
    /// See [`RecordRef::IntentDone`].
    IntentDone { id: u64 },
    /// A kind that this program doesn't know: kept, and left out of scans.
    Unknown { kind: u8, body: Bytes },
}

impl RecordRef<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Entry { .. } => KIND_ENTRY,
            Self::Signatures { .. } => KIND_SIGNATURES,
            Self::Intent { .. } => KIND_INTENT,
            Self::IntentDone { .. } => KIND_INTENT_DONE,
        }
    }

    fn body_len(&self) -> usize {
        match self {
            Self::Entry { header, payload, signature } => {
                ENTRY_HEAD + header.len() + payload.len() + signature.map_or(0, |s| s.len())
            }
            Self::Signatures { list, .. } => 32 + list.len() * (8 + SIGNATURE),
            Self::Intent { body } => body.len(),
            Self::IntentDone { .. } => 8,
        }
    }

    /// Bytes of the whole record, framing included.
    pub(super) fn record_len(&self) -> usize {
        RECORD_HEAD + self.body_len()
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry { header, payload, signature } => {
                // Fits: the writer refuses a body over MAX_BODY before it encodes.
                out.extend_from_slice(&(header.len() as u32).to_le_bytes());
                out.push(if signature.is_some() { SIGNED } else { 0 });
                out.extend_from_slice(header);
                out.extend_from_slice(payload);
                out.extend_from_slice(signature.map_or(&[][..], |s| &s[..]));
            }
            Self::Signatures { author, list } => {
                out.extend_from_slice(author.as_bytes());
                for (seq, signature) in *list {
                    out.extend_from_slice(&seq.to_le_bytes());
                    out.extend_from_slice(signature);
                }
            }
            Self::Intent { body } => out.extend_from_slice(body),
            Self::IntentDone { id } => out.extend_from_slice(&id.to_le_bytes()),
        }
    }
}

/// What every frame checksum of one segment starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(store: &StoreId, segment: u64) -> Self {
        let mut h = Hasher::new();
        h.update(store.as_bytes());
        h.update(&segment.to_le_bytes());
        Self(h.finalize())
    }

    fn frame_crc(self, offset: u64, frame: &[u8]) -> u32 {
        let mut h = Hasher::new_with_initial(self.0);
        h.update(&offset.to_le_bytes());
        h.update(frame);
        h.finalize()
    }
}

/// A record's frame, its own checksum found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub body_len: u32,
    /// How much of this segment was durable when the record was written.
    pub synced: u32,
    pub kind: u8,
    body_crc: u32,
}

impl Frame {
    /// `None` if these bytes aren't a frame written for this place. `bytes` holds at least [`RECORD_HEAD`].
    pub(super) fn parse(bytes: &[u8], seed: Seed, offset: u64) -> Option<Self> {
        let head: &[u8; RECORD_HEAD] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let frame = Self { body_len: u32_at(0), synced: u32_at(4), kind: head[8], body_crc: u32_at(9) };
        // The cheap tests first: a search for the next frame tries every byte of a damaged range.
        let plausible =
            frame.kind != 0 && frame.body_len as usize <= MAX_BODY && u64::from(frame.synced) <= offset;
        (plausible && seed.frame_crc(offset, &head[..13]) == u32_at(13)).then_some(frame)
    }

    pub(super) fn record_len(&self) -> usize {
        RECORD_HEAD + self.body_len as usize
    }

    pub(super) fn body_is_good(&self, body: &[u8]) -> bool {
        crc32fast::hash(body) == self.body_crc
    }
}

/// Appends one framed record to `out`. `offset` is where it will lie in its segment.
pub(super) fn encode(record: &RecordRef<'_>, seed: Seed, offset: u64, synced: u32, out: &mut Vec<u8>) {
    frame(record.kind(), seed, offset, synced, out, |out| record.put_body(out));
}

/// Appends the record that closes a log.
pub(super) fn encode_closed(seed: Seed, offset: u64, synced: u32, out: &mut Vec<u8>) {
    frame(KIND_CLOSED, seed, offset, synced, out, |_| {});
}

fn frame(kind: u8, seed: Seed, offset: u64, synced: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD]);
    body(out);
    let (_, record) = out.split_at_mut(start);
    let (head, body) = record.split_at_mut(RECORD_HEAD);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&synced.to_le_bytes());
    head[8] = kind;
    head[9..13].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let crc = seed.frame_crc(offset, &head[..13]);
    head[13..].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a record of a kind that this program doesn't know.
#[cfg(test)]
pub(super) fn encode_kind(kind: u8, body: &[u8], seed: Seed, offset: u64, out: &mut Vec<u8>) {
    frame(kind, seed, offset, 0, out, |out| out.extend_from_slice(body));
}

/// Reads a body whose checksum is good. The error says what makes no sense in it.
pub(super) fn decode(kind: u8, body: Bytes) -> Result<Record, &'static str> {
    match kind {
        KIND_ENTRY => decode_entry(body),
        KIND_SIGNATURES => decode_signatures(&body),
        KIND_INTENT => Ok(Record::Intent { body }),
        KIND_INTENT_DONE => match body[..].try_into() {
            Ok(id) => Ok(Record::IntentDone { id: u64::from_le_bytes(id) }),
            Err(_) => Err("the end of an intent must be 8 bytes"),
        },
        kind => Ok(Record::Unknown { kind, body }),
    }
}

fn decode_entry(body: Bytes) -> Result<Record, &'static str> {
    let Some((&[a, b, c, d, flags], rest)) = body.split_first_chunk::<ENTRY_HEAD>() else {
        return Err("an entry is shorter than its lengths");
    };
    let header_len = u32::from_le_bytes([a, b, c, d]) as usize;
    if flags & !SIGNED != 0 {
        return Err("an entry has flags that this program doesn't know");
    }
    let signature = match flags {
        0 => None,
        _ => Some(*rest.last_chunk::<SIGNATURE>().ok_or("an entry is shorter than its signature")?),
    };
    let end = body.len() - signature.map_or(0, |_| SIGNATURE);
    if header_len > end - ENTRY_HEAD {
        return Err("an entry's header is longer than the record");
    }
    let payload = ENTRY_HEAD + header_len;
    Ok(Record::Entry {
        header: body.slice(ENTRY_HEAD..payload),
        payload: body.slice(payload..end),
        signature,
    })
}

/// How long an entry's header is, from the beginning of its record; `None`: it is no entry.
pub(super) fn header_len(frame: &Frame, record: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(*record.get(RECORD_HEAD..)?.first_chunk()?) as usize;
    (frame.kind == KIND_ENTRY && len <= (frame.body_len as usize).checked_sub(ENTRY_HEAD)?).then_some(len)
}

fn decode_signatures(body: &[u8]) -> Result<Record, &'static str> {
    let Some((author, list)) = body.split_first_chunk::<32>() else {
        return Err("a list of signatures has no author");
    };
    let (items, []) = list.as_chunks::<{ 8 + SIGNATURE }>() else {
        return Err("a list of signatures ends within one");
    };
    let item = |item: &[u8; 8 + SIGNATURE]| {
        let (mut seq, mut signature) = ([0; 8], [0; SIGNATURE]);
        seq.copy_from_slice(&item[..8]);
        signature.copy_from_slice(&item[8..]);
        (u64::from_le_bytes(seq), signature)
    };
    Ok(Record::Signatures { author: NodeId(*author), list: items.iter().map(item).collect() })
}

/// What a segment's header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentHead {
    Good,
    /// Damaged, or not a header at all.
    Bad,
    OtherStore(StoreId),
    OtherVersion(u32),
}

pub(super) fn segment_head(store: &StoreId, segment: u64) -> [u8; SEGMENT_HEAD as usize] {
    let mut head = [0; SEGMENT_HEAD as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..28].copy_from_slice(store.as_bytes());
    head[28..36].copy_from_slice(&segment.to_le_bytes());
    let crc = crc32fast::hash(&head[..36]);
    head[36..].copy_from_slice(&crc.to_le_bytes());
    head
}

pub(super) fn check_segment_head(
    head: &[u8; SEGMENT_HEAD as usize],
    store: &StoreId,
    segment: u64,
) -> SegmentHead {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if &head[..8] != MAGIC || crc32fast::hash(&head[..36]) != word(36) {
        return SegmentHead::Bad;
    }
    if word(8) != VERSION {
        return SegmentHead::OtherVersion(word(8));
    }
    if head == &segment_head(store, segment) {
        return SegmentHead::Good;
    }
    match StoreId::from_slice(&head[12..28]) {
        Some(other) if other != *store => SegmentHead::OtherStore(other),
        _ => SegmentHead::Bad,
    }
}
