//! Reads of the log, concurrent with its appends. Every record's checksums are verified before it is returned.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::format::{Frame, MAX_BODY, PAYLOAD_AT, RECORD_HEAD, Record, SEGMENT_HEAD, decode, header_len};
use super::segment::{Found, SegmentFile, Window};
use super::{End, LogError, Position, Syncer};
use crate::disk::{Disk, Open};
use crate::id::StoreId;

/// How many segments are kept open.
const OPEN_FILES: usize = 64;

/// Reads records by position or in order. Clones share the open files; any thread may call.
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreId,
    syncer: Syncer,
    open: RwLock<Vec<Arc<SegmentFile>>>,
}

impl LogReader {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, store: StoreId, syncer: Syncer) -> Self {
        Self { shared: Arc::new(Shared { disk, dir, store, syncer, open: RwLock::default() }) }
    }

    /// The record at a position that [`super::Log::append`] or [`Self::scan`] gave.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if there is no whole record of that length there.
    pub fn read(&self, position: Position) -> Result<Record, LogError> {
        let segment = self.segment(position.segment)?;
        let bad = |why: &str| LogError::corrupt(&segment.path, position.offset, why);
        let len = position.len as usize;
        if !(RECORD_HEAD..=RECORD_HEAD + MAX_BODY).contains(&len) {
            return Err(bad("no record has the length that was asked for"));
        }
        let record = read_exact(&segment, position.offset, len)?;
        match Frame::parse(&record, segment.seed, position.offset) {
            None => Err(bad("a record's frame does not check out")),
            Some(f) if f.record_len() != len => Err(bad("the record has another length than asked for")),
            Some(f) if !f.body_is_good(&record[RECORD_HEAD..]) => {
                Err(bad("a record's body does not match its checksum"))
            }
            Some(f) => decode(f.kind, record.slice(RECORD_HEAD..)).map_err(bad),
        }
    }

    /// The header alone of the entry at such a position, which may have a megabyte behind it. Its bytes are not verified: the
    /// caller knows their hash, the entry's id.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if no entry begins there.
    pub fn read_header(&self, position: Position) -> Result<Bytes, LogError> {
        let segment = self.segment(position.segment)?;
        let head = read_exact(&segment, position.offset, PAYLOAD_AT as usize)?;
        let frame = Frame::parse(&head, segment.seed, position.offset);
        let Some(len) = frame.and_then(|frame| header_len(&frame, &head)) else {
            return Err(LogError::corrupt(&segment.path, position.offset, "no entry begins here"));
        };
        read_exact(&segment, position.offset + u64::from(PAYLOAD_AT), len)
    }

    /// Bytes of a segment's file, unverified: a payload that was left in the log, whose own hash the caller checks.
    /// `len` is in bytes, at most [`MAX_BODY`].
    pub fn read_range(&self, segment: u64, offset: u64, len: u32) -> Result<Bytes, LogError> {
        let segment = self.segment(segment)?;
        if len as usize > MAX_BODY {
            let why = "no record is as long as what was asked for";
            return Err(LogError::corrupt(&segment.path, offset, why));
        }
        read_exact(&segment, offset, len as usize)
    }

    /// The records after `after` (from the beginning without it) in order, up to what is appended when it is called.
    /// Kinds that this program doesn't know are left out. After an error there is nothing more.
    pub fn scan(&self, after: Option<Position>) -> Scan {
        self.scan_from(after.map_or(End { segment: 0, offset: SEGMENT_HEAD }, |p| p.end()))
    }

    /// As [`Self::scan`], from a place where a record begins.
    pub fn scan_from(&self, from: End) -> Scan {
        let end = self.shared.syncer.end();
        Scan { reader: self.clone(), window: None, at: from, end, done: from >= end }
    }

    /// Bytes of a segment's file.
    pub fn segment_len(&self, number: u64) -> Result<u64, LogError> {
        self.segment(number)?.len()
    }

    fn segment(&self, number: u64) -> Result<Arc<SegmentFile>, LogError> {
        let shared = &*self.shared;
        if let Some(found) = shared.open.read().iter().find(|s| s.number == number) {
            return Ok(found.clone());
        }
        let opened = SegmentFile::open(&*shared.disk, &shared.dir, &shared.store, number, Open::Read)?;
        let opened = Arc::new(opened);
        let mut open = shared.open.write();
        if open.len() >= OPEN_FILES {
            open.remove(0);
        }
        // Two threads may both have opened it: the second copy is closed when it is pushed out.
        open.push(opened.clone());
        Ok(opened)
    }
}

fn read_exact(segment: &SegmentFile, offset: u64, len: usize) -> Result<Bytes, LogError> {
    let mut buf = vec![0; len];
    match segment.file.read_exact_at(&mut buf, offset) {
        Ok(()) => Ok(buf.into()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(LogError::corrupt(&segment.path, offset, "the file ends before the record does"))
        }
        Err(e) => Err(LogError::io("read", &segment.path)(e)),
    }
}

/// Iterates over records in order; reads 1 MiB at a time.
#[derive(Debug)]
pub struct Scan {
    reader: LogReader,
    window: Option<Window>,
    at: End,
    end: End,
    done: bool,
}

impl Scan {
    fn step(&mut self) -> Result<Option<(Position, Record)>, LogError> {
        while self.at < self.end {
            let at = self.at;
            let window = match &mut self.window {
                Some(window) => window,
                none => none.insert(open_window(&self.reader, at.segment, self.end)?),
            };
            match window.record_at(at.offset)? {
                Found::End => {
                    self.at = End { segment: at.segment + 1, offset: SEGMENT_HEAD };
                    self.window = None;
                }
                Found::Good { frame, body } => {
                    let len = frame.record_len() as u32;
                    let position = Position { segment: at.segment, offset: at.offset, len };
                    self.at = position.end();
                    // Copied, so that a record that is kept doesn't hold on to a MiB.
                    let record = decode(frame.kind, Bytes::copy_from_slice(body))
                        .map_err(|why| LogError::corrupt(&window.segment().path, at.offset, why))?;
                    if !matches!(record, Record::Unknown { .. }) {
                        return Ok(Some((position, record)));
                    }
                }
                Found::Bad { why, .. } => {
                    return Err(LogError::corrupt(&window.segment().path, at.offset, why));
                }
            }
        }
        Ok(None)
    }
}

fn open_window(reader: &LogReader, number: u64, end: End) -> Result<Window, LogError> {
    let segment = reader.segment(number)?;
    segment.require_head(&reader.shared.store)?;
    let len = if number == end.segment { end.offset } else { segment.len()? };
    Ok(segment.window(len))
}

impl Iterator for Scan {
    type Item = Result<(Position, Record), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        self.done = !matches!(step, Some(Ok(_)));
        step
    }
}
