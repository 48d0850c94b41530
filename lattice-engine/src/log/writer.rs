//! The one writer of a log. A batch is one `write` into one segment; a batch that fails leaves the log as it was.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{MAX_BODY, RECORD_HEAD, RecordRef, SEGMENT_HEAD, encode, encode_closed, segment_head};
use super::recover::{Recovery, recover};
use super::segment::{Found, SegmentFile, first_gap, list, path};
use super::{End, LogError, LogReader, Position, Syncer};
use crate::disk::{Disk, Open};
use crate::id::StoreId;

/// The most that one batch may hold, framing included: 256 MiB.
const MAX_BATCH: u64 = 256 << 20;
/// A buffer that one large batch blew up is given back.
const KEEP_BUFFER: usize = 1 << 20;

/// The most that is made ready for what comes next. Less in a short segment: as much as is in it.
const MOST_ROOM: u64 = 1 << 20;
const LEAST_ROOM: u64 = 16 << 10;

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment takes no batch that would make it longer than this many bytes, unless it is empty. At most 1 GiB.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// The log of one store, open for appending.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreId,
    segment_bytes: u64,
    current: SegmentFile,
    end: u64,
    /// Length of the segment's file. Beyond `end` there are zeros, so that the disk has only bytes to write for what comes next: a
    /// file that grows costs a sync a write to the file system's journal as well, and takes twice as long.
    room: u64,
    /// The last record closes the log, or there is none.
    closed: bool,
    buf: Vec<u8>,
    syncer: Syncer,
    reader: LogReader,
}

impl Log {
    /// Opens the log in `dir`, or makes an empty one. Only the last segment is read, and of it only what comes after
    /// `trusted`: the last record that the caller knows to be durable. What `open` returns is durable.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Missing`], [`LogError::WrongStore`], [`LogError::Version`]: nothing was modified.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store: StoreId,
        opts: LogOptions,
        trusted: Option<Position>,
    ) -> Result<(Self, Recovery), LogError> {
        disk.create_dir_all(dir).map_err(LogError::io("make", dir))?;
        let numbers = list(&*disk, dir)?;
        if let Some(gap) = first_gap(&numbers) {
            return Err(LogError::Missing {
                path: path(dir, gap),
                why: "later segments of the log are there",
            });
        }
        check_trusted(&*disk, dir, &store, &numbers, trusted)?;
        let (current, end, room, closed, recovery) = match numbers.last() {
            None => (create(&*disk, dir, &store, 0)?, SEGMENT_HEAD, SEGMENT_HEAD, true, Recovery::default()),
            Some(&last) => {
                let segment = SegmentFile::open(&*disk, dir, &store, last, Open::Write)?;
                let found = recover(&segment, &store, trusted)?;
                let vouched = End { segment: last, offset: found.vouched };
                (segment, found.end, found.room, found.closed, Recovery { cut: found.cut, vouched })
            }
        };
        // After a kill the names, too, may be in memory only.
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(LogError::io("sync", parent))?;
        }
        let syncer = Syncer::new(current.clone(), End { segment: current.number, offset: end });
        let reader = LogReader::new(disk.clone(), dir.to_path_buf(), store, syncer.clone());
        let segment_bytes = opts.segment_bytes.min(1 << 30);
        let dir = dir.to_path_buf();
        let buf = Vec::new();
        let log = Self { disk, dir, store, segment_bytes, current, end, room, closed, buf, syncer, reader };
        Ok((log, recovery))
    }

    /// Writes records in one call; their positions come back in order. They survive the process at once, and a power
    /// loss after [`Syncer::sync_to`].
    ///
    /// # Errors
    /// [`LogError::NotWritten`] (a full disk) and [`LogError::TooLarge`] leave the log as it was and usable. After
    /// [`LogError::Poisoned`] it must be reopened.
    pub fn append(&mut self, records: &[RecordRef<'_>]) -> Result<Vec<Position>, LogError> {
        let mut synced = self.syncer.begin()?;
        let total = batch_len(records)?;
        if self.end > SEGMENT_HEAD && self.end + total > self.segment_bytes {
            self.roll()?;
            synced = End { segment: self.current.number, offset: self.end };
        }
        self.buf.clear();
        self.buf.reserve(total as usize);
        let mut positions = Vec::with_capacity(records.len());
        for record in records {
            let start = self.buf.len();
            let offset = self.end + start as u64;
            encode(record, self.current.seed, offset, offset_u32(synced.offset), &mut self.buf);
            let len = (self.buf.len() - start) as u32;
            positions.push(Position { segment: self.current.number, offset, len });
        }
        self.write_buffer()?;
        self.closed &= records.is_empty();
        Ok(positions)
    }

    /// Ends the log before the record at `at`: that one and all after it are gone when it returns. For an opener who finds
    /// that a crash has kept a record but not what it names; what is cut must never have been promised.
    ///
    /// # Errors
    /// [`LogError::Io`]; the log must be reopened then.
    pub fn cut(&mut self, at: Position) -> Result<(), LogError> {
        for number in (at.segment + 1..=self.current.number).rev() {
            let later = path(&self.dir, number);
            self.disk.remove(&later).map_err(LogError::io("remove", &later))?;
        }
        self.disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
        if at.segment != self.current.number {
            self.current = SegmentFile::open(&*self.disk, &self.dir, &self.store, at.segment, Open::Write)?;
        }
        let file = &self.current.file;
        file.set_len(at.offset)
            .and_then(|()| file.sync_data())
            .map_err(LogError::io("cut", &self.current.path))?;
        (self.end, self.room) = (at.offset, at.offset);
        self.closed = false;
        self.syncer.rolled(self.current.clone(), self.end());
        Ok(())
    }

    /// Syncs, and ends the log with a record that vouches for all the others, so that damage found by the next `open` is
    /// told from a torn tail to the last record.
    pub fn close(mut self) -> Result<(), LogError> {
        self.syncer.sync_to(self.end())?;
        self.vouch()?;
        // What doesn't get to the disk is found by the next `open`, as after a kill.
        self.current.file.set_len(self.end).map_err(LogError::io("end", &self.current.path))
    }

    /// Says in the log how much of it is durable by now, which every record says of those before it: for when nothing may
    /// follow for long, or never.
    pub fn vouch(&mut self) -> Result<(), LogError> {
        let synced = self.syncer.begin()?;
        if self.closed {
            return Ok(());
        }
        self.buf.clear();
        encode_closed(self.current.seed, self.end, offset_u32(synced.offset), &mut self.buf);
        let all = synced == self.end();
        self.write_buffer()?;
        self.closed = all;
        Ok(())
    }

    /// Where the next record goes.
    pub fn end(&self) -> End {
        End { segment: self.current.number, offset: self.end }
    }

    /// What makes appends durable, for any thread.
    pub fn syncer(&self) -> Syncer {
        self.syncer.clone()
    }

    /// What reads the log, for any thread.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    fn write_buffer(&mut self) -> Result<(), LogError> {
        let len = self.buf.len() as u64;
        let made = self.end + len > self.room && self.write_with_room();
        if !made && let Err(e) = self.current.file.write_all_at(&self.buf, self.end) {
            return Err(self.take_back(e));
        }
        self.end += len;
        self.room = self.room.max(self.end);
        if self.buf.capacity() > KEEP_BUFFER {
            self.buf = Vec::new();
        }
        self.syncer.appended(self.end());
        Ok(())
    }

    /// The buffer, and room after it, in one write. False: there is none to be made, or the disk has not enough, and nothing
    /// is written for certain.
    fn write_with_room(&mut self) -> bool {
        let len = self.buf.len();
        let room = self.end.clamp(LEAST_ROOM, MOST_ROOM);
        let end = self.end + len as u64;
        let until = (end + room).min(self.segment_bytes);
        // Who writes much at a time needs no help.
        if len as u64 > room / 4 || until <= end {
            return false;
        }
        self.buf.resize((until - self.end) as usize, 0);
        let made = self.current.file.write_all_at(&self.buf, self.end).is_ok();
        self.buf.truncate(len);
        self.room = until;
        // A part of it may be there. It isn't to take what the disk has left, nor to be forgotten where it can't be cut.
        if !made && self.current.file.set_len(self.end).is_ok() {
            self.room = self.end;
        }
        made
    }

    /// Removes what a failed write left. Synced at once: the next batch may be as long as a part of this one, and what
    /// follows it on the disk after a crash would look appended.
    fn take_back(&mut self, error: io::Error) -> LogError {
        self.room = self.end;
        match self.trim() {
            Ok(()) => LogError::NotWritten { path: self.current.path.clone(), source: error },
            Err(e) => self.syncer.poison(&self.current.path, &e),
        }
    }

    /// The file ends with the last record, durably.
    fn trim(&self) -> io::Result<()> {
        let file = &self.current.file;
        file.set_len(self.end).and_then(|()| file.sync_data())
    }

    /// Goes on in a new segment. All before it is durable first, and what it names, so only the last segment can have a
    /// torn tail or lack anything.
    fn roll(&mut self) -> Result<(), LogError> {
        self.syncer.sync_to(self.end())?;
        if self.room > self.end {
            // Zeros are an end in the last segment only.
            self.trim().map_err(|e| self.syncer.poison(&self.current.path, &e))?;
            self.room = self.end;
        }
        let number = self.current.number + 1;
        let made = create(&*self.disk, &self.dir, &self.store, number);
        let segment = match made {
            Ok(segment) => segment,
            Err(e) => return Err(self.unmake(number, e)),
        };
        if let Err(e) = self.disk.sync_dir(&self.dir) {
            return Err(self.syncer.poison(&self.dir, &e));
        }
        self.current = segment;
        (self.end, self.room) = (SEGMENT_HEAD, SEGMENT_HEAD);
        self.syncer.rolled(self.current.clone(), self.end());
        Ok(())
    }

    /// Removes a segment that could not be made: a smaller batch may still fit in the one before, which must stay the last.
    fn unmake(&self, number: u64, error: LogError) -> LogError {
        let path = path(&self.dir, number);
        let removed = match self.disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => self.disk.sync_dir(&self.dir),
        };
        match (removed, error) {
            (Err(e), _) => self.syncer.poison(&path, &e),
            (Ok(()), LogError::Io { path, source, .. }) => LogError::NotWritten { path, source },
            (Ok(()), error) => error,
        }
    }
}

/// A durable, empty segment; its name becomes durable with the directory.
fn create(disk: &dyn Disk, dir: &Path, store: &StoreId, number: u64) -> Result<SegmentFile, LogError> {
    let segment = SegmentFile::open(disk, dir, store, number, Open::CreateNew)?;
    let head = segment_head(store, number);
    let file = &segment.file;
    file.write_all_at(&head, 0)
        .and_then(|()| file.sync_data())
        .map_err(LogError::io("make", &segment.path))?;
    Ok(segment)
}

/// The record that the caller trusts must be there: otherwise this log isn't the one it knew. The caller's state is made
/// durable after the log only, so a log without the record has lost what was promised, or is an old copy: what it lacks
/// may be known to others. To go on from there as if nothing were missing would be for nobody but its owner to decide.
fn check_trusted(
    disk: &dyn Disk,
    dir: &Path,
    store: &StoreId,
    numbers: &[u64],
    trusted: Option<Position>,
) -> Result<(), LogError> {
    let Some(position) = trusted else {
        return Ok(());
    };
    if !numbers.contains(&position.segment) {
        let why = "the store's state was made from records in it";
        return Err(LogError::Missing { path: path(dir, position.segment), why });
    }
    let segment = SegmentFile::open(disk, dir, store, position.segment, Open::Read)?;
    segment.require_head(store)?;
    let mut window = segment.window(segment.len()?);
    match window.record_at(position.offset)? {
        Found::Good { frame, .. } if frame.record_len() == position.len as usize => Ok(()),
        _ => Err(LogError::corrupt(
            &segment.path,
            position.offset,
            "the store's state was made from a record that is not there",
        )),
    }
}

fn batch_len(records: &[RecordRef<'_>]) -> Result<u64, LogError> {
    let mut total = 0;
    for record in records {
        let len = record.record_len() as u64;
        let max = (RECORD_HEAD + MAX_BODY) as u64;
        if len > max {
            return Err(LogError::TooLarge { len, max });
        }
        total += len;
    }
    if total > MAX_BATCH {
        return Err(LogError::TooLarge { len: total, max: MAX_BATCH });
    }
    Ok(total)
}

/// An offset that is before a batch's start: below 1 GiB plus one batch, whatever the options.
fn offset_u32(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
