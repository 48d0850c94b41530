//! An entry's operations, applied to the overlay: records, and what stands below their directories.
//!
//! The result is a function of the set of entries applied, whatever their order (invariant I1): heads and registers are
//! `merge`'s, the counts of children follow from them, and a directory's time is the latest of its children's comings and
//! goings.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use crate::chain::{ChainId, Tip};
use crate::entry::{Content, Dep, Entry, LogRange, Node, Op, Value};
use crate::id::{EntryId, FileId, NodeId};
use crate::key::Key;
use crate::log::{PAYLOAD_AT, Position};
use crate::merge::{EntryRef, Record};
use crate::state::{Branch, Cut, Dormant, Overlay, RowKey, TipRow};

use super::error::{Result, StoreError};
use super::govern::{Governed, after_projecting, leave_out};
use super::groups::{self, OpenGroup};
use super::late;
use super::reader::to_wire;
use super::view::View;
use super::writer::Chains;

/// Inline bytes up to this many are copied into the record's row; longer ones stay in the log, and the row says where.
/// Small rows keep more of a large store in redb's cache; reading a value back is one `pread` from the page cache.
const MAX_IN_ROW: usize = 64;

/// The overlay, locked for one commit. It is changed by [`Applier::finish`], when all that is to be done is known to be
/// possible: redb may fail to answer in the middle of it, and half an entry must be neither shown nor kept.
pub(super) struct Applier<'a> {
    view: &'a View,
    overlay: RwLockWriteGuard<'a, Overlay>,
    /// Records as they will be, and those that were looked at.
    known: Known,
    changed: Vec<RowKey>,
    dormant: BTreeMap<(RowKey, FileId), Dormant>,
    live: i64,
    /// Entries that are in the log from here on. `false`: not applied, for the projection stands still before them.
    entries: BTreeMap<(ChainId, u64), (TipRow, Position, bool)>,
    cuts: Vec<(ChainId, Cut)>,
    applied_to: Option<Position>,
}

/// Records as they stand, read under the writer's lock: planning has looked at what applying will change.
pub(super) type Known = HashMap<RowKey, Arc<Record>>;

impl<'a> Applier<'a> {
    pub fn new(view: &'a View) -> Self {
        Self::knowing(view, Known::default())
    }

    /// With records that no commit has changed since they were read.
    pub fn knowing(view: &'a View, known: Known) -> Self {
        let overlay = view.overlay.write();
        Self {
            view,
            overlay,
            known,
            changed: Vec::new(),
            dormant: BTreeMap::new(),
            live: 0,
            entries: BTreeMap::new(),
            cuts: Vec::new(),
            applied_to: None,
        }
    }

    /// An entry that was applied, or left out.
    pub fn placed(&mut self, chain: ChainId, entry: &Entry, position: Position) {
        self.entries.insert((chain, entry.header.seq), (tip_row(entry), position, true));
    }

    /// Keeps count of an entry that the projection, which stands still before it, can't apply: its chain goes on, and it
    /// can be found. The applied mark stays, so a later opening comes back to it.
    pub fn note(&mut self, chains: &mut Chains, chain: ChainId, entry: &Entry, position: Position) {
        chains.tips.insert(chain, Tip::of(entry));
        self.entries.insert((chain, entry.header.seq), (tip_row(entry), position, false));
    }

    pub fn cut(&mut self, chain: ChainId, cut: Cut) {
        self.cuts.push((chain, cut));
    }

    /// A branch begins: its first entry is to be placed.
    pub fn branch(&mut self, name: ChainId, branch: Branch) {
        self.view.branches.write().insert(name, branch);
        self.overlay.put_branch(name, branch);
    }

    /// The log is applied up to here; `None`: no further than before.
    pub fn mark(&mut self, applied_to: Option<Position>) {
        self.applied_to = applied_to.or(self.applied_to);
    }

    /// Makes it visible. Gives the bytes that the overlay holds now.
    pub fn finish(mut self) -> usize {
        for row in self.changed {
            // Named twice when several operations changed it.
            if let Some(record) = self.known.remove(&row) {
                self.overlay.put_record(row, record);
            }
        }
        for ((row, file), attrs) in self.dormant {
            self.overlay.put_dormant(row, file, attrs);
        }
        self.overlay.count_live(self.live);
        for (chain, cut) in self.cuts {
            self.overlay.put_cut(chain, cut);
        }
        for ((chain, _), (tip, position, applied)) in self.entries {
            if applied {
                self.overlay.put_entry(chain, tip, position);
            } else {
                self.overlay.index_entry(chain, tip, position);
            }
        }
        self.overlay.publish(self.applied_to);
        self.overlay.bytes()
    }

    pub fn members(&self) -> &Governed {
        &self.view.members
    }

    /// An entry of a chain that is in the log.
    pub fn logged(&self, chain: &ChainId, seq: u64) -> Result<Option<(Entry, Position)>> {
        let Some((position, _)) = self.at(chain, seq)? else { return Ok(None) };
        Ok(super::history::read(self.view, position)?.map(|entry| (entry, position)))
    }

    /// Where an entry of a chain stands, and its id.
    pub fn at(&self, chain: &ChainId, seq: u64) -> Result<Option<(Position, EntryId)>> {
        let ours = self.entries.get(&(*chain, seq)).map(|(tip, position, _)| (*position, tip.id));
        Ok(match ours.or_else(|| self.overlay.entry(chain, seq)) {
            Some(found) => Some(found),
            None => self.view.state.read()?.entry(chain, seq)?,
        })
    }

    /// Where an author's entry stands, on whichever branch it is.
    pub fn find(&self, author: &NodeId, seq: u64, id: &EntryId) -> Result<Option<Position>> {
        for chain in self.view.branches.read().chains(author) {
            if let Some((position, _)) = self.at(&chain, seq)?.filter(|(_, found)| found == id) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// What a dep stands for: its chain, and those that this one leaves, each up to a number.
    pub fn path_to(&self, dep: &Dep) -> Result<Vec<(ChainId, u64)>> {
        let branches = self.view.branches.read();
        for chain in branches.of(&dep.author) {
            if self.at(chain, dep.seq)?.is_some_and(|(_, id)| id == dep.id) {
                return Ok(branches.path(chain, dep.seq));
            }
        }
        Ok(vec![(dep.author, dep.seq)])
    }

    pub fn view(&self) -> &'a View {
        self.view
    }

    /// Applies one entry whose record stands at `position`.
    pub fn entry(&mut self, entry: &Entry, position: Position) -> Result<()> {
        let at = entry.entry_ref();
        let mut searched = 0;
        for op in &entry.ops {
            match op {
                Op::Put { key, node, new_name, parents } => {
                    let node = self.place(node, entry, position, &mut searched);
                    let file = Some(node.file_id);
                    self.change(key, file, at, *new_name, |record| record.apply_put(at, node, parents))?;
                }
                Op::Delete { key, parents } => {
                    self.change(key, None, at, true, |record| record.apply_delete(at, parents))?;
                }
                Op::Attr { key, file_id, attrs } => {
                    self.change(key, Some(*file_id), at, false, |record| {
                        record.apply_attr(at, *file_id, attrs.clone())
                    })?;
                }
                // Of a program that isn't here: the projection stopped before it, see `unrouted`.
                Op::Instruction { .. } => {}
            }
        }
        Ok(())
    }

    /// Applies an entry that is in the log, and was looked at before.
    fn again(&mut self, position: Position) -> Result<()> {
        let entry = super::history::read(self.view, position)?.ok_or_else(|| {
            StoreError::Refused("another record stands where an entry was: run `lattice fsck`".into())
        })?;
        self.entry(&entry, position)?;
        late::leave_superseded(self, &entry)
    }

    /// The versions of a key that this commit has changed.
    pub fn heads(&self, key: &Key) -> Vec<EntryRef> {
        let record = self.known.get(&RowKey::of(key));
        record.map_or_else(Vec::new, |record| record.heads.iter().map(|head| head.entry).collect())
    }

    /// A version of a key is none any more.
    pub fn take_back(&mut self, key: &Key, at: EntryRef) -> Result<()> {
        self.change(key, None, at, false, |record| record.drop_head(&at.id))
    }

    /// The node as the record keeps it: longer inline bytes are left in the log. `searched`: the ops before took so much of
    /// the payload.
    fn place(&self, node: &Node, entry: &Entry, position: Position, searched: &mut usize) -> Node {
        let mut node = node.clone();
        if let Value::File(Content::Inline(bytes)) = &node.value
            && bytes.len() > MAX_IN_ROW
            && let Some(found) = find(&entry.payload_bytes, bytes, *searched)
        {
            *searched = found + bytes.len();
            let start = position.offset + u64::from(PAYLOAD_AT) + entry.header_bytes.len() as u64;
            node.value = Value::File(Content::InLog(LogRange {
                segment: position.segment,
                offset: start + found as u64,
                len: bytes.len() as u32,
            }));
        }
        node
    }

    fn load(&mut self, row: &RowKey) -> Result<Arc<Record>> {
        if let Some(record) = self.known.remove(row) {
            return Ok(record);
        }
        if let Some(record) = self.overlay.record(row) {
            return Ok(record.clone());
        }
        Ok(Arc::new(self.view.state.read()?.record(row)?.unwrap_or_default()))
    }

    fn put(&mut self, row: RowKey, record: Arc<Record>) {
        self.changed.push(row.clone());
        self.known.insert(row, record);
    }

    /// Changes a record, and what its ancestors know of it.
    fn change(
        &mut self,
        key: &Key,
        file: Option<FileId>,
        at: EntryRef,
        name_changed: bool,
        apply: impl FnOnce(&mut Record),
    ) -> Result<()> {
        let row = RowKey::of(key);
        let mut record = self.load(&row)?;
        let before = Shape::of(&record);
        let live = record.is_live();
        if let Some(file) = file.filter(|f| record.dormant > 0 && !record.attrs.contains(f)) {
            self.wake(&row, file, Arc::make_mut(&mut record))?;
        }
        apply(Arc::make_mut(&mut record));
        self.bring_in_line(&mut record)?;
        // The root has no heads, and its registers are its own.
        if !key.is_root() {
            for (file, attrs) in Arc::make_mut(&mut record).take_dormant() {
                self.dormant.insert((row.clone(), file), Some(Arc::new(attrs)));
            }
        }
        let after = Shape::of(&record);
        self.live += i64::from(record.is_live()) - i64::from(live);
        self.put(row, record);
        self.lift(key, before, after, name_changed.then_some(at))
    }

    /// Concurrent versions are compared by their bytes, and equal ones stand at different places of the log.
    fn bring_in_line(&self, record: &mut Arc<Record>) -> Result<()> {
        if record.live_heads().nth(1).is_none() {
            return Ok(());
        }
        for node in Arc::make_mut(record).heads.iter_mut().filter_map(|h| h.node.as_mut()) {
            node.value = to_wire(self.view, &node.value)?;
        }
        Ok(())
    }

    /// Gives a record back the registers of a file that an operation is about to bring to life again.
    fn wake(&mut self, row: &RowKey, file: FileId, record: &mut Record) -> Result<()> {
        let key = (row.clone(), file);
        let found = match self.dormant.get(&key).or_else(|| self.overlay.dormant(row, &file)) {
            Some(newer) => newer.as_deref().cloned(),
            None => self.view.state.read()?.dormant(row, &file)?,
        };
        if let Some(attrs) = found {
            record.wake(file, attrs);
            self.dormant.insert(key, None);
        }
        Ok(())
    }

    /// Tells the parent that a child has appeared, gone or changed its kind, and on upwards while that changes the
    /// parent's own existence (directories that no entry names).
    fn lift(&mut self, key: &Key, before: Shape, after: Shape, named: Option<EntryRef>) -> Result<()> {
        let Some(parent) = key.parent() else { return Ok(()) };
        if before == after && named.is_none() {
            return Ok(());
        }
        let row = RowKey::of(&parent);
        let mut record = self.load(&row)?;
        let was = Shape::of(&record);
        let below = &mut Arc::make_mut(&mut record).below;
        let count =
            |n: u64, before: bool, after: bool| n.saturating_add_signed(i64::from(after) - i64::from(before));
        below.children = count(below.children, before.exists, after.exists);
        below.dirs = count(below.dirs, before.dir, after.dir);
        if let Some(at) = named {
            below.changed = below.changed.max(at.hlc);
        }
        let is = Shape::of(&record);
        self.put(row, record);
        self.lift(&parent, was, is, None)
    }
}

/// What a parent counts of a child.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    exists: bool,
    dir: bool,
}

impl Shape {
    fn of(record: &Record) -> Self {
        let exists = record.exists();
        Self { exists, dir: exists && record.is_dir() }
    }
}

/// Where `needle` stands in `hay`, at or after `from`: ops stand in a payload in their order, and a search from its start
/// for each of many would take most of the time of a large commit. Any occurrence serves, for the bytes are the same. A
/// decoded op's bytes share the payload's memory, so that is tried before a search.
fn find(hay: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let offset = (needle.as_ptr() as usize).wrapping_sub(hay.as_ptr() as usize);
    if offset.checked_add(needle.len()).is_some_and(|end| end <= hay.len()) {
        return Some(offset);
    }
    let rest = hay.get(from..)?;
    // Comparing a first byte by hand spares a call for each place.
    let (first, tail) = needle.split_first()?;
    let last = rest.len().checked_sub(tail.len())?;
    let found = (0..last).find(|i| rest[*i] == *first && rest[i + 1..].starts_with(tail))?;
    Some(from + found)
}

/// Why an entry's instructions can't be carried out here. Those of native programs are plain operations by now.
pub(super) fn unrouted(entry: &Entry) -> Option<String> {
    entry.ops.iter().find_map(|op| match op {
        Op::Instruction { program_id, .. } => {
            Some(format!("it calls program {program_id:?}, which this lattice doesn't have: upgrade it"))
        }
        _ => None,
    })
}

/// Applies an entry of `chain` that is in the log: at once, or with the rest of its group. A group whose author goes on without
/// ending it (a torn write) is void, and so is one that is too large. One that doesn't count is left out.
pub(super) fn project(
    applier: &mut Applier<'_>,
    chains: &mut Chains,
    chain: ChainId,
    entry: &Entry,
    position: Position,
) -> Result<()> {
    let header = &entry.header;
    if !applier.view.members.counts(&chain, &entry.entry_ref()) {
        leave_out(applier, chains, chain, entry, position);
        return Ok(());
    }
    chains.tips.insert(chain, Tip::of(entry));
    let open = match chains.open_groups.remove(&chain) {
        None => groups::begun_before(applier, &chain, header)?,
        open => open,
    };
    let group = OpenGroup::with(open, header, entry.header_bytes.len(), position);
    applier.placed(chain, entry, position);
    match group {
        None => tracing::debug!(entry = %entry.id, "its group is void"),
        Some(group) if header.group_more => drop(chains.open_groups.insert(chain, group)),
        Some(group) => {
            let due = groups::due(applier, &chain, header, &group, position)?;
            due.iter().try_for_each(|before| applier.again(*before))?;
            applier.entry(entry, position)?;
        }
    }
    after_projecting(applier, chains, chain, entry)?;
    applier.mark(Some(position));
    Ok(())
}

fn tip_row(entry: &Entry) -> TipRow {
    TipRow { seq: entry.header.seq, hlc: entry.header.hlc, id: entry.id }
}
