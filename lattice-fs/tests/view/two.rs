//! Two nodes with one store, and the ways to write to it and to look at it that the tests share.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Node as Value_, Value};
use lattice_engine::id::{EntryId, FileId, StoreId};
use lattice_engine::key::Key;
use lattice_engine::merge::Record;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Handle, RenameHow, StoreError};
use lattice_fs::view::control::VKind;
use lattice_fs::view::effective::{file_id, shown_head};
use lattice_fs::view::{Control, Defaults, Kind, shown};
use tempfile::TempDir;

/// One machine.
#[derive(Debug)]
pub struct Peer {
    pub node: Node,
    store: StoreId,
    _dir: TempDir,
}

/// Two machines that share a store, which is empty.
#[derive(Debug)]
pub struct Two {
    pub a: Peer,
    pub b: Peer,
}

impl Two {
    pub fn new() -> Self {
        let (node, dir) = start();
        let store = node.create_store("shared").expect("store").id();
        let a = Peer { node, store, _dir: dir };
        let (node, dir) = start();
        let b = Peer { node, store, _dir: dir };
        b.take(&a);
        Self { a, b }
    }

    /// Both get all that the other has.
    pub fn meet(&self) {
        self.a.take(&self.b);
        self.b.take(&self.a);
    }
}

fn start() -> (Node, TempDir) {
    let dir = TempDir::new().expect("temporary directory");
    let data = dir.path().join("data");
    Node::init(&data).expect("init");
    (Node::open(&data).expect("open"), dir)
}

impl Peer {
    pub fn handle(&self) -> Handle {
        self.node.store(self.store).expect("the shared store")
    }

    pub fn control(&self) -> Control {
        Control::new(self.handle())
    }

    /// Imports all that `other` has.
    pub fn take(&self, other: &Self) {
        let mut bundle = Vec::new();
        other.handle().export("shared", &mut bundle, &mut |_, _| {}).expect("export");
        let (id, _) = self.node.import(&mut &bundle[..], &mut |_, _| {}).expect("import");
        assert_eq!(id, self.store);
    }

    fn record(&self, key: &Key) -> Arc<Record> {
        self.handle().get(key).expect("get").unwrap_or_default()
    }

    fn commit(&self, changes: Vec<Change>) -> EntryId {
        self.handle().commit(changes).expect("commit").id
    }

    /// Writes a file as a mount does: cites the version that is shown.
    pub fn write(&self, path: &str, text: &str) -> EntryId {
        let content = self.handle().put_content(text.as_bytes()).expect("content");
        self.put(path, Value::File(content))
    }

    pub fn put(&self, path: &str, value: Value) -> EntryId {
        self.try_put(path, value).expect("put")
    }

    pub fn try_put(&self, path: &str, value: Value) -> Result<EntryId, StoreError> {
        let key = key(path);
        let record = self.record(&key);
        let head = shown_head(&record);
        let file_id = head.map_or_else(new_file_id, |_| file_id(&key, &record, self.store));
        let cites = Cites::Heads(head.iter().map(|h| h.entry.id).collect());
        let node = Value_ { file_id, value, attrs: Attrs::default() };
        let put = Change::Put { key, node, cites, expect: Expect::Anything };
        Ok(self.handle().commit(vec![put])?.id)
    }

    pub fn mkdir(&self, path: &str) -> EntryId {
        self.put(path, Value::Dir)
    }

    pub fn rm(&self, path: &str) -> EntryId {
        let (key, cites) = (key(path), Cites::All);
        self.commit(vec![Change::Delete { key, cites, expect: Expect::Childless }])
    }

    pub fn mv(&self, from: &str, to: &str) -> EntryId {
        let (from, to) = (key(from), key(to));
        self.commit(vec![Change::Rename { from, to, how: RenameHow::Replace }])
    }

    pub fn set(&self, path: &str, attrs: Attrs) -> EntryId {
        let key = key(path);
        let file_id = file_id(&key, &self.record(&key), self.store);
        self.commit(vec![Change::Attr { key, file_id, attrs }])
    }

    pub fn chmod(&self, path: &str, mode: u32) -> EntryId {
        self.set(path, Attrs { mode: Some(mode), ..Attrs::default() })
    }

    pub fn read(&self, path: &str) -> String {
        let record = self.record(&key(path));
        let head = shown_head(&record).expect("a version");
        let content = head.node.as_ref().and_then(|n| n.content()).expect("a file");
        let bytes = self.handle().read(content).expect("read").read_all().expect("read");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    pub fn shown(&self, path: &str) -> Option<lattice_fs::view::Shown> {
        let handle = self.handle();
        let defaults = Defaults { store: handle.id(), author: handle.author(), uid: 0, gid: 0 };
        let key = if path.is_empty() { Key::ROOT } else { key(path) };
        shown(&key, &self.record(&key), &defaults)
    }

    /// The tree, a line each: `d/`, `f=text`, `l->target`; with the mode where it isn't the default.
    pub fn tree(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.handle()
            .walk(&Key::ROOT, &mut |key, _| {
                keys.push(key.to_string());
                ControlFlow::Continue(())
            })
            .expect("walk");
        let line = |path: &String| {
            let seen = self.shown(path).expect("what a walk finds is there");
            let (text, mode) = match seen.kind {
                Kind::Dir => (format!("{path}/"), 0o755),
                Kind::File => (format!("{path}={}", self.read(path)), 0o644),
                other => (format!("{path} {}", other.word()), 0o644),
            };
            let odd = if seen.mode == mode { String::new() } else { format!(" {:o}", seen.mode) };
            text + &odd
        };
        keys.iter().map(line).collect()
    }

    /// All that is below `conflicts/`, a line each: `f/1=text`, `f/base=text`; without authors and ids, sorted.
    pub fn conflict_files(&self) -> BTreeSet<String> {
        let control = self.control();
        let mut lines = BTreeSet::new();
        visit(&control, vec!["conflicts".into()], &mut |path, node| {
            if node == VKind::Dir {
                return;
            }
            let (name, dir) = path[1..].split_last().expect("a version's path");
            let name = String::from_utf8_lossy(name).into_owned();
            let short = name.split('-').next().expect("a name");
            let dir: Vec<_> = dir.iter().map(|s| String::from_utf8_lossy(s)).collect();
            lines.insert(format!("{}/{short}={}", dir.join("/"), cat(&control, path)));
        });
        lines
    }
}

/// Calls `see` on all below `path`, checking that what a listing says of a file is what a look-up says.
pub fn visit(control: &Control, path: Vec<Bytes>, see: &mut dyn FnMut(&[Bytes], VKind)) {
    for (name, node) in control.list(&path).expect("a listing") {
        let mut inner = path.clone();
        inner.push(name);
        assert_eq!(control.lookup(&inner).expect("what is listed is found"), node, "{inner:?}");
        see(&inner, node.kind);
        match node.kind {
            VKind::Dir => visit(control, inner, see),
            VKind::File => assert_eq!(cat(control, &inner).len() as u64, node.size, "{inner:?}"),
        }
    }
}

/// What a virtual file reads as.
pub fn cat(control: &Control, path: &[Bytes]) -> String {
    let file = control.open(path).expect("open");
    let mut bytes = vec![0; file.size() as usize + 1];
    let n = file.read_at(&mut bytes, 0).expect("read");
    assert_eq!(n as u64, file.size(), "a file's size is true");
    String::from_utf8(bytes[..n].to_vec()).expect("text")
}

/// `a/b/c` as the control directory takes it.
pub fn path(text: &str) -> Vec<Bytes> {
    text.split('/').map(|s| Bytes::copy_from_slice(s.as_bytes())).collect()
}

pub fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

fn new_file_id() -> FileId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [7; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    FileId(id)
}
