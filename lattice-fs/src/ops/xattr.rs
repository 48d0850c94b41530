//! Extended attributes: `user.*`, replicated. `user.lattice.*` is computed and never listed; every other namespace is
//! the machine's own (`security.*`, ACLs) and isn't kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::Attrs;
use lattice_engine::key::Key;

use super::Fs;
use super::control::of_xattr;
use super::errno::{Errno, Result};
use super::inode::{Inode, Place};
use super::volume::{Volume, now};
use crate::view::{effective, xattrs};

/// Bytes of a value, as `XATTR_SIZE_MAX`.
const MAX_VALUE: usize = 64 << 10;
/// Bytes of a name.
const MAX_NAME: usize = 255;
/// Bytes of all names and values of one file: they travel in one entry when a file is copied.
const MAX_ALL: usize = 512 << 10;

/// `setxattr(2)`'s flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetHow {
    Either,
    Create,
    Replace,
}

impl Fs {
    /// Whether setting it changes more than an attribute: the file's content, which the kernel may have cached.
    pub fn is_command(name: &[u8]) -> bool {
        xattrs::is_ours(name)
    }

    pub fn getxattr(&self, ino: u64, name: &[u8]) -> Result<Bytes> {
        // The kernel asks for `security.capability` before a file's first write: answered before anything is looked at.
        if !name.starts_with(b"user.") {
            return Err(Errno::NODATA);
        }
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::NODATA);
        };
        if xattrs::is_ours(name) {
            let key = self.committed_key(volume, &inode)?;
            return xattrs::get(&volume.handle, &key, name).map_err(|e| of_xattr(volume, &key, e));
        }
        self.all_xattrs(volume, &inode)?.remove(name).ok_or(Errno::NODATA)
    }

    /// Names, each with a NUL after it.
    pub fn listxattr(&self, ino: u64) -> Result<Vec<u8>> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for name in self.all_xattrs(volume, &inode)?.keys() {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    pub fn setxattr(&self, ino: u64, name: &[u8], value: &[u8], how: SetHow) -> Result<()> {
        let (inode, volume) = self.keeps_xattr(ino, name)?;
        if xattrs::is_ours(name) {
            let key = self.committed_key(&volume, &inode)?;
            xattrs::set(&volume.handle, &key, name, value).map_err(|e| of_xattr(&volume, &key, e))?;
            self.apply_key(&volume, &key);
            return Ok(());
        }
        if value.len() > MAX_VALUE {
            return Err(Errno::TOOBIG);
        }
        let all = self.all_xattrs(&volume, &inode)?;
        match how {
            SetHow::Create if all.contains_key(name) => return Err(Errno::EXIST),
            SetHow::Replace if !all.contains_key(name) => return Err(Errno::NODATA),
            _ => {}
        }
        let used: usize = all.iter().filter(|(n, _)| &n[..] != name).map(|(n, v)| n.len() + v.len()).sum();
        if used + name.len() + value.len() > MAX_ALL {
            return Err(Errno::NOSPC);
        }
        self.change_xattr(&volume, &inode, name, Some(Bytes::copy_from_slice(value)))
    }

    pub fn removexattr(&self, ino: u64, name: &[u8]) -> Result<()> {
        let (inode, volume) = self.keeps_xattr(ino, name)?;
        if xattrs::is_ours(name) {
            let key = self.committed_key(&volume, &inode)?;
            return xattrs::remove(&volume.handle, &key, name).map_err(|e| of_xattr(&volume, &key, e));
        }
        if !self.all_xattrs(&volume, &inode)?.contains_key(name) {
            return Err(Errno::NODATA);
        }
        self.change_xattr(&volume, &inode, name, None)
    }

    fn keeps_xattr(&self, ino: u64, name: &[u8]) -> Result<(Arc<Inode>, Arc<Volume>)> {
        if !name.starts_with(b"user.") {
            return Err(Errno::OPNOTSUPP);
        }
        if name.len() > MAX_NAME {
            return Err(Errno::RANGE);
        }
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::PERM);
        };
        let volume = volume.clone();
        volume.writable()?;
        Ok((inode, volume))
    }

    fn change_xattr(
        &self,
        volume: &Volume,
        inode: &Arc<Inode>,
        name: &[u8],
        value: Option<Bytes>,
    ) -> Result<()> {
        let xattrs = vec![(Bytes::copy_from_slice(name), value)];
        self.set_attrs(volume, inode, Attrs { xattrs, ..Attrs::default() }, now())
    }

    /// The key, after what is staged has become an entry: provenance tells of entries.
    fn committed_key(&self, volume: &Volume, inode: &Arc<Inode>) -> Result<Key> {
        if inode.state.lock().unlinked {
            return Err(Errno::NODATA);
        }
        self.save(volume, inode)?;
        self.settle_intent(volume, inode)?;
        let _tree = volume.tree.read();
        self.table.key(volume, inode.ino, None)
    }

    /// What the store has, and over it what is staged.
    fn all_xattrs(&self, volume: &Volume, inode: &Inode) -> Result<BTreeMap<Bytes, Bytes>> {
        let _tree = volume.tree.read();
        let (file_id, committed, staged) = {
            let state = inode.state.lock();
            let staged = state.staged.as_ref().map(|s| s.attrs.xattrs.clone()).unwrap_or_default();
            (state.file_id, state.committed && !state.unlinked, staged)
        };
        let mut all = BTreeMap::new();
        if committed {
            let key = self.table.key(volume, inode.ino, None)?;
            let record = self.record(volume, "getxattr", &key)?;
            if let Some(attrs) = record.as_ref().and_then(|r| r.attrs.get(&file_id)) {
                all.extend(effective::user_xattrs(attrs).map(|(n, v)| (n.clone(), v.clone())));
            }
        }
        for (name, value) in staged {
            match value {
                Some(value) => all.insert(name, value),
                None => all.remove(&name),
            };
        }
        Ok(all)
    }
}
