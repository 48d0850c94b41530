//! A node with a clock of its own, and what can be done with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lattice_engine::clock::ManualClock;
use lattice_engine::entry::{Attrs, Node as Held, Op, Value};
use lattice_engine::id::{EntryId, FileId, StoreId};
use lattice_engine::key::Key;
use lattice_engine::merge::{Head, Record};
use lattice_engine::node::Node;
use lattice_engine::store::{BundleReport, Change, Cites, Cursor, Expect, Handle, StoreError};
use tempfile::TempDir;

/// 22 November 2026, about.
pub const NOW: u64 = 1_795_300_000_000;
pub const MINUTE: u64 = 60_000;

#[derive(Debug)]
pub struct Machine {
    pub node: Node,
    pub clock: Arc<ManualClock>,
    store: Option<StoreId>,
    dir: TempDir,
}

impl Machine {
    /// Knows no store yet.
    pub fn start(now_ms: u64) -> Self {
        let dir = TempDir::new().expect("temporary directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("init");
        let clock = Arc::new(ManualClock::at(now_ms));
        let node = Node::open_with(&data, clock.clone()).expect("open");
        Self { node, clock, store: None, dir }
    }

    pub fn with_store(now_ms: u64) -> Self {
        let mut machine = Self::start(now_ms);
        machine.store = Some(machine.node.create_store("shared").expect("store").id());
        machine
    }

    /// Another machine with the store.
    pub fn join(&self, now_ms: u64) -> Self {
        let mut machine = Self::start(now_ms);
        machine.take(&self.bundle());
        machine
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn store_dir(&self) -> PathBuf {
        let id = self.store.expect("a store");
        self.data_dir().join("stores").join(id.to_string())
    }

    /// Closes everything and opens it again, as after a restart.
    pub fn restart(&mut self) {
        self.node.close().expect("close");
        let placeholder = Self::start(NOW).node;
        drop(std::mem::replace(&mut self.node, placeholder));
        self.node = Node::open_with(&self.data_dir(), self.clock.clone()).expect("open again");
    }

    pub fn handle(&self) -> Handle {
        self.node.store(self.store.expect("a store")).expect("the store is open")
    }

    pub fn bundle(&self) -> Vec<u8> {
        let mut bundle = Vec::new();
        self.handle().export("shared", &mut bundle, &mut |_, _| {}).expect("export");
        bundle
    }

    pub fn take(&mut self, mut bundle: &[u8]) -> BundleReport {
        let (id, report) = self.node.import(&mut bundle, &mut |_, _| {}).expect("import");
        assert_eq!(*self.store.get_or_insert(id), id);
        report
    }

    pub fn record(&self, path: &str) -> Arc<Record> {
        self.handle().get(&key(path)).expect("get").unwrap_or_default()
    }

    /// Writes as a mount does: cites the version that is shown.
    pub fn try_write(&self, path: &str, text: &str) -> Result<EntryId, StoreError> {
        let record = self.record(path);
        let shown = record.shown();
        let node = shown.and_then(|h| h.node.as_ref());
        let content = self.handle().put_content(text.as_bytes())?;
        let node = Held {
            file_id: node.map_or_else(new_file_id, |n| n.file_id),
            value: Value::File(content),
            attrs: Attrs::default(),
        };
        let cites = Cites::Heads(shown.iter().map(|h| h.entry.id).collect());
        let put = Change::Put { key: key(path), node, cites, expect: Expect::Anything };
        Ok(self.handle().commit(vec![put])?.id)
    }

    pub fn write(&self, path: &str, text: &str) -> EntryId {
        self.try_write(path, text).expect("write")
    }

    pub fn rm(&self, path: &str) -> Result<EntryId, StoreError> {
        let delete = Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Childless };
        Ok(self.handle().commit(vec![delete])?.id)
    }

    /// What is shown, if it is a file.
    pub fn read(&self, path: &str) -> Option<String> {
        let record = self.record(path);
        record.shown().and_then(|head| self.text(head))
    }

    /// All live versions that are files, sorted.
    pub fn versions(&self, path: &str) -> Vec<String> {
        let record = self.record(path);
        let mut texts: Vec<String> = record.live_heads().filter_map(|h| self.text(h)).collect();
        texts.sort();
        texts
    }

    fn text(&self, head: &Head) -> Option<String> {
        let content = head.node.as_ref()?.content()?;
        let bytes = self.handle().read(content).expect("read").read_all().expect("read");
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    }

    /// All that a record says, with bytes in the place of where they are on this machine.
    pub fn sees(&self, path: &str) -> String {
        let record = self.record(path);
        let head = |h: &Head| {
            let node = h.node.as_ref().map(|n| (n.file_id, self.text(h).unwrap_or_default()));
            format!("{} {} {:?}", h.entry.id, h.entry.hlc, node)
        };
        let heads: Vec<String> = record.heads.iter().map(head).collect();
        let shown = record.shown().map(|h| h.entry.id);
        let (attrs, below) = (&record.attrs, record.below);
        format!(
            "{path}: shown {shown:?} of {heads:#?}, conflict {}, {attrs:#?}, {below:?}",
            record.conflict()
        )
    }

    /// Every operation of the log on a key: the entry, and the versions it supersedes.
    pub fn operations(&self) -> BTreeMap<Key, Vec<(EntryId, Vec<EntryId>)>> {
        let mut found: BTreeMap<Key, Vec<_>> = BTreeMap::new();
        for event in self.handle().entries(Cursor::default(), usize::MAX).expect("entries") {
            for op in event.ops.iter() {
                if let Op::Put { key, parents, .. } | Op::Delete { key, parents } = op {
                    found.entry(key.clone()).or_default().push((event.entry.id, parents.clone()));
                }
            }
        }
        found
    }
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
