//! One segment's file, and a buffered walk over its records. Reads only; what is bad is reported, never skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogError;
use super::format::{Frame, RECORD_HEAD, SEGMENT_HEAD, Seed, SegmentHead, check_segment_head};
use crate::disk::{Disk, DiskFile, Open};
use crate::id::StoreId;

/// How much a walk reads at a time.
const READ: u64 = 1 << 20;

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

/// Numbers of the segments in a directory, ascending; other files are none of ours.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, LogError> {
    let names = disk.list(dir).map_err(LogError::io("list", dir))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| {
            let number = u64::from_str_radix(name.to_str()?.strip_suffix(".log")?, 16).ok()?;
            (path(Path::new(""), number) == *name).then_some(number)
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The first number below the last one that has no file.
pub(super) fn first_gap(numbers: &[u64]) -> Option<u64> {
    (0..).zip(numbers).find(|(want, have)| want != *have).map(|(want, _)| want)
}

#[derive(Debug, Clone)]
pub(super) struct SegmentFile {
    pub number: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub seed: Seed,
}

impl SegmentFile {
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        store: &StoreId,
        number: u64,
        how: Open,
    ) -> Result<Self, LogError> {
        let path = path(dir, number);
        let file = disk.open(&path, how).map_err(LogError::io("open", &path))?;
        Ok(Self { number, file, seed: Seed::new(store, number), path })
    }

    pub(super) fn len(&self) -> Result<u64, LogError> {
        self.file.len().map_err(LogError::io("measure", &self.path))
    }

    /// Whether the header is whole. Another store's or a later version's is an error.
    pub(super) fn head_is_good(&self, store: &StoreId) -> Result<bool, LogError> {
        if self.len()? < SEGMENT_HEAD {
            return Ok(false);
        }
        let mut head = [0; SEGMENT_HEAD as usize];
        self.file.read_exact_at(&mut head, 0).map_err(LogError::io("read", &self.path))?;
        let path = self.path.clone();
        match check_segment_head(&head, store, self.number) {
            SegmentHead::Good => Ok(true),
            SegmentHead::Bad => Ok(false),
            SegmentHead::OtherStore(found) => Err(LogError::WrongStore { path, found, expected: *store }),
            SegmentHead::OtherVersion(version) => Err(LogError::Version { path, version }),
        }
    }

    /// As [`Self::head_is_good`], where anything else is damage.
    pub(super) fn require_head(&self, store: &StoreId) -> Result<(), LogError> {
        if self.head_is_good(store)? {
            return Ok(());
        }
        Err(LogError::corrupt(&self.path, 0, "the segment's header does not check out"))
    }

    /// A walk over the bytes before `end`.
    pub(super) fn window(&self, end: u64) -> Window {
        Window { segment: self.clone(), end, start: 0, buf: Vec::new() }
    }
}

/// What lies at an offset.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Nothing: the records end here.
    End,
    Good {
        frame: Frame,
        body: &'a [u8],
    },
    /// No record. `resume` is where the next one may start at the earliest.
    Bad {
        why: &'static str,
        resume: u64,
    },
}

/// A moving buffer over a segment.
#[derive(Debug)]
pub(super) struct Window {
    segment: SegmentFile,
    end: u64,
    start: u64,
    buf: Vec<u8>,
}

impl Window {
    pub(super) fn segment(&self) -> &SegmentFile {
        &self.segment
    }

    /// `len` bytes at `at`, or `None` where the end comes first.
    fn get(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>, LogError> {
        let left = self.end.saturating_sub(at);
        if left < len as u64 {
            return Ok(None);
        }
        let have = self.start + self.buf.len() as u64;
        if at < self.start || at + len as u64 > have {
            let size = left.min(READ.max(len as u64));
            self.start = at;
            self.buf.resize(size as usize, 0);
            let read = self.segment.file.read_exact_at(&mut self.buf, at);
            if read.is_err() {
                self.buf.clear();
            }
            read.map_err(LogError::io("read", &self.segment.path))?;
        }
        let from = (at - self.start) as usize;
        Ok(Some(&self.buf[from..from + len]))
    }

    /// The record at `at`, checked.
    pub(super) fn record_at(&mut self, at: u64) -> Result<Found<'_>, LogError> {
        if at == self.end {
            return Ok(Found::End);
        }
        let seed = self.segment.seed;
        let Some(head) = self.get(at, RECORD_HEAD)? else {
            return Ok(Found::Bad { why: "the file ends within a record's frame", resume: self.end });
        };
        let Some(frame) = Frame::parse(head, seed, at) else {
            return Ok(Found::Bad { why: "a record's frame does not check out", resume: at + 1 });
        };
        // Looked at twice, because a borrow that is returned on one path only can't be given up on the other.
        if self.get(at, frame.record_len())?.is_none() {
            return Ok(Found::Bad { why: "the file ends within a record", resume: at + 1 });
        }
        let resume = at + frame.record_len() as u64;
        let body = match self.get(at, frame.record_len())? {
            Some(record) => &record[RECORD_HEAD..],
            None => &[],
        };
        if !frame.body_is_good(body) {
            return Ok(Found::Bad { why: "a record's body does not match its checksum", resume });
        }
        Ok(Found::Good { frame, body })
    }

    /// The first whole record at `from` or after it.
    pub(super) fn next_good(&mut self, mut from: u64) -> Result<Option<(u64, Frame)>, LogError> {
        while from < self.end {
            match self.record_at(from)? {
                Found::End => return Ok(None),
                Found::Good { frame, .. } => return Ok(Some((from, frame))),
                Found::Bad { resume, .. } => from = resume,
            }
        }
        Ok(None)
    }

    /// Whether nothing but zeros is left from `at` on, as the last segment has them.
    pub(super) fn is_room(&mut self, mut at: u64) -> Result<bool, LogError> {
        while at < self.end {
            let len = READ.min(self.end - at);
            if self.get(at, len as usize)?.is_some_and(|bytes| bytes.iter().any(|b| *b != 0)) {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }

    /// Whether a whole record from `from` on says that the byte at `bad` was durable when it was written.
    pub(super) fn vouched(&mut self, bad: u64, mut from: u64) -> Result<bool, LogError> {
        while let Some((at, frame)) = self.next_good(from)? {
            if u64::from(frame.synced) > bad {
                return Ok(true);
            }
            from = at + frame.record_len() as u64;
        }
        Ok(false)
    }
}
