//! Changes that were not made through this mount: by a peer, the command line, HTTP. A thread per store follows its
//! events and makes inodes and the kernel's caches agree with them. Never on a thread that serves requests: an
//! invalidation waits for what the kernel holds for other requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lattice_engine::entry::{Content, Op, Value};
use lattice_engine::key::Key;
use lattice_engine::merge::Record;
use lattice_engine::store::{Event, Live, LiveChange as Change};

use super::inode::{Inode, Meta, Place, State, cites};
use super::table::{Known, ROOT};
use super::volume::Volume;
use super::{Fs, What};
use crate::view::effective::shown_head;
use crate::view::{Kind, Shown, shown};

/// How long a thread sleeps at most before it looks whether it should end.
const TICK: Duration = Duration::from_millis(200);

/// The kernel's caches.
pub trait Kernel: Send + Sync + std::fmt::Debug {
    /// What it knows of a name in a directory.
    fn forget_entry(&self, parent: u64, name: &[u8]);
    /// Attributes, and with `data` the content or listing, too.
    fn forget_inode(&self, ino: u64, data: bool);
}

impl Fs {
    /// Whose caches are kept right. Once.
    pub fn set_kernel(&self, kernel: Box<dyn Kernel>) {
        // A second one would be a second mount of the same `Fs`, which `Mount` doesn't make.
        let _ = self.kernel.set(kernel);
    }

    fn forget_entry(&self, parent: u64, name: &[u8]) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_entry(parent, name);
        }
    }

    fn forget_inode(&self, ino: u64, data: bool) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_inode(ino, data);
        }
    }

    /// Follows one store until it closes, is no longer shown, or `stop` says so.
    pub fn follow(&self, volume: &Arc<Volume>, live: &Live, stop: &dyn Fn() -> bool) {
        while !stop() && !volume.gone.load(Ordering::Relaxed) {
            match live.next(TICK) {
                Some(Change::Event(event)) => self.apply(volume, &event),
                Some(Change::Missed) => self.compare_all(volume),
                Some(Change::Closed) => return,
                None => {}
            }
        }
    }

    /// More happened than was told: every inode and name is looked at again.
    pub(super) fn compare_all(&self, volume: &Arc<Volume>) {
        volume.count_change();
        for inode in self.table.all() {
            if !matches!(&inode.place, Place::Store(v) if v.id == volume.id) {
                continue;
            }
            for name in self.table.absent(inode.ino) {
                self.table.detach(inode.ino, &name);
                self.forget_entry(inode.ino, &name);
            }
            self.forget_inode(inode.ino, true);
            let Some((parent, name)) = self.table.place(inode.ino) else {
                continue;
            };
            let (Ok(dir), Ok(key)) = (self.table.get(parent), self.table.key(volume, inode.ino, None)) else {
                continue;
            };
            if !key.is_root() {
                self.compare(volume, &key, &dir, &name, &inode);
            }
        }
    }

    /// Follows the set of stores, where all are shown.
    pub fn follow_stores(&self, started: &mut dyn FnMut(&Arc<Volume>), stop: &dyn Fn() -> bool) {
        let What::All(node) = &self.what else { return };
        let node = node.clone();
        let mut seen = 0;
        while !stop() {
            let now = node.wait_stores_changed(seen, TICK);
            if now == seen {
                continue;
            }
            seen = now;
            let before = self.volumes();
            let changed = self.refresh_stores();
            let after = self.volumes();
            for volume in before.iter().filter(|v| !after.iter().any(|a| a.id == v.id)) {
                volume.gone.store(true, Ordering::Relaxed);
            }
            for volume in after.iter().filter(|v| !before.iter().any(|b| b.id == v.id)) {
                started(volume);
            }
            for name in changed {
                self.table.detach(ROOT, &name);
                self.forget_entry(ROOT, &name);
            }
            self.forget_inode(ROOT, true);
        }
    }

    /// Makes what is cached agree with one event.
    pub fn apply(&self, volume: &Arc<Volume>, event: &Event) {
        volume.count_change();
        for op in event.ops.iter() {
            let Some(key) = op.key() else { continue };
            self.apply_op(volume, key, !matches!(op, Op::Attr { .. }));
            if matches!(op, Op::Delete { .. }) {
                self.compare_above(volume, key);
            }
        }
    }

    /// Makes what is cached agree with what this mount itself did to a key, beside what the kernel asked it to do: a
    /// settled conflict. Waits for the kernel, so not on a thread that serves requests.
    pub(super) fn apply_key(&self, volume: &Arc<Volume>, key: &Key) {
        volume.count_change();
        self.apply_op(volume, key, true);
    }

    /// `names`: the directory may list something else now.
    fn apply_op(&self, volume: &Arc<Volume>, key: &Key, names: bool) {
        let Some(trace) = self.table.trace(volume.root, key) else {
            // The root itself: only its attributes can have changed.
            self.forget_inode(volume.root, false);
            return;
        };
        if !matches!(trace.dir.place, Place::Store(_)) {
            return;
        }
        match trace.known {
            Known::Inode(inode) if trace.last => self.compare(volume, key, &trace.dir, &trace.name, &inode),
            // Something stands below what was a file: it is a directory now, whatever its heads say.
            Known::Inode(inode) => self.recheck_name(inode.ino),
            Known::Absent | Known::Unknown => {
                if matches!(trace.known, Known::Absent) && self.is_absent(volume, &trace.dir, &trace.name) {
                    return;
                }
                self.table.detach(trace.dir.ino, &trace.name);
                self.forget_entry(trace.dir.ino, &trace.name);
                if names {
                    self.forget_inode(trace.dir.ino, true);
                }
            }
        }
    }

    /// The directories above a key that is gone: one that was there only because of it is gone, too, or shows the file that
    /// stood beside it.
    fn compare_above(&self, volume: &Arc<Volume>, key: &Key) {
        let mut above = key.parent();
        while let Some(key) = above.filter(|k| !k.is_root()) {
            let known = self.table.trace(volume.root, &key).filter(|t| t.last);
            let Some(Known::Inode(dir)) = known.map(|t| t.known) else { return };
            if self.table.has_pending(dir.ino) || self.is_shown_as(volume, &key, Kind::Dir) {
                return;
            }
            self.recheck_name(dir.ino);
            above = key.parent();
        }
    }

    fn is_shown_as(&self, volume: &Volume, key: &Key, kind: Kind) -> bool {
        let record = volume.handle.get(key);
        // What can't be read is left as it is: the next request says so.
        record.map_or(true, |r| {
            r.and_then(|r| shown(key, &r, &volume.defaults)).is_some_and(|s| s.kind == kind)
        })
    }

    /// Looks again at what the name of an inode leads to.
    pub(super) fn recheck_name(&self, ino: u64) {
        let Some((parent, name)) = self.table.place(ino) else {
            return;
        };
        let Ok(dir) = self.table.get(parent) else {
            return;
        };
        let Place::Store(volume) = &dir.place else {
            return;
        };
        volume.count_change();
        let key = {
            let _tree = volume.tree.read();
            self.table.key(volume, ino, None)
        };
        match (key, self.table.child(parent, &name, false)) {
            (Ok(key), Ok(Known::Inode(inode))) => self.compare(volume, &key, &dir, &name, &inode),
            _ => self.lose(&dir, &name),
        }
    }

    /// Whether a name that is known to be absent still is.
    fn is_absent(&self, volume: &Volume, dir: &Inode, name: &[u8]) -> bool {
        let _tree = volume.tree.read();
        let Ok(key) = self.table.key(volume, dir.ino, Some(name)) else {
            return false;
        };
        match volume.handle.get(&key) {
            Ok(record) => record.is_none_or(|r| shown(&key, &r, &volume.defaults).is_none()),
            Err(_) => false,
        }
    }

    /// An inode that is known, and a key that something happened to.
    fn compare(&self, volume: &Arc<Volume>, key: &Key, dir: &Inode, name: &[u8], inode: &Arc<Inode>) {
        let mut state = inode.state.lock();
        if state.unlinked {
            return;
        }
        let Ok(record) = volume.handle.get(key) else {
            return;
        };
        let seen = record.as_deref().and_then(|r| Some((r, shown(key, r, &volume.defaults)?)));
        let Some((record, seen)) = seen else {
            if state.committed {
                drop(state);
                self.lose(dir, name);
            }
            return;
        };
        if seen.kind != inode.kind || seen.file_id != state.file_id {
            drop(state);
            self.lose(dir, name);
            return;
        }
        if inode.kind == Kind::Dir {
            drop(state);
            self.forget_inode(inode.ino, false);
            return;
        }
        let changed = !same_version(volume, record, &state);
        if changed && (state.opens > 0 || state.lent.is_some() || state.is_dirty() || state.intent.is_some())
        {
            // Who has it open keeps what they opened; who opens it next gets the new one.
            drop(state);
            self.lose(dir, name);
            return;
        }
        let known = accept(&mut state, record, &seen, changed);
        drop(state);
        if changed || !known {
            self.forget_inode(inode.ino, changed);
        }
    }

    /// A name no longer leads to the inode it led to.
    fn lose(&self, dir: &Inode, name: &[u8]) {
        self.table.detach(dir.ino, name);
        self.forget_entry(dir.ino, name);
        self.forget_inode(dir.ino, true);
    }
}

/// Whether what the record shows is what the inode was loaded from or last saved as.
fn same_version(volume: &Volume, record: &Record, state: &State) -> bool {
    let Some(head) = shown_head(record) else {
        return false;
    };
    if state.cites.contains(&head.entry.id) {
        return true;
    }
    let Some(node) = &head.node else { return false };
    if node.value == state.value {
        return true;
    }
    // A small value may be told in full on one side and as a place in the log on the other.
    match (&node.value, &state.value) {
        (Value::File(a), Value::File(b)) if a.size() == b.size() && a.size() <= 4096 => {
            let read = |c: &Content| volume.handle.read(c).and_then(|r| r.read_all()).ok();
            read(a).is_some_and(|a| Some(a) == read(b))
        }
        _ => false,
    }
}

/// Whether a record shows the very file that is open, in the version that was opened.
pub(super) fn shows_opened(volume: &Volume, record: &Record, state: &State) -> bool {
    let shown = shown_head(record).and_then(|h| h.node.as_ref());
    shown.is_some_and(|n| n.file_id == state.file_id) && same_version(volume, record, state)
}

/// Takes over what a record says. True when it says nothing new about what `stat` shows.
fn accept(state: &mut State, record: &Record, seen: &Shown, changed: bool) -> bool {
    state.cites = cites(record);
    let node = shown_head(record).and_then(|h| h.node.as_ref());
    if let (true, Some(node)) = (changed, node) {
        state.value = node.value.clone();
        state.reader = None;
    }
    if state.is_dirty() {
        return true;
    }
    let meta = Meta::of(seen);
    let known = meta.same_but_ctime(&state.meta);
    state.meta = Meta { ctime: meta.ctime.max(state.meta.ctime), ..meta };
    known
}
