//! `.lattice` in the mount: the view's paths as inodes. Nothing of it is cached by the kernel, because it shows the
//! store as it is now. A text that has changed is another inode, as if it had been renamed over the old one: the kernel
//! has one size for an inode, and whoever has the old text open must neither see it cut nor filled up.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::{Content, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;

use super::Fs;
use super::attr::Attr;
use super::dir::DirEntry;
use super::errno::{Errno, Result, of_store};
use super::inode::{Inode, Meta, Place, State};
use super::table::Known;
use super::volume::Volume;
use crate::view::Kind;
use crate::view::control::{ControlError, VFile, VKind, VNode};
use crate::view::resolve::ResolveError;
use crate::view::xattrs::XattrError;

impl Fs {
    pub(super) fn lookup_control(
        &self,
        volume: &Arc<Volume>,
        parent: u64,
        path: Vec<Bytes>,
        name: &[u8],
    ) -> Result<Option<Arc<Inode>>> {
        let (node, text) = match volume.control.find(&path) {
            Ok(found) => found,
            Err(ControlError::NotFound) => return Ok(None),
            Err(e) => return Err(of_control(volume, &path, e)),
        };
        let kind = kind_of(&node);
        if let Known::Inode(there) = self.table.child(parent, name, true)? {
            if there.kind == kind && text_of(&there) == text {
                return Ok(Some(there));
            }
            self.table.detach(parent, name);
            self.table.forget(there.ino, 1);
        }
        let inode = self.table.insert(parent, name, node.ino, false, |ino| {
            let value = match kind {
                Kind::Dir => Value::Dir,
                _ => Value::File(text.map_or(Content::EMPTY, Content::Inline)),
            };
            let state = State::new(FileId([0; 16]), value, self.control_meta(&node), 0);
            Inode { ino, kind, place: Place::Control(volume.clone(), path), state: state.into() }
        })?;
        Ok(Some(inode))
    }

    pub(super) fn control_attr(&self, volume: &Volume, path: &[Bytes], inode: &Inode) -> Result<Attr> {
        if let Some(text) = text_of(inode) {
            let (size, meta) = (text.len() as u64, inode.state.lock().meta);
            let blocks = size.div_ceil(512);
            return Ok(Attr { ino: inode.ino, kind: Kind::File, size, blocks, nlink: 1, meta });
        }
        let node = volume.control.lookup(path).map_err(|e| of_control(volume, path, e))?;
        Ok(self.attr_of(inode.ino, &node))
    }

    fn attr_of(&self, ino: u64, node: &VNode) -> Attr {
        let kind = kind_of(node);
        let nlink = if kind == Kind::Dir { 2 } else { 1 };
        let meta = self.control_meta(node);
        Attr { ino, kind, size: node.size, blocks: node.size.div_ceil(512), nlink, meta }
    }

    fn control_meta(&self, node: &VNode) -> Meta {
        let time = node.mtime;
        Meta { mode: node.mode, uid: self.uid, gid: self.gid, mtime: time, atime: time, ctime: time }
    }

    pub(super) fn open_control(&self, volume: &Volume, path: &[Bytes], inode: &Inode) -> Result<VFile> {
        if let Some(text) = text_of(inode) {
            return Ok(VFile::Text(text));
        }
        volume.control.open(path).map_err(|e| of_control(volume, path, e))
    }

    pub(super) fn read_control(
        &self,
        volume: &Arc<Volume>,
        dir: u64,
        path: &[Bytes],
        at: usize,
        full: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<()> {
        let list = volume.control.list(path).map_err(|e| of_control(volume, path, e))?;
        for (i, (name, node)) in list.iter().enumerate().skip(at) {
            let next = i as u64 + 3;
            let no_room = if full {
                let path = path.iter().chain([name]).cloned().collect();
                match self.lookup_control(volume, dir, path, name)? {
                    Some(inode) => self.give_full(&inode, name, false, next, emit)?,
                    None => false,
                }
            } else {
                emit(DirEntry::Name { ino: node.ino, kind: kind_of(node), name }, next)
            };
            if no_room {
                break;
            }
        }
        Ok(())
    }

    /// Whether requests that change something here change other files, whose caches the kernel must be told to drop.
    pub fn is_control(&self, ino: u64) -> bool {
        self.table.get(ino).is_ok_and(|inode| matches!(inode.place, Place::Control(..)))
    }

    /// Commands for `ctl`; nothing else there can be written.
    pub(super) fn write_control(&self, volume: &Arc<Volume>, path: &[Bytes], data: &[u8]) -> Result<()> {
        match path {
            [name] if &name[..] == b"ctl" => {
                let mut settled = Vec::new();
                let done = volume.control.write_ctl(data, &mut settled);
                for key in &settled {
                    self.apply_key(volume, key);
                }
                done.map_err(|e| of_control(volume, path, e))
            }
            _ => Err(Errno::PERM),
        }
    }

    /// `rm` of a version under `conflicts` discards it.
    pub(super) fn remove_control(
        &self,
        volume: &Arc<Volume>,
        parent: u64,
        path: &[Bytes],
        name: &[u8],
    ) -> Result<()> {
        let mut path = path.to_vec();
        path.push(Bytes::copy_from_slice(name));
        let key = volume.control.remove(&path).map_err(|e| of_control(volume, &path, e))?;
        self.table.detach(parent, name);
        self.apply_key(volume, &key);
        Ok(())
    }
}

/// What a text file's inode was made for.
fn text_of(inode: &Inode) -> Option<Bytes> {
    match inode.state.lock().content() {
        Some(Content::Inline(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn kind_of(node: &VNode) -> Kind {
    match node.kind {
        VKind::Dir => Kind::Dir,
        VKind::File => Kind::File,
    }
}

fn of_control(volume: &Volume, path: &[Bytes], error: ControlError) -> Errno {
    let key = Key::from_wire(path.join(&b'/').into()).unwrap_or(Key::ROOT);
    match error {
        ControlError::NotFound => Errno::NOENT,
        ControlError::NotADirectory => Errno::NOTDIR,
        ControlError::IsADirectory => Errno::ISDIR,
        ControlError::NotPermitted => Errno::PERM,
        ControlError::BadCommand { line, why } => {
            tracing::warn!(store = %volume.id, line, why, "refused: .lattice/ctl");
            Errno::INVAL
        }
        ControlError::Resolve(e) => of_resolve(volume, &key, &e),
        ControlError::Store(e) => of_store("control", &key, &e),
    }
}

pub(super) fn of_resolve(volume: &Volume, key: &Key, error: &ResolveError) -> Errno {
    let errno = match error {
        ResolveError::Store(e) => return of_store("resolve", key, e),
        ResolveError::NotFound(_) => Errno::NOENT,
        ResolveError::BadId(_) | ResolveError::NoSuchVersion { .. } | ResolveError::Ambiguous { .. } => {
            Errno::INVAL
        }
        ResolveError::HasChildren(_) => Errno::ISDIR,
        ResolveError::OnlyVersion(_) | ResolveError::Deletion { .. } => Errno::PERM,
    };
    tracing::warn!(store = %volume.id, path = %key, cause = %error, "refused: resolve");
    errno
}

pub(super) fn of_xattr(volume: &Volume, key: &Key, error: XattrError) -> Errno {
    match error {
        XattrError::NoData => Errno::NODATA,
        XattrError::ReadOnly(_) => Errno::PERM,
        XattrError::NotText | XattrError::BadPin => Errno::INVAL,
        XattrError::Resolve(e) => of_resolve(volume, key, &e),
        XattrError::Store(e) => of_store("xattr", key, &e),
    }
}
