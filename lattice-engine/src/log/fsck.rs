//! Reads a whole log and lists what is damaged. Modifies nothing and stops at nothing but a failing disk.

use std::path::{Path, PathBuf};

use super::format::SEGMENT_HEAD;
use super::segment::{Found, SegmentFile, list, path};
use super::{End, LogError};
use crate::disk::{Disk, Open};
use crate::id::StoreId;

/// What a whole log is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// In order.
    pub segments: Vec<SegmentReport>,
    /// Files that should be there, since later ones are.
    pub missing: Vec<PathBuf>,
}

/// What one segment is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    pub path: PathBuf,
    /// Bytes of the file that were looked at.
    pub bytes: u64,
    /// Whole records, those after damage included.
    pub records: u64,
    /// In order.
    pub bad: Vec<Bad>,
}

/// A range that holds no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// First byte of the range in the file.
    pub offset: u64,
    /// Length of the range.
    pub bytes: u64,
    pub why: String,
    /// Whole records of this segment after the range.
    pub readable_after: u64,
    /// A tail that a crash tore, which the next open cuts: no damage.
    pub torn_tail: bool,
}

impl Report {
    /// Whole records of all segments.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|s| s.records).sum()
    }

    /// Nothing is damaged or missing (a torn tail is neither).
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.segments.iter().flat_map(|s| &s.bad).all(|b| b.torn_tail)
    }
}

/// Reads every segment of the log in `dir`. Where somebody writes it meanwhile, only what is before `until`, which they know.
///
/// # Errors
/// [`LogError::Io`] where the directory or a file can't be read; damage is in the report.
pub fn fsck(disk: &dyn Disk, dir: &Path, store: &StoreId, until: Option<End>) -> Result<Report, LogError> {
    let mut numbers = list(disk, dir)?;
    numbers.retain(|n| until.is_none_or(|end| *n <= end.segment));
    let last = numbers.last().copied();
    // A stray file may have any number: the first thousand gaps say enough.
    let missing = (0..last.unwrap_or(0)).filter(|n| numbers.binary_search(n).is_err()).take(1000);
    let mut report = Report { segments: Vec::new(), missing: missing.map(|n| path(dir, n)).collect() };
    for &number in &numbers {
        let segment = SegmentFile::open(disk, dir, store, number, Open::Read)?;
        let len = segment.len()?;
        let bytes = until.filter(|end| end.segment == number).map_or(len, |end| end.offset.min(len));
        report.segments.push(check(&segment, store, bytes, Some(number) == last)?);
    }
    Ok(report)
}

fn check(segment: &SegmentFile, store: &StoreId, bytes: u64, last: bool) -> Result<SegmentReport, LogError> {
    let mut report = SegmentReport { path: segment.path.clone(), bytes, records: 0, bad: Vec::new() };
    let head = match segment.head_is_good(store) {
        Ok(true) => None,
        Ok(false) => Some("the segment's header does not check out".to_owned()),
        Err(e @ LogError::Io { .. }) => return Err(e),
        Err(e) => Some(e.to_string()),
    };
    if let Some(why) = head {
        let torn_tail = last && bytes <= SEGMENT_HEAD;
        report.bad.push(Bad { offset: 0, bytes: bytes.min(SEGMENT_HEAD), why, readable_after: 0, torn_tail });
    }
    let mut window = segment.window(bytes);
    let mut at = SEGMENT_HEAD.min(bytes);
    let mut before = Vec::new();
    loop {
        let (why, resume) = match window.record_at(at)? {
            Found::End => break,
            Found::Good { frame, .. } => {
                report.records += 1;
                at += frame.record_len() as u64;
                continue;
            }
            Found::Bad { why, resume } => (why.to_owned(), resume),
        };
        if last && window.is_room(at)? {
            break;
        }
        let next = window.next_good(resume)?.map_or(bytes, |(next, _)| next);
        // Only the first one can be where a crash tore the log: from there on open cuts.
        let torn_tail = last && report.bad.is_empty() && !window.vouched(at, next)?;
        before.push(report.records);
        report.bad.push(Bad { offset: at, bytes: next - at, why, readable_after: 0, torn_tail });
        at = next;
    }
    let head_bad = report.bad.len() - before.len();
    for (bad, before) in report.bad.iter_mut().zip(std::iter::repeat_n(0, head_bad).chain(before)) {
        bad.readable_after = report.records - before;
    }
    Ok(report)
}
