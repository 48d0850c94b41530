//! Groups whose last entry has not come yet: entries of one author that count together or not at all.
//!
//! Only where they stand is kept, in memory; they are read from the log again when the last one has come. A state says
//! nothing of them beyond where each entry stands, so an opening finds those that are open by the tips alone
//! ([`reopen`]), and what came behind an open group isn't replayed for it. Which entries make a group is a rule of the
//! format (FORMAT.md, *Chain*), for every replica has to find the same: it refuses one that is too large, and entries
//! that go on with a group which isn't open.

use crate::chain::Tip;
use crate::entry::Entry;
use crate::id::NodeId;
use crate::log::Position;

use super::error::Result;
use super::view::View;

/// The most entries of a group.
pub(super) const MAX_ENTRIES: usize = 4096;
/// The most bytes of their headers and payloads. A commit's are fewer: the log takes no batch that is longer than this.
pub(super) const MAX_BYTES: usize = 256 << 20;

/// The entries of a group that are here, from the first one on.
#[derive(Debug)]
pub(super) struct OpenGroup {
    /// The first one's number.
    first: u64,
    entries: Vec<Position>,
    bytes: usize,
}

impl OpenGroup {
    /// The group that `entry` belongs to, up to it, when `open` is the one that its author had open before it; an entry of
    /// no group is one by itself. `None`: it has no effect, and neither has what it was to be a group with.
    pub fn with(open: Option<Self>, entry: &Entry, position: Position) -> Option<Self> {
        let header = &entry.header;
        let begins = header.group_first == 0 || header.group_first == header.seq;
        let mut group = if begins {
            Self { first: header.seq, entries: Vec::with_capacity(1), bytes: 0 }
        } else {
            open.filter(|group| group.first == header.group_first)?
        };
        group.entries.push(position);
        group.bytes += entry.header_bytes.len() + entry.payload_bytes.len();
        (group.entries.len() <= MAX_ENTRIES && group.bytes <= MAX_BYTES).then_some(group)
    }

    /// Where all but the last of them stand.
    pub fn before_last(&self) -> &[Position] {
        self.entries.split_last().map_or(&[], |(_, before)| before)
    }
}

/// The group that `author` has open, as an opening finds it.
pub(super) fn reopen(view: &View, author: &NodeId, tip: &Tip) -> Result<Option<OpenGroup>> {
    let at = |seq| -> Result<Option<(Entry, Position)>> {
        let Some((position, _)) = view.entry(author, seq)? else { return Ok(None) };
        Ok(super::history::read(view, position)?.map(|entry| (entry, position)))
    };
    let Some((last, _)) = at(tip.seq)? else { return Ok(None) };
    let header = &last.header;
    let may_end = view.members.counts(author, tip.seq, &last.id) && !view.members.is_last(&last);
    if !header.group_more || !may_end || tip.seq - header.group_first >= MAX_ENTRIES as u64 {
        return Ok(None);
    }
    let mut group = None;
    for seq in header.group_first..=tip.seq {
        let Some((entry, position)) = at(seq)? else { return Ok(None) };
        group = OpenGroup::with(group, &entry, position).filter(|_| entry.header.group_more);
    }
    Ok(group)
}
