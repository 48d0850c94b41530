//! Reading an ordinary pack from end to end: every record that is whole, and what lies between them. A record counts
//! only if its bytes have the hash that it is named by: a look-up must never find what a later read would refuse.

use std::io;
use std::sync::Arc;

use super::codec::Codec;
use super::index::FLAG_ZSTD;
use super::manifest;
use super::record::{ALIGN, RECORD_HEADER, Record, looks_like_record, whole_blocks};
use crate::disk::DiskFile;

/// Read at a time while looking for the next record after damage.
const WINDOW: usize = 1 << 20;

/// What a record's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Intact,
    /// A collection freed it.
    Punched,
    Damaged,
}

/// Where the last record ends, and the ranges before that hold no record.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub end: u64,
    pub gaps: Vec<(u64, u64)>,
}

pub(super) struct Scan<'a> {
    pub file: &'a Arc<dyn DiskFile>,
    pub codec: &'a Codec,
    pub len: u64,
}

impl Scan<'_> {
    /// Visits the intact records from offset `from` on, in order.
    pub fn run(&self, from: u64, visit: &mut dyn FnMut(u64, Record)) -> io::Result<Scanned> {
        let mut out = Scanned { end: from, gaps: Vec::new() };
        let mut pos = from;
        while pos + RECORD_HEADER as u64 <= self.len {
            let record = self.header(pos)?.filter(|record| record.next(pos) <= self.len);
            let payload = record.map(|record| self.payload(pos, &record)).transpose()?;
            match (record, payload) {
                (Some(record), Some(state @ (Payload::Intact | Payload::Punched))) => {
                    if out.end < pos {
                        out.gaps.push((out.end, pos - out.end));
                    }
                    if state == Payload::Intact {
                        visit(pos, record);
                    }
                    pos = record.next(pos);
                    out.end = pos;
                }
                // Its header can be trusted, so nothing inside it is taken for a record.
                (Some(record), _) => pos = record.next(pos),
                (None, _) => pos = self.find(pos + ALIGN)?,
            }
        }
        Ok(out)
    }

    pub fn header(&self, pos: u64) -> io::Result<Option<Record>> {
        let mut bytes = [0; RECORD_HEADER];
        self.file.read_exact_at(&mut bytes, pos)?;
        Ok(Record::decode(&bytes))
    }

    pub fn payload(&self, pos: u64, record: &Record) -> io::Result<Payload> {
        let mut stored = vec![0; record.stored_len as usize];
        let start = pos + RECORD_HEADER as u64;
        self.file.read_exact_at(&mut stored, start)?;
        if crc32fast::hash(&stored) == record.payload_crc && self.is_named(record, &stored) {
            return Ok(Payload::Intact);
        }
        let punched = whole_blocks(start, start + stored.len() as u64).is_some_and(|(from, len)| {
            let from = (from - start) as usize;
            stored[from..from + len as usize].iter().all(|b| *b == 0)
        });
        Ok(if punched { Payload::Punched } else { Payload::Damaged })
    }

    fn is_named(&self, record: &Record, stored: &[u8]) -> bool {
        if record.flags & FLAG_ZSTD == 0 {
            return manifest::name(stored) == record.id;
        }
        let mut plain = vec![0; record.len as usize];
        self.codec.decompress(stored, &mut plain).is_ok() && manifest::name(&plain) == record.id
    }

    /// The next offset that may be a record's; the end if there is none.
    pub fn find(&self, from: u64) -> io::Result<u64> {
        let mut pos = from;
        while pos + RECORD_HEADER as u64 <= self.len {
            let mut window = vec![0; WINDOW.min((self.len - pos) as usize)];
            self.file.read_exact_at(&mut window, pos)?;
            let found = window.chunks_exact(ALIGN as usize).position(looks_like_record);
            if let Some(i) = found {
                return Ok(pos + i as u64 * ALIGN);
            }
            pos += window.len() as u64 / ALIGN * ALIGN;
            if window.len() < ALIGN as usize {
                break;
            }
        }
        Ok(self.len)
    }
}
