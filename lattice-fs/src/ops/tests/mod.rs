//! File semantics against a real store in a temporary directory, without a kernel.

use std::sync::Arc;
use std::time::Duration;

use lattice_engine::entry::{Attrs, Content, Node as FileNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Handle, Live, LiveChange};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;

mod dirs;
mod files;
mod foreign;
mod killed;
mod nameless;
mod revoked;
mod through;
mod waits;

const CALLER: Caller = Caller { uid: 0, gid: 0 };
const WRITE: i32 = libc::O_RDWR;

/// A mounted store, and the same store as another face sees it.
struct Rig {
    fs: Arc<Fs>,
    store: Handle,
    live: Live,
    told: Arc<Told>,
    node: Node,
    _dir: TempDir,
}

/// What the kernel was told to forget.
#[derive(Debug, Default)]
struct Told {
    entries: Mutex<Vec<(u64, Vec<u8>)>>,
    inodes: Mutex<Vec<(u64, bool)>>,
}

#[derive(Debug)]
struct Recorder(Arc<Told>);

impl Kernel for Recorder {
    fn forget_entry(&self, parent: u64, name: &[u8]) {
        self.0.entries.lock().push((parent, name.to_vec()));
    }
    fn forget_inode(&self, ino: u64, data: bool) {
        self.0.inodes.lock().push((ino, data));
    }
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        let node = Node::open(&data).expect("opened");
        node.create_store("test").expect("a store");
        Self::on(dir, node)
    }

    /// By another process, as far as the store can tell.
    fn opened_again(self) -> Self {
        let Self { fs, store, node, _dir: dir, .. } = self;
        node.close().expect("closed");
        drop((fs, store, node));
        let node = Node::open(&dir.path().join("data")).expect("opened");
        Self::on(dir, node)
    }

    fn on(dir: TempDir, node: Node) -> Self {
        let data = dir.path().join("data");
        let store = node.find("test").expect("the store");
        let fs = Fs::new(What::One(store.clone()), data);
        let live = fs.volumes()[0].handle.live();
        let told = Arc::new(Told::default());
        fs.set_kernel(Box::new(Recorder(told.clone())));
        Self { fs, store, live, told, node, _dir: dir }
    }

    fn find(&self, parent: u64, name: &str) -> Option<(u64, Attr)> {
        match self.fs.lookup(parent, name.as_bytes()).expect("a look-up") {
            Looked::Found(inode, attr) => Some((inode.ino, attr)),
            Looked::Absent { .. } => None,
        }
    }

    fn ino(&self, parent: u64, name: &str) -> u64 {
        self.find(parent, name).unwrap_or_else(|| panic!("{name} isn't there")).0
    }

    /// Open for writing.
    fn create(&self, parent: u64, name: &str) -> u64 {
        assert!(self.find(parent, name).is_none());
        let created = self.fs.create(CALLER, parent, name.as_bytes(), 0o644, WRITE | libc::O_EXCL);
        created.expect("created").0.ino
    }

    fn close(&self, ino: u64) {
        self.fs.flush(ino).expect("flushed");
        self.fs.release(ino, 0, WRITE).expect("released");
    }

    fn write(&self, parent: u64, name: &str, bytes: &[u8]) -> u64 {
        let ino = self.create(parent, name);
        self.fs.write(ino, 0, bytes, false).expect("written");
        self.close(ino);
        ino
    }

    fn mkdir(&self, parent: u64, name: &str) -> u64 {
        self.fs.mkdir(CALLER, parent, name.as_bytes(), 0o755).expect("made").0.ino
    }

    fn read(&self, ino: u64) -> Vec<u8> {
        let (attr, _) = self.fs.getattr(ino).expect("attributes");
        let mut bytes = vec![0; attr.size as usize + 1];
        let n = self.fs.read(ino, 0, 0, &mut bytes).expect("read");
        bytes.truncate(n);
        bytes
    }

    fn names(&self, ino: u64) -> Vec<String> {
        let (fh, _) = self.fs.opendir(ino).expect("opened");
        let mut names = Vec::new();
        let mut take = |entry: DirEntry<'_>, _next: u64| {
            if let DirEntry::Name { name, .. } = entry {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
            false
        };
        self.fs.readdir(ino, fh, 0, false, &mut take).expect("read");
        self.fs.releasedir(ino, fh);
        names.retain(|n| n != "." && n != "..");
        names.sort();
        names
    }

    /// What another face finds at a key.
    fn stored(&self, path: &str) -> Option<Vec<u8>> {
        let record = self.store.get(&key(path)).expect("readable")?;
        match &record.winner()?.node.as_ref()?.value {
            Value::File(content) => {
                Some(self.store.read(content).and_then(|r| r.read_all()).expect("content").to_vec())
            }
            _ => Some(Vec::new()),
        }
    }

    fn live_heads(&self, path: &str) -> usize {
        let record = self.store.get(&key(path)).expect("readable").expect("a record");
        record.heads.iter().filter(|h| h.node.is_some()).count()
    }

    /// Written by another face, and the mount told of it.
    fn put_elsewhere(&self, path: &str, bytes: &[u8]) {
        self.put_unnoticed(path, bytes);
        self.catch_up();
    }

    /// The same while the watcher lags behind.
    fn put_unnoticed(&self, path: &str, bytes: &[u8]) {
        let before = self.store.get(&key(path)).expect("readable");
        let file_id = before
            .and_then(|r| Some(r.winner()?.node.as_ref()?.file_id))
            .unwrap_or(FileId(*b"elsewhere0123456"));
        let content = Content::Inline(bytes.to_vec().into());
        let node = FileNode { file_id, value: Value::File(content), attrs: Attrs::default() };
        let put = Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything };
        self.store.commit(vec![put]).expect("committed");
    }

    /// What a peer wrote that had not seen the file which stands above.
    fn put_below_elsewhere(&self, path: &str, bytes: &[u8]) {
        let content = Content::Inline(bytes.to_vec().into());
        let node = FileNode {
            file_id: FileId(*b"elsewherebelow_x"),
            value: Value::File(content),
            attrs: Attrs::default(),
        };
        let put = Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Beside };
        self.store.commit(vec![put]).expect("committed");
        self.catch_up();
    }

    fn delete_elsewhere(&self, path: &str) {
        let delete = Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Exists };
        self.store.commit(vec![delete]).expect("committed");
        self.catch_up();
    }

    /// Applies what the watcher's thread would.
    fn catch_up(&self) {
        while let Some(LiveChange::Event(event)) = self.live.next(Duration::ZERO) {
            self.fs.apply(&self.fs.volumes()[0], &event);
        }
    }
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}
