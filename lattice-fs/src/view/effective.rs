//! From what is known of a key to the one file that is shown there: which head, of which kind, with which attributes.
//!
//! A key with children is a directory whatever its heads say; a file that a concurrent write put there stands under
//! `.lattice/conflicts`. Attributes that another member set are shown as they are but for suid and sgid, which are
//! masked: nobody gets to run their code as us by syncing it here.

use std::cmp::Reverse;

use bytes::Bytes;
use lattice_engine::entry::{Time, Value};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{FileId, NodeId, StoreId};
use lattice_engine::key::Key;
use lattice_engine::merge::{FileAttrs, Head, HeadNode, Record, Register};

/// Permission bits of a file, a directory and a symlink when nobody has set any.
pub const FILE_MODE: u32 = 0o644;
pub const DIR_MODE: u32 = 0o755;
pub const SYMLINK_MODE: u32 = 0o777;
/// `st_size` of a directory: what `ls -l` shows on most disks. Its meaning is the filesystem's own.
pub const DIR_SIZE: u64 = 4096;
/// The file id of the root's attributes.
pub const ROOT_FILE_ID: FileId = FileId([0; 16]);

const SUID_SGID: u32 = 0o6000;

/// What fills the gaps where no register was ever written, and whose set-id bits are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// The store, so that file ids made up for directories without an entry differ from store to store.
    pub store: StoreId,
    /// This node: suid and sgid stand only where it set them.
    pub author: NodeId,
    pub uid: u32,
    pub gid: u32,
}

/// The kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
}

impl Kind {
    pub fn of(value: &Value) -> Self {
        match value {
            Value::File(_) => Self::File,
            Value::Dir => Self::Dir,
            Value::Symlink(_) => Self::Symlink,
            Value::Fifo => Self::Fifo,
            Value::Socket => Self::Socket,
        }
    }

    /// One lower-case word, for text that programs read.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    fn mode(self) -> u32 {
        match self {
            Self::File | Self::Fifo | Self::Socket => FILE_MODE,
            Self::Dir => DIR_MODE,
            Self::Symlink => SYMLINK_MODE,
        }
    }
}

/// A file as `stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub kind: Kind,
    /// Bytes of a file, of a symlink's target; [`DIR_SIZE`] for a directory.
    pub size: u64,
    /// Whose registers these are, and the source of `st_ino`.
    pub file_id: FileId,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub atime: Time,
    pub ctime: Time,
    pub nlink: u32,
}

/// The file that stands at `key`; `None` when nothing does. The root always shows as a directory.
pub fn shown(key: &Key, record: &Record, defaults: &Defaults) -> Option<Shown> {
    let head = shown_head(record);
    if head.is_none() && !is_dir(key, record) {
        return None;
    }
    let node = head.and_then(|h| h.node.as_ref());
    let kind = node.map_or(Kind::Dir, |n| Kind::of(&n.value));
    let file_id = file_id(key, record, defaults.store);
    let empty = FileAttrs::default();
    let attrs = record.attrs.get(&file_id).unwrap_or(&empty);
    let written = head.map_or(Hlc::ZERO, |h| h.entry.hlc);
    let changed = if kind == Kind::Dir { written.max(record.below.changed) } else { written };
    let mtime = since(attrs.mtime.as_ref(), changed).unwrap_or_else(|| time(changed));
    Some(Shown {
        kind,
        size: node.map_or(DIR_SIZE, size),
        file_id,
        mode: mode(kind, attrs, defaults.author),
        uid: attrs.uid.as_ref().map_or(defaults.uid, |r| r.value),
        gid: attrs.gid.as_ref().map_or(defaults.gid, |r| r.value),
        mtime,
        atime: attrs.atime.as_ref().map_or(mtime, |r| r.value),
        ctime: time(changed.max(attrs.last_set().map_or(Hlc::ZERO, |at| at.hlc))),
        nlink: links(kind, record),
    })
}

/// The head whose value is what is shown. `None` where nothing is, and for a directory that is there only because of
/// what stands below it.
pub fn shown_head(record: &Record) -> Option<&Head> {
    record.shown()
}

/// Whether `key` is a directory: the root, or one that an entry made, or one that has children.
pub fn is_dir(key: &Key, record: &Record) -> bool {
    key.is_root() || record.is_dir()
}

/// Every head, the one that is shown first, then live ones, then tombstones, each newest first.
pub fn ranked_heads(record: &Record) -> Vec<&Head> {
    let shown = shown_head(record).map(|h| h.entry);
    let mut heads: Vec<&Head> = record.heads.iter().collect();
    heads.sort_by_key(|h| Reverse((Some(h.entry) == shown, h.node.is_some(), h.entry)));
    heads
}

/// How many live versions differ: 0 when all are the same, so there is nothing to resolve. A directory that is there
/// because of its children counts as one.
pub fn differing(record: &Record) -> u64 {
    record.conflict() as u64
}

/// The file id of what is shown at `key`: the head's, [`ROOT_FILE_ID`], or for a directory without a head one made of
/// the store and the key, the same on every replica. Making such a directory explicit keeps it by putting this id.
pub fn file_id(key: &Key, record: &Record, store: StoreId) -> FileId {
    if key.is_root() {
        return ROOT_FILE_ID;
    }
    match shown_head(record).and_then(|h| h.node.as_ref()) {
        Some(node) => node.file_id,
        None => implicit_file_id(store, key),
    }
}

/// The file id of a directory that no entry made.
pub fn implicit_file_id(store: StoreId, key: &Key) -> FileId {
    let mut hasher = blake3::Hasher::new_derive_key("lattice 2026 v1 implicit directory");
    hasher.update(store.as_bytes());
    hasher.update(key.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    FileId(id)
}

/// The replicated extended attributes of a file, by name: only `user.*`, the one namespace a peer may fill, and not
/// `user.lattice.*`, which are computed.
pub fn user_xattrs(attrs: &FileAttrs) -> impl Iterator<Item = (&Bytes, &Bytes)> {
    attrs
        .xattrs
        .iter()
        .filter(|(name, _)| name.starts_with(b"user.") && !name.starts_with(b"user.lattice."))
        .filter_map(|(name, register)| Some((name, register.value.as_ref()?)))
}

/// A point of hybrid time as a file time: strictly increasing with it.
pub fn time(hlc: Hlc) -> Time {
    hlc.into()
}

fn size(node: &HeadNode) -> u64 {
    match &node.value {
        Value::File(content) => content.size(),
        Value::Symlink(target) => target.len() as u64,
        Value::Dir => DIR_SIZE,
        Value::Fifo | Value::Socket => 0,
    }
}

/// A register's value if nothing has changed the file since it was set: a write that brings no mtime of its own (an
/// import, a `lattice put`) makes an older one untrue, and `make` would not see the change.
fn since(register: Option<&Register<Time>>, changed: Hlc) -> Option<Time> {
    register.filter(|r| r.at.hlc >= changed).map(|r| r.value)
}

fn mode(kind: Kind, attrs: &FileAttrs, us: NodeId) -> u32 {
    if kind == Kind::Symlink {
        return SYMLINK_MODE;
    }
    match &attrs.mode {
        Some(r) if r.at.author == us => r.value & 0o7777,
        Some(r) => r.value & 0o7777 & !SUID_SGID,
        None => kind.mode(),
    }
}

/// Two for a directory's own names, one for each `..` below it, as on a disk. `find` relies on it.
fn links(kind: Kind, record: &Record) -> u32 {
    match kind {
        Kind::Dir => u32::try_from(record.below.dirs.saturating_add(2)).unwrap_or(u32::MAX),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use lattice_engine::entry::Content;
    use lattice_engine::id::EntryId;
    use lattice_engine::merge::{Below, EntryRef};

    use super::*;

    const US: NodeId = NodeId([1; 32]);
    const PEER: NodeId = NodeId([2; 32]);
    const DEFAULTS: Defaults = Defaults { store: StoreId([9; 16]), author: US, uid: 1000, gid: 100 };

    fn key(s: &str) -> Key {
        Key::parse(s.as_bytes()).expect(s)
    }

    fn at(ms: u64, author: NodeId) -> EntryRef {
        EntryRef { hlc: Hlc::new(ms, 0), author, id: EntryId([ms as u8; 32]), seq: ms }
    }

    fn head(ms: u64, author: NodeId, value: Option<Value>) -> Head {
        let node = value.map(|value| HeadNode { file_id: FileId([ms as u8; 16]), value });
        Head { entry: at(ms, author), node }
    }

    fn bytes(s: &'static str) -> Option<Value> {
        Some(Value::File(Content::Inline(s.into())))
    }

    fn record(heads: Vec<Head>, children: u64) -> Record {
        let below = Below { children, dirs: 0, changed: Hlc::ZERO };
        Record { heads, below, ..Record::default() }
    }

    fn see(record: &Record) -> Option<Shown> {
        shown(&key("a"), record, &DEFAULTS)
    }

    #[test]
    fn children_make_a_directory_whatever_the_heads_say() {
        let file = record(vec![head(1, US, bytes("x"))], 1);
        let seen = see(&file).expect("a directory");
        assert_eq!((seen.kind, seen.mode, seen.nlink), (Kind::Dir, 0o755, 2));
        assert_eq!(seen.file_id, implicit_file_id(DEFAULTS.store, &key("a")));
        assert_eq!(differing(&file), 2);
        let both = record(vec![head(1, US, Some(Value::Dir)), head(2, PEER, bytes("x"))], 1);
        assert_eq!(see(&both).expect("a directory").file_id, FileId([1; 16]));
        assert_eq!(differing(&both), 2);
    }

    #[test]
    fn nothing_stands_where_only_tombstones_do_but_the_root_always_does() {
        assert_eq!(see(&record(vec![head(1, US, None)], 0)), None);
        let root = shown(&Key::ROOT, &Record::default(), &DEFAULTS).expect("the root");
        assert_eq!((root.kind, root.file_id, root.uid), (Kind::Dir, ROOT_FILE_ID, 1000));
    }

    #[test]
    fn equal_values_and_deletions_are_no_conflict() {
        for (heads, n) in [
            (vec![head(1, US, bytes("x"))], 0),
            (vec![head(1, US, bytes("x")), head(2, PEER, bytes("x"))], 0),
            (vec![head(1, US, bytes("x")), head(2, PEER, None)], 0),
            (vec![head(1, US, Some(Value::Dir)), head(2, PEER, Some(Value::Dir))], 0),
            (vec![head(1, US, bytes("x")), head(2, PEER, bytes("y"))], 2),
            (vec![head(1, US, bytes("x")), head(2, PEER, Some(Value::Dir)), head(3, PEER, bytes("x"))], 2),
            (vec![head(1, US, bytes("x")), head(2, PEER, bytes("y")), head(3, PEER, bytes("z"))], 3),
        ] {
            assert_eq!(differing(&record(heads.clone(), 0)), n, "{heads:?}");
        }
    }

    #[test]
    fn set_id_bits_are_honoured_from_us_alone() {
        for (author, seen) in [(US, 0o6755), (PEER, 0o755)] {
            let mut r = record(vec![head(1, US, bytes("x"))], 0);
            let mode = Some(Register { at: at(2, author), value: 0o106755 });
            r.attrs.insert(FileId([1; 16]), FileAttrs { mode, ..FileAttrs::default() });
            assert_eq!(see(&r).expect("a file").mode, seen);
        }
    }

    #[test]
    fn an_mtime_holds_until_the_next_write() {
        let old = Time { s: 5, ns: 7 };
        for (written, set, mtime) in
            [(3000, 3000, old), (3000, 4000, old), (4000, 3000, Time { s: 4, ns: 0 })]
        {
            let mut h = head(1, US, bytes("x"));
            h.entry.hlc = Hlc::new(written, 0);
            let mut r = record(vec![h], 0);
            let mtime_register = Some(Register { at: at(set, PEER), value: old });
            r.attrs.insert(FileId([1; 16]), FileAttrs { mtime: mtime_register, ..FileAttrs::default() });
            let seen = see(&r).expect("a file");
            assert_eq!((seen.mtime, seen.ctime.s), (mtime, 3.max(set.max(written) as i64 / 1000)));
        }
    }

    #[test]
    fn heads_are_ranked_shown_live_deleted() {
        let r = record(
            vec![head(1, US, bytes("x")), head(2, PEER, bytes("y")), head(3, US, None), head(4, PEER, None)],
            0,
        );
        let order: Vec<u64> = ranked_heads(&r).iter().map(|h| h.entry.seq).collect();
        assert_eq!(order, [2, 1, 4, 3]);
    }

    #[test]
    fn only_what_a_peer_may_set_is_listed() {
        let mut attrs = FileAttrs::default();
        for name in ["user.a", "security.capability", "user.lattice.entry", "trusted.x"] {
            let value = Some(Bytes::from_static(b"v"));
            attrs.xattrs.insert(name.into(), Register { at: at(1, PEER), value });
        }
        let removed = Register { at: at(1, PEER), value: None };
        attrs.xattrs.insert("user.b".into(), removed);
        let names: Vec<&Bytes> = user_xattrs(&attrs).map(|(n, _)| n).collect();
        assert_eq!(names, ["user.a"]);
    }
}
