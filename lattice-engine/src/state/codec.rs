//! A record as a row's bytes and back. By hand, not protobuf: rows are most of a large store's state, and reading one is most
//! of what a look-up costs.
//!
//! Numbers are LEB128. A row is a byte of flags, then the entries that it names, its heads, its registers, and the parts
//! that few records have. What can't be decoded is a damaged cache: `None`, and it is made anew.

use bytes::Bytes;

use crate::entry::{Chunk, Content, EntryRef, LogRange, Time, Value};
use crate::hlc::Hlc;
use crate::id::{ChunkId, EntryId, FileId};
use crate::merge::{Below, FileAttrs, Files, Head, HeadNode, Record, Register};

use super::rows::Authors;

const HAS_BELOW: u8 = 1;
const HAS_DORMANT: u8 = 2;

/// What a head is.
mod kind {
    pub const TOMBSTONE: u8 = 0;
    pub const INLINE: u8 = 1;
    pub const IN_LOG: u8 = 2;
    pub const CHUNKS: u8 = 3;
    pub const MANIFEST: u8 = 4;
    pub const DIR: u8 = 5;
    pub const SYMLINK: u8 = 6;
    pub const FIFO: u8 = 7;
    pub const SOCKET: u8 = 8;
}

/// Which registers follow, bit by bit.
mod has {
    pub const MODE: u8 = 1;
    pub const MTIME: u8 = 2;
    pub const ATIME: u8 = 4;
    pub const UID: u8 = 8;
    pub const GID: u8 = 16;
    pub const XATTRS: u8 = 32;
}

/// A record as a row's bytes.
pub fn encode(record: &Record, authors: &mut impl Authors) -> Vec<u8> {
    let refs = refs_of(record);
    let mut out = Writer(Vec::with_capacity(160));
    let (below, dormant) = (record.below != Below::default(), record.dormant > 0);
    out.byte(if below { HAS_BELOW } else { 0 } | if dormant { HAS_DORMANT } else { 0 });
    out.number(refs.len() as u64);
    for at in &refs {
        out.bytes(&at.hlc.0.to_le_bytes());
        out.number(authors.index(&at.author).into());
        out.number(at.seq);
        out.bytes(at.id.as_bytes());
    }
    out.number(record.heads.len() as u64);
    for head in &record.heads {
        out.entry(&refs, &head.entry);
        out.node(head.node.as_ref());
    }
    let live = || record.heads.iter().filter_map(|h| h.node.as_ref());
    out.number(record.attrs.iter().count() as u64);
    for (file, attrs) in record.attrs.iter() {
        // Nearly always the file of a head: its place among them, from 1; 0 and the id for any other.
        match live().position(|node| node.file_id == *file) {
            Some(at) => out.number(at as u64 + 1),
            None => {
                out.byte(0);
                out.bytes(file.as_bytes());
            }
        }
        out.registers(&refs, attrs);
    }
    if below {
        out.number(record.below.children);
        out.number(record.below.dirs);
        out.bytes(&record.below.changed.0.to_le_bytes());
    }
    if dormant {
        out.number(record.dormant.into());
    }
    out.0
}

/// The entries that a record names, each once: the rest of the row names them by their place here.
fn refs_of(record: &Record) -> Vec<EntryRef> {
    let mut refs: Vec<EntryRef> = Vec::with_capacity(2);
    let mut add = |at: &EntryRef| {
        if !refs.contains(at) {
            refs.push(*at);
        }
    };
    record.heads.iter().for_each(|h| add(&h.entry));
    for (_, a) in record.attrs.iter() {
        [&a.mode, &a.uid, &a.gid].into_iter().flatten().for_each(|r| add(&r.at));
        [&a.mtime, &a.atime].into_iter().flatten().for_each(|r| add(&r.at));
        a.xattrs.values().for_each(|r| add(&r.at));
    }
    refs
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    fn entry(&mut self, refs: &[EntryRef], at: &EntryRef) {
        // `refs_of` has put every entry there.
        self.number(refs.iter().position(|r| r == at).unwrap_or_default() as u64);
    }

    fn node(&mut self, node: Option<&HeadNode>) {
        let Some(node) = node else { return self.byte(kind::TOMBSTONE) };
        let mut start = |kind| {
            self.byte(kind);
            self.bytes(node.file_id.as_bytes());
        };
        match &node.value {
            Value::Dir => start(kind::DIR),
            Value::Fifo => start(kind::FIFO),
            Value::Socket => start(kind::SOCKET),
            Value::Symlink(target) => {
                start(kind::SYMLINK);
                self.text(target);
            }
            Value::File(Content::Inline(bytes)) => {
                start(kind::INLINE);
                self.text(bytes);
            }
            Value::File(Content::InLog(range)) => {
                start(kind::IN_LOG);
                self.number(range.segment);
                self.number(range.offset);
                self.number(range.len.into());
            }
            Value::File(Content::Chunks(chunks)) => {
                start(kind::CHUNKS);
                self.number(chunks.len() as u64);
                chunks.iter().for_each(|chunk| self.chunk(chunk));
            }
            Value::File(Content::Manifest { manifest, size }) => {
                start(kind::MANIFEST);
                self.chunk(manifest);
                self.number(*size);
            }
        }
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.byte(chunk.id.is_some().into());
        chunk.id.iter().for_each(|id| self.bytes(id.as_bytes()));
        self.number(chunk.len);
    }

    fn registers(&mut self, refs: &[EntryRef], attrs: &FileAttrs) {
        let FileAttrs { mode, mtime, atime, uid, gid, xattrs } = attrs;
        let bit = |there: bool, bit: u8| if there { bit } else { 0 };
        self.byte(
            bit(mode.is_some(), has::MODE)
                | bit(mtime.is_some(), has::MTIME)
                | bit(atime.is_some(), has::ATIME)
                | bit(uid.is_some(), has::UID)
                | bit(gid.is_some(), has::GID)
                | bit(!xattrs.is_empty(), has::XATTRS),
        );
        for register in [mode, uid, gid].into_iter().flatten() {
            self.entry(refs, &register.at);
            self.number(register.value.into());
        }
        for register in [mtime, atime].into_iter().flatten() {
            self.entry(refs, &register.at);
            let Time { s, ns } = register.value;
            self.number((s.cast_unsigned() << 1) ^ (s >> 63).cast_unsigned());
            self.number(ns.into());
        }
        if !xattrs.is_empty() {
            self.number(xattrs.len() as u64);
        }
        for (name, register) in xattrs {
            self.entry(refs, &register.at);
            self.text(name);
            self.byte(register.value.is_some().into());
            register.value.iter().for_each(|value| self.text(value));
        }
    }
}

/// A row's bytes as a record; `None` when they are not one.
pub fn decode(row: &[u8], authors: &impl Authors) -> Option<Record> {
    let mut row = Reader(row);
    let flags = row.byte()?;
    let count = row.count(42)?;
    let mut refs = Vec::with_capacity(count);
    for _ in 0..count {
        let hlc = Hlc(row.u64()?);
        let author = authors.author(row.number()?.try_into().ok()?)?;
        refs.push(EntryRef { hlc, author, seq: row.number()?, id: EntryId(row.array()?) });
    }
    let count = row.count(2)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        heads.push(Head { entry: row.entry(&refs)?, node: row.node()? });
    }
    let mut attrs = Files::default();
    for _ in 0..row.count(2)? {
        let file = match row.number()? {
            0 => FileId(row.array()?),
            n => {
                let live: &Head = heads.iter().filter(|h| h.node.is_some()).nth(n as usize - 1)?;
                live.node.as_ref()?.file_id
            }
        };
        attrs.insert(file, row.registers(&refs)?);
    }
    let mut record = Record { heads, attrs, ..Record::default() };
    if flags & HAS_BELOW != 0 {
        record.below = Below { children: row.number()?, dirs: row.number()?, changed: Hlc(row.u64()?) };
    }
    if flags & HAS_DORMANT != 0 {
        record.dormant = row.number()?.try_into().ok()?;
    }
    (row.0.is_empty() && flags & !(HAS_BELOW | HAS_DORMANT) == 0).then_some(record)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    /// How many follow that take at least `each` bytes: never more than there is room for.
    fn count(&mut self, each: usize) -> Option<usize> {
        let n = usize::try_from(self.number()?).ok()?;
        (n <= self.0.len() / each).then_some(n)
    }

    fn text(&mut self) -> Option<Bytes> {
        let len = self.count(1)?;
        self.bytes(len).map(Bytes::copy_from_slice)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn entry(&mut self, refs: &[EntryRef]) -> Option<EntryRef> {
        refs.get(usize::try_from(self.number()?).ok()?).copied()
    }

    /// Outer `None`: not a node. Inner `None`: a tombstone.
    fn node(&mut self) -> Option<Option<HeadNode>> {
        let kind = self.byte()?;
        if kind == kind::TOMBSTONE {
            return Some(None);
        }
        let file_id = FileId(self.array()?);
        let value = match kind {
            kind::INLINE => Value::File(Content::Inline(self.text()?)),
            kind::IN_LOG => Value::File(Content::InLog(LogRange {
                segment: self.number()?,
                offset: self.number()?,
                len: self.number()?.try_into().ok()?,
            })),
            kind::CHUNKS => {
                let count = self.count(2)?;
                Value::File(Content::Chunks((0..count).map(|_| self.chunk()).collect::<Option<_>>()?))
            }
            kind::MANIFEST => {
                Value::File(Content::Manifest { manifest: self.chunk()?, size: self.number()? })
            }
            kind::DIR => Value::Dir,
            kind::SYMLINK => Value::Symlink(self.text()?),
            kind::FIFO => Value::Fifo,
            kind::SOCKET => Value::Socket,
            _ => return None,
        };
        Some(Some(HeadNode { file_id, value }))
    }

    fn chunk(&mut self) -> Option<Chunk> {
        let id = if self.flag()? { Some(ChunkId(self.array()?)) } else { None };
        Some(Chunk { id, len: self.number()? })
    }

    fn registers(&mut self, refs: &[EntryRef]) -> Option<FileAttrs> {
        let bits = self.byte()?;
        let mut attrs = FileAttrs::default();
        let numbers = [(has::MODE, &mut attrs.mode), (has::UID, &mut attrs.uid), (has::GID, &mut attrs.gid)];
        for (_, register) in numbers.into_iter().filter(|(bit, _)| bits & bit != 0) {
            *register = Some(Register { at: self.entry(refs)?, value: self.number()?.try_into().ok()? });
        }
        let times = [(has::MTIME, &mut attrs.mtime), (has::ATIME, &mut attrs.atime)];
        for (_, register) in times.into_iter().filter(|(bit, _)| bits & bit != 0) {
            let at = self.entry(refs)?;
            let s = self.number()?;
            let s = (s >> 1).cast_signed() ^ -(s & 1).cast_signed();
            *register = Some(Register { at, value: Time { s, ns: self.number()?.try_into().ok()? } });
        }
        if bits & has::XATTRS != 0 {
            for _ in 0..self.count(3)? {
                let (at, name) = (self.entry(refs)?, self.text()?);
                let value = if self.flag()? { Some(self.text()?) } else { None };
                attrs.xattrs.insert(name, Register { at, value });
            }
        }
        Some(attrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    impl Authors for Vec<NodeId> {
        fn index(&mut self, author: &NodeId) -> u32 {
            let at = self.iter().position(|a| a == author).unwrap_or_else(|| {
                self.push(*author);
                self.len() - 1
            });
            at as u32
        }

        fn author(&self, index: u32) -> Option<NodeId> {
            self.get(index as usize).copied()
        }
    }

    fn at(n: u8) -> EntryRef {
        let author = NodeId([n % 3; 32]);
        EntryRef { hlc: Hlc(u64::MAX - u64::from(n)), author, id: EntryId([n; 32]), seq: u64::from(n) << 33 }
    }

    fn attrs(n: u8) -> FileAttrs {
        let time = |s| Some(Register { at: at(n), value: Time { s, ns: 999_999_999 } });
        let number = |value| Some(Register { at: at(n + 1), value });
        let xattr = |value| Register { at: at(n), value };
        FileAttrs {
            mode: number(0o7777),
            mtime: time(i64::MIN),
            atime: time(i64::MAX),
            uid: number(u32::MAX),
            gid: None,
            xattrs: [
                (Bytes::from_static(b"user.a"), xattr(Some(Bytes::from_static(b"v")))),
                (Bytes::from_static(b"user.b"), xattr(None)),
            ]
            .into(),
        }
    }

    /// One head of every kind.
    fn record() -> Record {
        let chunk = Chunk { id: Some(ChunkId([9; 32])), len: 262_144 };
        let hole = Chunk { id: None, len: 1 << 40 };
        let values = [
            Value::Dir,
            Value::Fifo,
            Value::Socket,
            Value::Symlink(Bytes::from_static(b"../a")),
            Value::File(Content::EMPTY),
            Value::File(Content::Inline(Bytes::from_static(b"text"))),
            Value::File(Content::InLog(LogRange { segment: 7, offset: 1 << 25, len: 4096 })),
            Value::File(Content::Chunks(vec![chunk, hole, chunk])),
            Value::File(Content::Manifest { manifest: chunk, size: 1 << 62 }),
        ];
        let mut heads: Vec<Head> = (0u8..)
            .zip(values)
            .map(|(n, value)| Head { entry: at(n), node: Some(HeadNode { file_id: FileId([n; 16]), value }) })
            .collect();
        heads.push(Head { entry: at(100), node: None });
        let files = [(FileId([3; 16]), attrs(40)), (FileId([200; 16]), attrs(41))];
        Record {
            heads,
            attrs: files.into_iter().collect(),
            below: Below { children: 70_000, dirs: 3, changed: Hlc(5) },
            dormant: 200,
        }
    }

    #[test]
    fn every_kind_of_record_reads_back() {
        let mut authors = Vec::new();
        for record in [record(), Record::default()] {
            let row = encode(&record, &mut authors);
            assert_eq!(decode(&row, &authors), Some(record));
        }
    }

    #[test]
    fn a_row_that_was_cut_off_or_has_more_is_none() {
        let mut authors = Vec::new();
        let mut row = encode(&record(), &mut authors);
        for len in 0..row.len() {
            assert_eq!(decode(&row[..len], &authors), None, "{len} bytes of {}", row.len());
        }
        row.push(0);
        assert_eq!(decode(&row, &authors), None);
    }

    #[test]
    fn no_flipped_bit_is_a_panic_or_an_allocation_beyond_the_row() {
        let mut authors = Vec::new();
        let row = encode(&record(), &mut authors);
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(record) = decode(&flipped, &authors) {
                assert!(record.heads.len() <= row.len() && record.heads.capacity() <= row.len());
            }
        }
    }

    #[test]
    fn an_ordinary_file_takes_a_hundred_bytes() {
        let at = EntryRef { hlc: Hlc::new(1_800_000_000_000, 1), seq: 1_000_000, ..at(1) };
        let register = |value| Some(Register { at, value });
        let file_id = FileId([1; 16]);
        let range = LogRange { segment: 6, offset: 60 << 20, len: 300 };
        let attrs = FileAttrs {
            mode: register(0o644),
            uid: register(1000),
            gid: register(1000),
            mtime: Some(Register { at, value: Time { s: 1_800_000_000, ns: 123_456_789 } }),
            ..FileAttrs::default()
        };
        let record = Record {
            heads: vec![Head {
                entry: at,
                node: Some(HeadNode { file_id, value: Value::File(Content::InLog(range)) }),
            }],
            attrs: [(file_id, attrs)].into_iter().collect(),
            ..Record::default()
        };
        let len = encode(&record, &mut Vec::new()).len();
        assert!(len <= 100, "{len} bytes");
    }
}
