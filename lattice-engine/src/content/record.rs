//! The bytes of an ordinary pack: a header, then records that describe themselves, so that the index can be rebuilt by
//! reading. See FORMAT.md. Decoding refuses what its checksum doesn't cover.

use crate::id::ChunkId;

use super::index::{FLAG_ZSTD, Location};
use super::layout::MAX_CHUNK_LEN;

pub(super) const PACK_MAGIC: &[u8; 8] = b"LATTPACK";
pub(super) const VERSION: u32 = 1;
/// Bytes of a pack's header; the first record follows.
pub(super) const PACK_HEADER: u64 = 16;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 56;
/// Records start at multiples of this.
pub(super) const ALIGN: u64 = 8;

const RECORD_MAGIC: [u8; 4] = *b"LREC";

/// What the header of a pack or sidecar says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    Valid,
    Version(u32),
    Invalid,
}

pub(super) fn file_header(magic: &[u8; 8]) -> [u8; PACK_HEADER as usize] {
    let mut out = [0; PACK_HEADER as usize];
    out[..8].copy_from_slice(magic);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn check_header(bytes: &[u8; PACK_HEADER as usize], magic: &[u8; 8]) -> Header {
    let crc = u32_at(bytes, 12);
    if &bytes[..8] != magic || crc != crc32fast::hash(&bytes[..12]) {
        return Header::Invalid;
    }
    match u32_at(bytes, 8) {
        VERSION => Header::Valid,
        version => Header::Version(version),
    }
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub id: ChunkId,
    pub stored_len: u32,
    pub len: u32,
    pub flags: u8,
    pub payload_crc: u32,
}

impl Record {
    pub fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut out = [0; RECORD_HEADER];
        out[..4].copy_from_slice(&RECORD_MAGIC);
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[20] = self.flags;
        out[24..].copy_from_slice(&self.id.0);
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: no record starts here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER)?;
        if bytes[..4] != RECORD_MAGIC || u32_at(bytes, 4) != crc32fast::hash(&bytes[8..]) {
            return None;
        }
        let record = Self {
            stored_len: u32_at(bytes, 8),
            len: u32_at(bytes, 12),
            payload_crc: u32_at(bytes, 16),
            flags: bytes[20],
            id: ChunkId::from_slice(&bytes[24..])?,
        };
        let plausible = u64::from(record.len) <= MAX_CHUNK_LEN
            && record.stored_len <= record.len
            && record.flags & !FLAG_ZSTD == 0
            && (record.flags & FLAG_ZSTD != 0 || record.stored_len == record.len);
        plausible.then_some(record)
    }

    /// Where the payload of a record that starts at `offset` stands.
    pub fn location(&self, pack: u64, offset: u64) -> Location {
        Location {
            pack,
            offset: offset + RECORD_HEADER as u64,
            stored_len: self.stored_len,
            len: self.len,
            flags: self.flags,
        }
    }

    /// Where the next record starts.
    pub fn next(&self, offset: u64) -> u64 {
        (offset + RECORD_HEADER as u64 + u64::from(self.stored_len)).next_multiple_of(ALIGN)
    }
}

/// Could a record start with these bytes? Cheap: for finding the next one after damage.
pub(super) fn looks_like_record(bytes: &[u8]) -> bool {
    bytes.starts_with(&RECORD_MAGIC)
}

/// The whole 4 KiB blocks within a range: what can be punched out of it.
pub(super) fn whole_blocks(start: u64, end: u64) -> Option<(u64, u64)> {
    let (from, to) = (start.next_multiple_of(4096), end - end % 4096);
    (from < to).then(|| (from, to - from))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_no_flipped_bit_passes() {
        let record =
            Record { id: ChunkId([7; 32]), stored_len: 100, len: 300, flags: FLAG_ZSTD, payload_crc: 9 };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_tells_a_newer_version_from_damage() {
        let header = file_header(PACK_MAGIC);
        assert_eq!(check_header(&header, PACK_MAGIC), Header::Valid);
        let mut newer = header;
        newer[8] = 2;
        let crc = crc32fast::hash(&newer[..12]);
        newer[12..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&newer, PACK_MAGIC), Header::Version(2));
        newer[3] ^= 1;
        assert_eq!(check_header(&newer, PACK_MAGIC), Header::Invalid);
    }
}
