//! What is newer than redb: records, entry positions and intents that are in the log but not yet applied. Reads look
//! here first. Bounded by its owner: over its cap, writers wait for the applier.
//!
//! The applier takes a snapshot, commits it to redb, and only then calls [`Overlay::forget`], which drops what has not
//! changed since. A reader that misses here therefore finds it there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::hlc::Hlc;
use crate::id::{EntryId, FileId, NodeId};
use crate::log::Position;
use crate::merge::{FileAttrs, Record};

use super::branches::Branch;
use super::replace::Cut;
use super::rows::RowKey;

#[derive(Debug, Clone)]
struct Slot {
    version: u64,
    record: Arc<Record>,
}

/// The registers of a file without a head; `None`: it has one again.
pub type Dormant = Option<Arc<FileAttrs>>;

/// The last entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TipRow {
    pub seq: u64,
    pub hlc: Hlc,
    pub id: EntryId,
}

/// Changes to the state, newest first for a reader.
#[derive(Debug, Default)]
pub struct Overlay {
    records: BTreeMap<RowKey, Slot>,
    /// Registers of files without a head; `None`: they have one again.
    dormant: BTreeMap<(RowKey, FileId), Dormant>,
    entries: BTreeMap<(NodeId, u64), (Position, EntryId)>,
    /// The tips of the chains seen since opening; few, and kept.
    tips: BTreeMap<NodeId, TipRow>,
    /// Chains that are not projected whole; few, and kept.
    cuts: BTreeMap<NodeId, Cut>,
    /// Branches of forked chains; few, and kept.
    branches: BTreeMap<NodeId, Branch>,
    /// `None`: done.
    intents: BTreeMap<u64, Option<Bytes>>,
    version: u64,
    bytes: usize,
    /// Net change of the number of live keys and of entries since redb.
    live: i64,
    new_entries: u64,
    applied_to: Option<Position>,
    /// Something was published since redb.
    fresh: bool,
}

/// A consistent copy for the applier.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    pub version: u64,
    pub records: Vec<(RowKey, Arc<Record>)>,
    pub dormant: Vec<((RowKey, FileId), Dormant)>,
    pub entries: Vec<((NodeId, u64), (Position, EntryId))>,
    pub tips: Vec<(NodeId, TipRow)>,
    pub cuts: Vec<(NodeId, Cut)>,
    pub branches: Vec<(NodeId, Branch)>,
    pub intents: Vec<(u64, Option<Bytes>)>,
    pub live: i64,
    pub new_entries: u64,
    pub applied_to: Option<Position>,
    pub fresh: bool,
}

/// Rough bytes of a record's slot: the map's node, the `Arc`, one head with its registers.
const SLOT: usize = 700;
const ENTRY: usize = 120;
const DORMANT: usize = 600;

fn intent_cost(body: &Option<Bytes>) -> usize {
    ENTRY + body.as_ref().map_or(0, Bytes::len)
}

impl Overlay {
    pub fn record(&self, row: &RowKey) -> Option<&Arc<Record>> {
        self.records.get(row).map(|s| &s.record)
    }

    pub fn put_record(&mut self, row: RowKey, record: Arc<Record>) {
        let cost = SLOT + row.0.len();
        let version = self.version;
        if self.records.insert(row, Slot { version, record }).is_none() {
            self.bytes += cost;
        }
    }

    /// Outer `None`: look further.
    pub fn dormant(&self, row: &RowKey, file: &FileId) -> Option<&Dormant> {
        self.dormant.get(&(row.clone(), *file))
    }

    pub fn put_dormant(&mut self, row: RowKey, file: FileId, attrs: Dormant) {
        let cost = DORMANT + row.0.len();
        if self.dormant.insert((row, file), attrs).is_none() {
            self.bytes += cost;
        }
    }

    /// Rows that start with `prefix` and come after `after`, in order.
    pub fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        after: RowKey,
    ) -> impl Iterator<Item = (&'a RowKey, &'a Arc<Record>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.records
            .range((Excluded(after), Unbounded))
            .take_while(move |(row, _)| row.0.starts_with(prefix))
            .map(|(row, slot)| (row, &slot.record))
    }

    /// Every record newer than redb.
    pub fn all(&self) -> impl Iterator<Item = (&RowKey, &Arc<Record>)> {
        self.records.iter().map(|(row, slot)| (row, &slot.record))
    }

    pub fn entry(&self, author: &NodeId, seq: u64) -> Option<(Position, EntryId)> {
        self.entries.get(&(*author, seq)).copied()
    }

    pub fn put_entry(&mut self, author: NodeId, tip: TipRow, at: Position) {
        self.index_entry(author, tip, at);
        self.tips.insert(author, tip);
        self.new_entries += 1;
    }

    /// An author's chain is projected up to here.
    pub fn put_cut(&mut self, author: NodeId, cut: Cut) {
        self.cuts.insert(author, cut);
    }

    /// A chain has forked.
    pub fn put_branch(&mut self, name: NodeId, branch: Branch) {
        self.branches.insert(name, branch);
    }

    /// Where an entry stands that is not applied: it can be read and sent on.
    pub fn index_entry(&mut self, author: NodeId, tip: TipRow, at: Position) {
        if self.entries.insert((author, tip.seq), (at, tip.id)).is_none() {
            self.bytes += ENTRY;
        }
    }

    pub fn put_intent(&mut self, id: u64, body: Option<Bytes>) {
        self.bytes += intent_cost(&body);
        if let Some(old) = self.intents.insert(id, body) {
            self.bytes = self.bytes.saturating_sub(intent_cost(&old));
        }
    }

    pub fn intents(&self) -> &BTreeMap<u64, Option<Bytes>> {
        &self.intents
    }

    pub fn count_live(&mut self, change: i64) {
        self.live += change;
    }

    pub fn live(&self) -> i64 {
        self.live
    }

    pub fn new_entries(&self) -> u64 {
        self.new_entries
    }

    /// Ends one commit: what was put since the last call becomes one version, and the log is applied up to `last`.
    /// `None`: something before it is not, so a later opening begins there again; what it then applies twice it applies
    /// in the same order.
    pub fn publish(&mut self, last: Option<Position>) {
        self.version += 1;
        self.fresh = true;
        self.applied_to = last.or(self.applied_to);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.version,
            records: self.records.iter().map(|(k, s)| (k.clone(), s.record.clone())).collect(),
            dormant: self.dormant.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            entries: self.entries.iter().map(|(k, v)| (*k, *v)).collect(),
            tips: self.tips.iter().map(|(k, v)| (*k, *v)).collect(),
            cuts: self.cuts.iter().map(|(k, v)| (*k, *v)).collect(),
            branches: self.branches.iter().map(|(k, v)| (*k, *v)).collect(),
            intents: self.intents.iter().map(|(k, v)| (*k, v.clone())).collect(),
            live: self.live,
            new_entries: self.new_entries,
            applied_to: self.applied_to,
            fresh: self.fresh,
        }
    }

    /// Drops what `applied` holds and nothing since has changed.
    pub fn forget(&mut self, applied: &Snapshot) {
        for (row, _) in &applied.records {
            if self.records.get(row).is_some_and(|s| s.version < applied.version) {
                self.records.remove(row);
                self.bytes = self.bytes.saturating_sub(SLOT + row.0.len());
            }
        }
        for (key, attrs) in &applied.dormant {
            let same = |now: &Dormant| match (now, attrs) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                (now, then) => now.is_none() && then.is_none(),
            };
            if self.dormant.get(key).is_some_and(same) {
                self.dormant.remove(key);
                self.bytes = self.bytes.saturating_sub(DORMANT + key.0.0.len());
            }
        }
        for (key, _) in &applied.entries {
            if self.entries.remove(key).is_some() {
                self.bytes = self.bytes.saturating_sub(ENTRY);
            }
        }
        for (id, body) in &applied.intents {
            if self.intents.get(id) == Some(body) {
                self.intents.remove(id);
                self.bytes = self.bytes.saturating_sub(intent_cost(body));
            }
        }
        self.live -= applied.live;
        self.new_entries -= applied.new_entries;
        if self.version == applied.version {
            self.applied_to = None;
            self.fresh = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the overlay holds decides whether writers wait: a byte that is counted and never given back is one that, many
    /// times over, makes them wait for ever.
    #[test]
    fn an_overlay_that_was_applied_whole_counts_no_bytes() {
        let mut overlay = Overlay::default();
        for id in 0..20_000 {
            overlay.put_intent(id, Some(Bytes::from_static(&[7; 150])));
            if id % 3 == 0 {
                let applied = overlay.snapshot();
                overlay.put_intent(id, None);
                overlay.forget(&applied);
            }
            overlay.put_intent(id, None);
            let (author, tip) = (NodeId([1; 32]), TipRow { seq: id / 2, hlc: Hlc::ZERO, id: EntryId::ZERO });
            let at = Position { segment: 0, offset: id, len: 1 };
            // A replay comes back to what stood behind an open group.
            overlay.index_entry(author, tip, at);
            overlay.put_entry(author, tip, at);
            overlay.publish(Some(at));
        }
        let applied = overlay.snapshot();
        overlay.forget(&applied);
        assert_eq!(overlay.bytes(), 0);
    }
}
