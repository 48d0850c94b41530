//! The inodes that the kernel or an open file knows, and how they hang together. One lock, never held across a call
//! into the engine: every operation here is a few hash look-ups.
//!
//! An inode knows its parent and name, so that moving a directory touches one inode and a key is found by walking up.
//! `children` is what is known of names in a directory; a name may lead elsewhere than to an inode that claims it:
//! a version that is still open while another one arrived keeps its key but has lost its name.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use lattice_engine::key::{Key, KeyError};
use parking_lot::Mutex;

use super::errno::{Errno, Result, of_key};
use super::ids::next_ino;
use super::inode::Inode;
use super::volume::Volume;

pub const ROOT: u64 = 1;
/// Names known to be absent that a directory remembers. Only what stands here may the kernel keep: it is told of each
/// when nobody can say any more what has changed.
const MAX_ABSENT: usize = 1024;
/// How far names that were deleted here fill that: removing a large directory leaves room for others.
const MAX_DELETED: usize = MAX_ABSENT / 2;

/// Inode numbers are random already.
#[derive(Debug, Default, Clone, Copy)]
pub struct InoHasher(u64);
impl Hasher for InoHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*b);
        }
    }
    fn write_u64(&mut self, ino: u64) {
        // The upper bits choose the slot's tag: small numbers need them filled.
        self.0 = ino.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
type InoMap<V> = HashMap<u64, V, BuildHasherDefault<InoHasher>>;

/// What is known of a name in a directory.
#[derive(Debug, Clone)]
pub enum Known {
    Inode(Arc<Inode>),
    /// Nothing has that name.
    Absent,
    /// Ask the store.
    Unknown,
}

#[derive(Debug)]
struct Slot {
    inode: Arc<Inode>,
    parent: u64,
    name: Box<[u8]>,
    /// Times that the kernel was told of it, less what it forgot.
    lookups: u64,
    /// Reasons to stay beyond that: open, waiting for a commit, having children here.
    pins: u32,
    /// Children that no commit has told the store of yet.
    pending: u32,
    /// Is one of its parent's `pending`.
    waits: bool,
    absent: usize,
    children: HashMap<Box<[u8]>, Option<u64>>,
}

#[derive(Debug, Default)]
struct Tree {
    slots: InoMap<Slot>,
}

#[derive(Debug, Default)]
pub struct Table(Mutex<Tree>);

impl Table {
    /// Sets the root, which is never forgotten.
    pub fn set_root(&self, inode: Arc<Inode>) {
        let slot = Slot::new(inode, ROOT, b"");
        self.0.lock().slots.insert(ROOT, Slot { lookups: 1, pins: 1, ..slot });
    }

    /// `ESTALE` if the kernel should no longer know it.
    pub fn get(&self, ino: u64) -> Result<Arc<Inode>> {
        self.0.lock().slots.get(&ino).map(|s| s.inode.clone()).ok_or(Errno::STALE)
    }

    /// The key of an inode, and of a name in it if given, in its store.
    pub fn key(&self, volume: &Volume, ino: u64, name: Option<&[u8]>) -> Result<Key> {
        let tree = self.0.lock();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(12);
        parts.extend(name);
        let mut at = ino;
        while at != volume.root {
            let slot = tree.slots.get(&at).ok_or(Errno::STALE)?;
            parts.push(&slot.name);
            if at == slot.parent {
                return Err(Errno::STALE);
            }
            at = slot.parent;
        }
        if parts.is_empty() {
            return Ok(Key::ROOT);
        }
        let mut path = Vec::with_capacity(parts.iter().map(|p| p.len() + 1).sum());
        for part in parts.iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        if let Some(name) = name {
            check_name(name)?;
        }
        Key::from_wire(path.into()).map_err(|e| of_key(&e))
    }

    /// What is known of `name` in `parent`. With `count`, the kernel is about to be told of it.
    pub fn child(&self, parent: u64, name: &[u8], count: bool) -> Result<Known> {
        let mut tree = self.0.lock();
        let slot = tree.slots.get(&parent).ok_or(Errno::STALE)?;
        match slot.children.get(name) {
            None => Ok(Known::Unknown),
            Some(None) => Ok(Known::Absent),
            Some(Some(ino)) => {
                let ino = *ino;
                let child = tree.slots.get_mut(&ino).ok_or(Errno::STALE)?;
                child.lookups += u64::from(count);
                Ok(Known::Inode(child.inode.clone()))
            }
        }
    }

    /// Puts a new inode under `name`, with a number that is free (at or after `wanted`), unless one is there already:
    /// then that one. Counts one look-up.
    pub fn insert(
        &self,
        parent: u64,
        name: &[u8],
        wanted: u64,
        pending: bool,
        make: impl FnOnce(u64) -> Inode,
    ) -> Result<Arc<Inode>> {
        let mut tree = self.0.lock();
        let dir = tree.slots.get(&parent).ok_or(Errno::STALE)?;
        if let Some(Some(there)) = dir.children.get(name) {
            let there = *there;
            let slot = tree.slots.get_mut(&there).ok_or(Errno::STALE)?;
            slot.lookups += 1;
            return Ok(slot.inode.clone());
        }
        let ino = tree.free(wanted);
        let inode = Arc::new(make(ino));
        let mut slot = Slot::new(inode.clone(), parent, name);
        slot.lookups = 1;
        slot.pins = u32::from(pending);
        slot.waits = pending;
        tree.slots.insert(ino, slot);
        let dir = tree.slots.get_mut(&parent).ok_or(Errno::STALE)?;
        dir.pins += 1;
        dir.pending += u32::from(pending);
        dir.set(name, Some(ino));
        Ok(inode)
    }

    /// Puts a new inode of a directory there that no name leads to. Counts one look-up.
    pub fn insert_nameless(
        &self,
        parent: u64,
        wanted: u64,
        make: impl FnOnce(u64) -> Inode,
    ) -> Result<Arc<Inode>> {
        let mut tree = self.0.lock();
        let ino = tree.free(wanted);
        tree.slots.get_mut(&parent).ok_or(Errno::STALE)?.pins += 1;
        let inode = Arc::new(make(ino));
        // For messages.
        let name = format!("#{ino}");
        tree.slots.insert(ino, Slot { lookups: 1, ..Slot::new(inode.clone(), parent, name.as_bytes()) });
        Ok(inode)
    }

    /// Gives it a name that no commit has told the store of yet, and counts a look-up. `EEXIST` if the name is taken.
    pub fn give_name(&self, ino: u64, parent: u64, name: &[u8]) -> Result<()> {
        let mut tree = self.0.lock();
        let dir = tree.slots.get(&parent).ok_or(Errno::STALE)?;
        if matches!(dir.children.get(name), Some(Some(_))) {
            return Err(Errno::EXIST);
        }
        let slot = tree.slots.get_mut(&ino).ok_or(Errno::STALE)?;
        slot.lookups += 1;
        slot.pins += 1;
        slot.waits = true;
        slot.name = name.into();
        let before = std::mem::replace(&mut slot.parent, parent);
        if let Some(dir) = tree.slots.get_mut(&parent) {
            dir.pins += 1;
            dir.pending += 1;
            dir.set(name, Some(ino));
        }
        tree.unpin(before);
        Ok(())
    }

    /// Whether it is remembered that nothing has this name, so that the kernel may, too.
    pub fn is_absent(&self, parent: u64, name: &[u8]) -> bool {
        self.0.lock().slots.get(&parent).is_some_and(|dir| dir.children.get(name) == Some(&None))
    }

    /// Remembers that nothing has this name, if there is room.
    pub fn set_absent(&self, parent: u64, name: &[u8]) {
        if let Some(dir) = self.0.lock().slots.get_mut(&parent) {
            dir.set_absent(name, MAX_ABSENT);
        }
    }

    /// Forgets what is known of a name: the next look-up asks the store. `Some` if it led to an inode.
    pub fn detach(&self, parent: u64, name: &[u8]) -> Option<Arc<Inode>> {
        let mut tree = self.0.lock();
        let ino = tree.slots.get_mut(&parent)?.unset(name)??;
        tree.slots.get(&ino).map(|s| s.inode.clone())
    }

    /// The name is gone, if it still led to `ino`.
    pub fn unlink(&self, parent: u64, name: &[u8], ino: u64) {
        let mut tree = self.0.lock();
        if let Some(dir) = tree.slots.get_mut(&parent)
            && dir.children.get(name) == Some(&Some(ino))
        {
            dir.set_absent(name, MAX_DELETED);
        }
    }

    /// Moves `ino` under a new name. What was there loses it.
    pub fn rename(&self, ino: u64, parent: u64, name: &[u8]) {
        let mut tree = self.0.lock();
        let Some(slot) = tree.slots.get_mut(&ino) else {
            return;
        };
        let (old_parent, pending) = (slot.parent, slot.waits);
        slot.parent = parent;
        let old_name = std::mem::replace(&mut slot.name, name.into());
        if let Some(dir) = tree.slots.get_mut(&old_parent)
            && dir.children.get(&old_name) == Some(&Some(ino))
        {
            dir.set_absent(&old_name, MAX_DELETED);
        }
        if let Some(dir) = tree.slots.get_mut(&parent) {
            dir.set(name, Some(ino));
        }
        if old_parent != parent {
            if let Some(dir) = tree.slots.get_mut(&parent) {
                dir.pins += 1;
                dir.pending += u32::from(pending);
            }
            if pending && let Some(dir) = tree.slots.get_mut(&old_parent) {
                dir.pending -= 1;
            }
            tree.unpin(old_parent);
        }
    }

    /// Two inodes trade places.
    pub fn exchange(&self, a: u64, b: u64) {
        let place = |tree: &Tree, ino| tree.slots.get(&ino).map(|s| (s.parent, s.name.clone()));
        let (at_a, at_b) = {
            let tree = self.0.lock();
            (place(&tree, a), place(&tree, b))
        };
        if let (Some((pa, na)), Some((pb, nb))) = (at_a, at_b) {
            self.rename(a, pb, &nb);
            self.rename(b, pa, &na);
        }
    }

    /// The kernel forgets `n` look-ups.
    pub fn forget(&self, ino: u64, n: u64) {
        let mut tree = self.0.lock();
        if let Some(slot) = tree.slots.get_mut(&ino) {
            slot.lookups = slot.lookups.saturating_sub(n);
            tree.collect(ino);
        }
    }

    /// Keeps an inode though the kernel may forget it.
    pub fn pin(&self, ino: u64) {
        if let Some(slot) = self.0.lock().slots.get_mut(&ino) {
            slot.pins += 1;
        }
    }

    pub fn unpin(&self, ino: u64) {
        self.0.lock().unpin(ino);
    }

    /// A pending file was committed, or never will be.
    pub fn settle(&self, ino: u64) {
        let mut tree = self.0.lock();
        let Some(slot) = tree.slots.get_mut(&ino).filter(|s| s.waits) else {
            return;
        };
        slot.waits = false;
        let parent = slot.parent;
        if let Some(dir) = tree.slots.get_mut(&parent) {
            dir.pending = dir.pending.saturating_sub(1);
        }
        tree.unpin(ino);
    }

    /// Files in a directory that the store doesn't know yet, with their names.
    pub fn pending(&self, dir: u64) -> Vec<(Box<[u8]>, Arc<Inode>)> {
        let tree = self.0.lock();
        let Some(slot) = tree.slots.get(&dir) else {
            return Vec::new();
        };
        if slot.pending == 0 {
            return Vec::new();
        }
        let known =
            slot.children.iter().filter_map(|(name, ino)| Some((name, tree.slots.get(ino.as_ref()?)?)));
        known.filter(|(_, s)| s.waits).map(|(name, s)| (name.clone(), s.inode.clone())).collect()
    }

    /// Names in a directory that are known to be absent.
    pub fn absent(&self, dir: u64) -> Vec<Box<[u8]>> {
        let tree = self.0.lock();
        let Some(slot) = tree.slots.get(&dir) else {
            return Vec::new();
        };
        slot.children.iter().filter(|(_, ino)| ino.is_none()).map(|(name, _)| name.clone()).collect()
    }

    pub fn has_pending(&self, dir: u64) -> bool {
        self.0.lock().slots.get(&dir).is_some_and(|s| s.pending > 0)
    }

    /// Every inode that is known below one of `dirs`.
    pub fn below(&self, dirs: &[u64]) -> Vec<Arc<Inode>> {
        let tree = self.0.lock();
        let is_below = |slot: &&Slot| {
            let mut at = slot.parent;
            loop {
                if dirs.contains(&at) {
                    return true;
                }
                match tree.slots.get(&at) {
                    Some(slot) if slot.parent != at => at = slot.parent,
                    _ => return false,
                }
            }
        };
        tree.slots.values().filter(is_below).map(|s| s.inode.clone()).collect()
    }

    /// Where an inode stands now.
    pub fn place(&self, ino: u64) -> Option<(u64, Box<[u8]>)> {
        self.0.lock().slots.get(&ino).map(|s| (s.parent, s.name.clone()))
    }

    /// Follows a key from the store's root as far as names are known: the last directory, the first name that doesn't
    /// lead to a directory or the key's last one, whether that is the key's last, and what is known of it.
    pub fn trace(&self, root: u64, key: &Key) -> Option<Trace> {
        let tree = self.0.lock();
        let mut dir = tree.slots.get(&root)?;
        let mut segments = key.segments().peekable();
        while let Some(name) = segments.next() {
            let last = segments.peek().is_none();
            let known = match dir.children.get(name) {
                None => Known::Unknown,
                Some(None) => Known::Absent,
                Some(Some(ino)) => {
                    let child = tree.slots.get(ino)?;
                    if !last && child.inode.is_dir() {
                        dir = child;
                        continue;
                    }
                    Known::Inode(child.inode.clone())
                }
            };
            return Some(Trace { dir: dir.inode.clone(), name: name.into(), last, known });
        }
        None
    }

    /// Whether an inode's name leads to it. It doesn't once another version, or nothing, was found there.
    pub fn is_named(&self, ino: u64) -> bool {
        let tree = self.0.lock();
        let Some(slot) = tree.slots.get(&ino) else {
            return false;
        };
        tree.slots.get(&slot.parent).is_some_and(|dir| dir.children.get(&slot.name) == Some(&Some(ino)))
    }

    /// Every inode, for shutting down.
    pub fn all(&self) -> Vec<Arc<Inode>> {
        self.0.lock().slots.values().map(|s| s.inode.clone()).collect()
    }
}

/// How far a key is known: see [`Table::trace`].
#[derive(Debug)]
pub struct Trace {
    pub dir: Arc<Inode>,
    pub name: Box<[u8]>,
    pub last: bool,
    pub known: Known,
}

impl Slot {
    fn new(inode: Arc<Inode>, parent: u64, name: &[u8]) -> Self {
        let (name, children) = (name.into(), HashMap::new());
        Self { inode, parent, name, lookups: 0, pins: 0, pending: 0, waits: false, absent: 0, children }
    }

    fn set(&mut self, name: &[u8], to: Option<u64>) {
        let before = match self.children.get_mut(name) {
            Some(there) => Some(std::mem::replace(there, to)),
            None => {
                self.children.insert(name.into(), to);
                None
            }
        };
        self.absent -= usize::from(before == Some(None));
        self.absent += usize::from(to.is_none());
    }

    fn set_absent(&mut self, name: &[u8], most: usize) {
        match self.absent < most || self.children.get(name) == Some(&None) {
            true => self.set(name, None),
            false => drop(self.unset(name)),
        }
    }

    fn unset(&mut self, name: &[u8]) -> Option<Option<u64>> {
        let before = self.children.remove(name);
        self.absent -= usize::from(before == Some(None));
        before
    }
}

impl Tree {
    /// A number that nothing has.
    fn free(&self, wanted: u64) -> u64 {
        let mut ino = wanted;
        while ino <= ROOT || self.slots.contains_key(&ino) {
            ino = next_ino(ino);
        }
        ino
    }

    fn unpin(&mut self, ino: u64) {
        if let Some(slot) = self.slots.get_mut(&ino) {
            slot.pins = slot.pins.saturating_sub(1);
            self.collect(ino);
        }
    }

    /// Drops an inode that nobody needs, and then perhaps its parent.
    fn collect(&mut self, ino: u64) {
        let mut ino = ino;
        while let Some(slot) = self.slots.get(&ino) {
            if slot.lookups > 0 || slot.pins > 0 || ino == ROOT {
                return;
            }
            let Some(slot) = self.slots.remove(&ino) else {
                return;
            };
            let Some(dir) = self.slots.get_mut(&slot.parent) else {
                return;
            };
            if dir.children.get(&slot.name) == Some(&Some(ino)) {
                dir.unset(&slot.name);
            }
            dir.pins = dir.pins.saturating_sub(1);
            ino = slot.parent;
        }
    }
}

/// One path segment that a key can hold.
pub fn check_name(name: &[u8]) -> Result<()> {
    Key::ROOT.join(name).map(drop).map_err(|e: KeyError| of_key(&e))
}
