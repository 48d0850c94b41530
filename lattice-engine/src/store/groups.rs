//! Groups whose last entry has not come yet: entries of one author that count together or not at all.
//!
//! Only where they stand is kept, in memory; they are read from the log again when the last one has come. A state says
//! nothing of them beyond where each entry stands, so an opening finds those that are open by the tips alone
//! ([`reopen`]), and what came behind an open group isn't replayed for it. Which entries make a group is a rule of the
//! format (FORMAT.md, *Chain*), for every replica has to find the same: it refuses one that is too large, and entries
//! that go on with a group which isn't open.
//!
//! Where an author forks in the midst of a group, branches share its beginning. That has its effect once, with the branch
//! whose end of the group came here first, whether or not another has abandoned it ([`due`]).

use crate::chain::{ChainId, Tip};
use crate::entry::{EntryRef, Header};
use crate::id::EntryId;
use crate::log::Position;

use super::apply::Applier;
use super::branches::Branches;
use super::error::Result;
use super::history;
use super::view::View;

/// The most entries of a group.
pub(super) const MAX_ENTRIES: usize = 4096;
/// The most bytes of their headers and payloads. A commit's are fewer: the log takes no batch that is longer than this.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// The entries of a group that are here, from the first one on.
#[derive(Debug)]
pub(super) struct OpenGroup {
    /// The first one's number.
    first: u64,
    entries: Vec<Position>,
    bytes: u64,
}

impl OpenGroup {
    /// The group that an entry belongs to, up to it, when `open` is the one that was open before it on its path; an entry of
    /// no group is one by itself. `None`: it has no effect, and neither has what it was to be a group with.
    pub fn with(open: Option<Self>, header: &Header, header_len: usize, position: Position) -> Option<Self> {
        let begins = header.group_first == 0 || header.group_first == header.seq;
        let mut group = if begins {
            Self { first: header.seq, entries: Vec::with_capacity(1), bytes: 0 }
        } else {
            open.filter(|group| group.first == header.group_first)?
        };
        group.entries.push(position);
        group.bytes += header_len as u64 + header.payload_len;
        (group.entries.len() <= MAX_ENTRIES && group.bytes <= MAX_BYTES).then_some(group)
    }

    /// Where all but the last of them stand.
    fn before_last(&self) -> &[Position] {
        self.entries.split_last().map_or(&[], |(_, before)| before)
    }
}

/// The group that `chain` has open, as an opening finds it.
pub(super) fn reopen(view: &View, chain: &ChainId, tip: &Tip) -> Result<Option<OpenGroup>> {
    let branches = view.branches.read().clone();
    let paths = Paths { view, branches: &branches, at: &|chain, seq| view.entry(chain, seq) };
    let Some(last) = paths.found(chain, tip.seq)? else { return Ok(None) };
    let may_end = || view.members.counts(chain, &last.at()) && !view.members.is_last(chain, &last.at());
    if !last.header.group_more || !may_end() {
        return Ok(None);
    }
    paths.open_after(chain, last.header.group_first, tip.seq)
}

/// The group that was open before an entry of `chain` where the chain leaves another: it began there.
pub(super) fn begun_before(
    applier: &Applier<'_>,
    chain: &ChainId,
    header: &Header,
) -> Result<Option<OpenGroup>> {
    if header.group_first == 0 || header.group_first == header.seq {
        return Ok(None);
    }
    let branches = applier.view().branches.read();
    if branches.get(chain).is_none_or(|branch| branch.first != header.seq) {
        return Ok(None);
    }
    Paths::of(applier, &branches, &|chain, seq| applier.at(chain, seq)).open_after(
        chain,
        header.group_first,
        header.seq - 1,
    )
}

/// Where those of a group stand that have an effect now: an entry of `chain`, which stands at `end`, has ended it. What this
/// path shares with one that has ended it before has had its effect. Before is what the log says: an opening may know of
/// entries that it hasn't come to again.
pub(super) fn due(
    applier: &Applier<'_>,
    chain: &ChainId,
    header: &Header,
    group: &OpenGroup,
    end: Position,
) -> Result<Vec<Position>> {
    let (before, first) = (group.before_last(), group.first);
    let branches = applier.view().branches.read();
    if before.is_empty() || branches.of(&header.author).is_empty() {
        return Ok(before.to_vec());
    }
    let at = |chain: &ChainId, seq| applier.at(chain, seq);
    let paths = Paths::of(applier, &branches, &at);
    let mut done = first - 1;
    for other in branches.chains(&header.author) {
        let shared = branches.shared(chain, &other);
        if other != *chain && shared > done && paths.end_of(&other, first)?.is_some_and(|at| at < end) {
            done = shared;
        }
    }
    Ok(before.iter().skip((done + 1 - first) as usize).copied().collect())
}

type At<'a> = &'a dyn Fn(&ChainId, u64) -> Result<Option<(Position, EntryId)>>;

/// The paths from the genesis to the ends of an author's chains.
struct Paths<'a> {
    view: &'a View,
    branches: &'a Branches,
    /// Where an entry of a chain stands.
    at: At<'a>,
}

/// An entry, without what it did.
struct Found {
    /// The chain that has it.
    chain: ChainId,
    position: Position,
    id: EntryId,
    header: Header,
    header_len: usize,
}

impl Found {
    fn at(&self) -> EntryRef {
        let Header { hlc, author, seq, .. } = self.header;
        EntryRef { hlc, author, id: self.id, seq }
    }
}

impl<'a> Paths<'a> {
    fn of(applier: &Applier<'a>, branches: &'a Branches, at: At<'a>) -> Self {
        Self { view: applier.view(), branches, at }
    }

    fn found(&self, path: &ChainId, seq: u64) -> Result<Option<Found>> {
        let chain = self.branches.chain_at(path, seq);
        let Some((position, id)) = (self.at)(&chain, seq)? else { return Ok(None) };
        let header = history::header(self.view, position, &id)?;
        Ok(header.map(|(header, header_len)| Found { chain, position, id, header, header_len }))
    }

    /// The group that begins with entry `first` of a path, as far as it goes, but no further than `last`; and the last entry
    /// of it.
    fn follow(&self, path: &ChainId, first: u64, last: u64) -> Result<Option<(OpenGroup, Found)>> {
        let mut known: Option<(OpenGroup, Found)> = None;
        for seq in first..=last {
            let Some(next) = self.found(path, seq)? else { break };
            let open = known.map(|(group, _)| group);
            let Some(group) = OpenGroup::with(open, &next.header, next.header_len, next.position)
                .filter(|group| group.first == first)
            else {
                return Ok(None);
            };
            let ends = !next.header.group_more;
            known = Some((group, next));
            if ends {
                break;
            }
        }
        Ok(known)
    }

    /// The group that is open after entry `last` of a path, if it began with `first`.
    fn open_after(&self, path: &ChainId, first: u64, last: u64) -> Result<Option<OpenGroup>> {
        let known = self.follow(path, first, last)?;
        let open = known.filter(|(_, end)| end.header.group_more && end.header.seq == last);
        Ok(open.map(|(group, _)| group))
    }

    /// Where the last entry of the group that begins with `first` stands, if it is whole on a path, and counts.
    fn end_of(&self, path: &ChainId, first: u64) -> Result<Option<Position>> {
        let Some((_, end)) = self.follow(path, first, u64::MAX)? else { return Ok(None) };
        // What it comes after counts as well.
        let whole = !end.header.group_more && self.view.members.counts(&end.chain, &end.at());
        Ok(whole.then_some(end.position))
    }
}
