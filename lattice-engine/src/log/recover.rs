//! What opening does to the last segment: cut a tail that a crash tore, refuse damage to what was durable.
//!
//! A bad record alone doesn't tell the two apart: a crash may lose one unsynced write and keep a later one. So each
//! record says how far its segment was durable when it was written. A bad record before a point that a later one vouches
//! for is damage; any other lies in what was never synced, and everything from it on is cut.

use super::format::{KIND_CLOSED, SEGMENT_HEAD, segment_head};
use super::segment::{Found, SegmentFile};
use super::{End, LogError, Position};
use crate::id::StoreId;

/// What [`super::Log::open`] had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The torn tail that was removed, if there was one. Nothing in it was ever reported as durable.
    pub cut: Option<Cut>,
    /// Up to here, as the log itself says, a sync had returned before it was opened. More may have been synced.
    pub vouched: End,
}

/// Bytes removed from the end of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Number of the segment.
    pub segment: u64,
    /// First byte removed.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// The last segment after recovery, durable on disk.
pub(super) struct Recovered {
    pub end: u64,
    /// Length of the file: zeros up to there were made ready for what comes next.
    pub room: u64,
    /// The last record closes the log, or there is none.
    pub closed: bool,
    pub cut: Option<Cut>,
    pub vouched: u64,
}

/// Checks the last segment after `trusted`, and cuts and syncs it.
pub(super) fn recover(
    last: &SegmentFile,
    store: &StoreId,
    trusted: Option<Position>,
) -> Result<Recovered, LogError> {
    let len = last.len()?;
    if !last.head_is_good(store)? {
        if len > SEGMENT_HEAD {
            // Records are only written after a header that is durable.
            return Err(LogError::corrupt(&last.path, 0, "the segment's header does not check out"));
        }
        return write_head(last, store, len);
    }
    let Walked { end, torn, closed, vouched } = walk(last, len, trusted)?;
    let cut = torn.then(|| Cut { segment: last.number, offset: end, bytes: len - end });
    if cut.is_some() {
        last.file.set_len(end).map_err(LogError::io("cut the torn tail of", &last.path))?;
    }
    // Also without a cut: after a kill, what was read may be in memory only.
    last.file.sync_data().map_err(LogError::io("sync", &last.path))?;
    let room = if torn { end } else { len };
    Ok(Recovered { end, room, closed, cut, vouched })
}

/// The good records.
struct Walked {
    end: u64,
    /// What follows is neither a record nor room for one.
    torn: bool,
    /// The last one closes the log.
    closed: bool,
    /// How much was durable, as they say.
    vouched: u64,
}

/// Where the good records end, and what they say. Modifies nothing.
fn walk(last: &SegmentFile, len: u64, trusted: Option<Position>) -> Result<Walked, LogError> {
    let mut window = last.window(len);
    let trusted = trusted.filter(|t| t.segment == last.number);
    let mut at = trusted.map_or(SEGMENT_HEAD, |t| t.end().offset);
    let (mut closed, mut vouched) = (trusted.is_none(), at);
    loop {
        match window.record_at(at)? {
            Found::End => return Ok(Walked { end: at, torn: false, closed, vouched }),
            Found::Good { frame, .. } => {
                vouched = vouched.max(u64::from(frame.synced));
                closed = frame.kind == KIND_CLOSED && u64::from(frame.synced) == at;
                at += frame.record_len() as u64;
            }
            Found::Bad { why, resume } => {
                if window.is_room(at)? {
                    return Ok(Walked { end: at, torn: false, closed, vouched });
                }
                if window.vouched(at, resume)? {
                    return Err(LogError::corrupt(
                        &last.path,
                        at,
                        format!("{why}, and records after it are whole"),
                    ));
                }
                return Ok(Walked { end: at, torn: true, closed: false, vouched });
            }
        }
    }
}

/// A segment whose creation was cut short: nothing was ever in it.
fn write_head(last: &SegmentFile, store: &StoreId, len: u64) -> Result<Recovered, LogError> {
    let head = segment_head(store, last.number);
    let file = &last.file;
    file.set_len(0)
        .and_then(|()| file.write_all_at(&head, 0))
        .and_then(|()| file.sync_data())
        .map_err(LogError::io("write the header of", &last.path))?;
    Ok(Recovered {
        end: SEGMENT_HEAD,
        room: SEGMENT_HEAD,
        closed: true,
        cut: Some(Cut { segment: last.number, offset: 0, bytes: len }),
        vouched: SEGMENT_HEAD,
    })
}
