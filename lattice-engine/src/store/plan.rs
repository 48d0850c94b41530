//! From what a caller wants to operations: preconditions checked and heads cited as they stand now. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Attrs, EntryError, Node, Op, Value};
use crate::id::EntryId;
use crate::key::Key;
use crate::merge::{EntryRef, FileAttrs, Head, HeadNode, Record};
use crate::state::RowKey;

use super::apply::Known;
use super::change::{Change, Cites, Expect, MAX_RENAME, RenameHow};
use super::error::{Result, StoreError};
use super::view::View;

/// The operations of one commit, each with where the entries stand that it cites.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub ops: Vec<(Op, Vec<EntryRef>)>,
    /// Where in `ops` another entry must begin: an entry has one version of a key.
    pub breaks: Vec<usize>,
    /// Keys whose record an op changes, and the directories those stand in: what another commit in the same entry
    /// may not touch.
    pub keys: BTreeSet<Key>,
    pub dirs: BTreeSet<Key>,
    /// The records that were looked at, as they stand.
    pub known: Known,
    /// Moves a subtree, or needs several entries: shares them with nobody.
    pub alone: bool,
    /// Comes after everything that is here.
    pub cite_all: bool,
}

impl Plan {
    pub fn of(view: &View, changes: Vec<Change>) -> Result<Self> {
        let mut plan = Self::default();
        for change in changes {
            plan.add(view, change)?;
        }
        Ok(plan)
    }

    /// Whether both can stand in one entry: neither depends on what the other does.
    pub fn disjoint(&self, other: &Self) -> bool {
        !self.alone
            && !other.alone
            && self.keys.is_disjoint(&other.keys)
            && self.keys.is_disjoint(&other.dirs)
            && self.dirs.is_disjoint(&other.keys)
    }

    fn add(&mut self, view: &View, change: Change) -> Result<()> {
        match change {
            Change::Put { key, node, cites, expect } => {
                let record = self.record(view, &key)?;
                check(&key, &record, &expect)?;
                if expect != Expect::Beside {
                    if !matches!(node.value, Value::Dir) && record.below.children > 0 {
                        return Err(StoreError::IsADirectory(key));
                    }
                    self.check_parent(view, &key)?;
                }
                let parents = cited(view, &key, &record, cites)?;
                self.put(key, node, !record.exists(), parents);
            }
            Change::Delete { key, cites, expect } => {
                let record = self.record(view, &key)?;
                check(&key, &record, &expect)?;
                if record.heads.iter().all(|h| h.node.is_none()) && matches!(cites, Cites::All) {
                    return Ok(());
                }
                let parents = cited(view, &key, &record, cites)?;
                self.delete(key, parents);
            }
            Change::Attr { key, file_id, attrs } => {
                self.keys.insert(key.clone());
                self.ops.push((Op::Attr { key, file_id, attrs }, Vec::new()));
            }
            Change::Rename { from, to, how } => self.rename(view, from, to, how)?,
            Change::CiteAll => self.cite_all = true,
            Change::Instruction { program_id, payload } => self.instruct(view, program_id, payload)?,
        }
        Ok(())
    }

    /// Planned as the operation that it is, citing all heads, and written as the instruction that it came as.
    fn instruct(&mut self, view: &View, program_id: String, payload: Bytes) -> Result<()> {
        let op = Op::of_instruction(&program_id, payload.clone())
            .map_err(|why| EntryError::Op { index: self.ops.len(), why })?;
        let (cites, expect) = (Cites::All, Expect::Anything);
        let before = self.ops.len();
        self.add(
            view,
            match op {
                Op::Put { key, node, .. } => Change::Put { key, node, cites, expect },
                Op::Delete { key, .. } => Change::Delete { key, cites, expect },
                Op::Attr { key, file_id, attrs } => Change::Attr { key, file_id, attrs },
                Op::Instruction { program_id, .. } => {
                    return Err(StoreError::Refused(format!(
                        "no program named {program_id:?} is deployed in this store"
                    )));
                }
            },
        )?;
        for (op, parents) in &mut self.ops[before..] {
            let (program_id, payload) = (program_id.clone(), payload.clone());
            *op = Op::Instruction { program_id, payload, parents: ids(parents) };
        }
        Ok(())
    }

    fn record(&mut self, view: &View, key: &Key) -> Result<Arc<Record>> {
        let row = RowKey::of(key);
        if let Some(record) = self.known.get(&row) {
            return Ok(record.clone());
        }
        let record = view.row(&row)?.unwrap_or_default();
        self.known.insert(row, record.clone());
        Ok(record)
    }

    fn put(&mut self, key: Key, node: Node, new_name: bool, parents: Vec<EntryRef>) {
        self.touch(&key);
        let op = Op::Put { key, node, new_name, parents: ids(&parents) };
        self.ops.push((op, parents));
    }

    fn delete(&mut self, key: Key, parents: Vec<EntryRef>) {
        self.touch(&key);
        self.ops.push((Op::Delete { key, parents: ids(&parents) }, parents));
    }

    fn touch(&mut self, key: &Key) {
        self.keys.insert(key.clone());
        self.dirs.extend(key.parent());
    }

    /// A parent that this same commit makes is as good as one that stands.
    fn check_parent(&mut self, view: &View, key: &Key) -> Result<()> {
        let mut above = key.parent();
        while let Some(parent) = above.filter(|p| !p.is_root() && !self.keys.contains(p)) {
            let record = self.record(view, &parent)?;
            if record.exists() {
                return if record.is_dir() { Ok(()) } else { Err(StoreError::NotADirectory(parent)) };
            }
            above = parent.parent();
        }
        Ok(())
    }

    fn rename(&mut self, view: &View, from: Key, to: Key, how: RenameHow) -> Result<()> {
        let source = self.record(view, &from)?;
        if !source.exists() {
            return Err(StoreError::NotFound(from));
        }
        if to.is_below(&from) || (how == RenameHow::Exchange && from.is_below(&to)) {
            return Err(StoreError::IntoItself(from));
        }
        let target = self.record(view, &to)?;
        if from == to {
            return match how {
                RenameHow::NoReplace => Err(StoreError::Exists(to)),
                _ => Ok(()),
            };
        }
        self.check_parent(view, &to)?;
        match how {
            RenameHow::Exchange if !target.exists() => return Err(StoreError::NotFound(to)),
            RenameHow::NoReplace if target.exists() => return Err(StoreError::Exists(to)),
            RenameHow::Replace if target.exists() => match (source.is_dir(), target.is_dir()) {
                (true, false) => return Err(StoreError::NotADirectory(to)),
                (false, true) => return Err(StoreError::IsADirectory(to)),
                (true, true) if target.below.children > 0 => return Err(StoreError::NotEmpty(to)),
                _ => {}
            },
            _ => {}
        }
        let mut moved = self.subtree(view, &from, &to, &source)?;
        if how == RenameHow::Exchange {
            moved.extend(self.subtree(view, &to, &from, &target)?);
        }
        self.alone |= moved.len() > 1;
        self.place(view, moved)
    }

    /// Everything live at or below `from`, and the key that it moves to.
    fn subtree(&self, view: &View, from: &Key, to: &Key, top: &Arc<Record>) -> Result<Vec<Move>> {
        let mut moved = vec![Move { from: from.clone(), to: to.clone(), record: top.clone() }];
        if top.below.children == 0 {
            return Ok(moved);
        }
        let mut failed = None;
        let flow = view.walk(from, &mut |key, record| match key.rebase(from, to) {
            Ok(to) => {
                moved.push(Move { from: key.clone(), to, record: record.clone() });
                if moved.len() > MAX_RENAME { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Err(e) => {
                failed = Some(StoreError::Key(to.clone(), e));
                ControlFlow::Break(())
            }
        })?;
        match failed {
            Some(e) => Err(e),
            None if flow.is_break() => Err(StoreError::TooMany(from.clone())),
            None => Ok(moved),
        }
    }

    /// A key that something moves to is put, a key that is only left is deleted. Nothing that lives there ends: versions
    /// in conflict move along, and are in conflict there.
    fn place(&mut self, view: &View, moved: Vec<Move>) -> Result<()> {
        self.carry(view, &moved)?;
        let mut left: BTreeMap<Key, Arc<Record>> =
            moved.iter().map(|m| (m.from.clone(), m.record.clone())).collect();
        for Move { to, record: source, .. } in moved {
            // A directory that no entry names moves with what is below it.
            let Some(shown) = source.winner().and_then(|h| h.node.as_ref()) else { continue };
            let node = whole_node(view, &source, shown)?;
            let parents = match left.remove(&to) {
                // It moves away itself, with all of its versions.
                Some(target) => target.heads.iter().map(|h| h.entry).collect(),
                None => seen(&*self.record(view, &to)?),
            };
            // A rename shows in the times of both directories, even when it replaces a name.
            self.put(to, node, true, parents);
        }
        for (key, record) in left {
            if record.is_live() {
                let parents = record.heads.iter().map(|h| h.entry).collect();
                self.delete(key, parents);
            }
        }
        Ok(())
    }

    /// Puts the versions in conflict with those that move. They come in entries before: the last one wins.
    fn carry(&mut self, view: &View, moved: &[Move]) -> Result<()> {
        let mut entries: Vec<Vec<(Key, Node)>> = Vec::new();
        for Move { to, record, .. } in moved {
            for (i, sibling) in siblings(record).into_iter().enumerate() {
                if entries.len() == i {
                    entries.push(Vec::new());
                }
                entries[i].push((to.clone(), whole_node(view, record, sibling)?));
            }
        }
        for entry in entries {
            for (to, node) in entry {
                self.put(to, node, true, Vec::new());
            }
            self.breaks.push(self.ops.len());
            self.alone = true;
        }
        Ok(())
    }
}

/// The versions that differ from the one that wins, each once.
fn siblings(record: &Record) -> Vec<&HeadNode> {
    let Some(shown) = record.winner().and_then(|h| h.node.as_ref()) else { return Vec::new() };
    let mut siblings: Vec<&HeadNode> = Vec::new();
    for node in record.live_heads().filter_map(|h| h.node.as_ref()) {
        if node.value != shown.value && siblings.iter().all(|s| s.value != node.value) {
            siblings.push(node);
        }
    }
    siblings
}

/// The heads that who renames over a name has seen: what it shows, and what that outweighs without a conflict. Any other
/// live head stays one, as with a save: editors save by renaming.
fn seen(target: &Record) -> Vec<EntryRef> {
    let shown = target.winner().and_then(|h| h.node.as_ref()).map(|n| &n.value);
    let outweighed = |h: &&Head| h.node.as_ref().is_none_or(|n| Some(&n.value) == shown);
    target.heads.iter().filter(outweighed).map(|h| h.entry).collect()
}

struct Move {
    from: Key,
    to: Key,
    record: Arc<Record>,
}

fn ids(parents: &[EntryRef]) -> Vec<EntryId> {
    let mut ids: Vec<_> = parents.iter().map(|p| p.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn check(key: &Key, record: &Record, expect: &Expect) -> Result<()> {
    let key = || key.clone();
    match expect {
        Expect::Absent if record.exists() => Err(StoreError::Exists(key())),
        Expect::Exists | Expect::Childless if !record.exists() => Err(StoreError::NotFound(key())),
        Expect::Childless if record.below.children > 0 => Err(StoreError::NotEmpty(key())),
        Expect::Heads(expected) => {
            let mut have: Vec<_> = record.heads.iter().map(|h| h.entry.id).collect();
            let mut expected = expected.clone();
            have.sort_unstable();
            expected.sort_unstable();
            if have == expected { Ok(()) } else { Err(StoreError::Precondition(key())) }
        }
        _ => Ok(()),
    }
}

/// How far back a superseded head is looked for before it is left uncited.
const CITE_DEPTH: usize = 64;

fn cited(view: &View, key: &Key, record: &Record, cites: Cites) -> Result<Vec<EntryRef>> {
    let heads = || record.heads.iter().map(|h| h.entry);
    match cites {
        Cites::All => Ok(heads().collect()),
        Cites::Heads(seen) => {
            let mut found: Vec<EntryRef> = heads().filter(|h| seen.contains(&h.id)).collect();
            if found.len() < seen.len() {
                // Superseded since it was read. It is cited all the same, so that the two versions have their base.
                let rest: Vec<_> =
                    seen.iter().filter(|id| found.iter().all(|f| f.id != **id)).copied().collect();
                found.extend(super::history::locate(view, key, record, &rest, CITE_DEPTH)?);
            }
            Ok(found)
        }
    }
}

/// The node that a move puts: one of the versions, with all of its attributes, and its bytes where the record left them in
/// the log.
fn whole_node(view: &View, record: &Record, version: &HeadNode) -> Result<Node> {
    let attrs = record.attrs_of(version.file_id).map(whole_attrs).unwrap_or_default();
    let value = super::reader::to_wire(view, &version.value)?;
    Ok(Node { file_id: version.file_id, value, attrs })
}

fn whole_attrs(registers: &FileAttrs) -> Attrs {
    Attrs {
        mode: registers.mode.as_ref().map(|r| r.value),
        mtime: registers.mtime.as_ref().map(|r| r.value),
        atime: registers.atime.as_ref().map(|r| r.value),
        uid: registers.uid.as_ref().map(|r| r.value),
        gid: registers.gid.as_ref().map(|r| r.value),
        xattrs: registers
            .xattrs
            .iter()
            // Removed ones too: the file may come back to a name where it had them.
            .map(|(name, r)| (name.clone(), r.value.clone()))
            .collect(),
    }
}
