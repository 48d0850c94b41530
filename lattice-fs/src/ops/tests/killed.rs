//! What stands on the disk when a call has returned: the data directory is copied then, and opened like one whose
//! process was killed.

use std::path::Path;

use super::*;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => copy(&entry.path(), &to),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to).expect("copied")),
            _ => {}
        }
    }
}

/// What another process finds after a kill now.
pub(super) struct Killed {
    store: Handle,
    _node: Node,
    _dir: TempDir,
}

impl Killed {
    pub(super) fn now(rig: &Rig) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        copy(&rig._dir.path().join("data"), &data);
        let node = Node::open(&data).expect("opened");
        let store = node.find("test").expect("the store");
        assert_eq!(store.intents().expect("intents"), []);
        Self { store, _node: node, _dir: dir }
    }

    /// Its bytes, where it is one version.
    pub(super) fn stored(&self, path: &str) -> Option<Vec<u8>> {
        let record = self.store.get(&key(path)).expect("readable")?;
        let node = record.winner()?.node.as_ref()?;
        assert_eq!(record.heads.len(), 1, "{path} is one version");
        let content = node.content().expect("a file");
        Some(self.store.read(content).and_then(|r| r.read_all()).expect("content").to_vec())
    }
}

/// More than is staged in memory.
fn big(fill: u8) -> Vec<u8> {
    vec![fill; (1 << 20) + 70_000]
}

impl Rig {
    /// Written anew and closed, and not content yet.
    fn write_over(&self, parent: u64, name: &str, bytes: &[u8]) -> u64 {
        let ino = match self.find(parent, name) {
            None => return self.write(parent, name, bytes),
            Some((ino, _)) => ino,
        };
        self.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
        self.fs.write(ino, 0, bytes, false).expect("written");
        self.close(ino);
        ino
    }

    fn mv(&self, from: &str, to: &str) {
        self.fs.rename(ROOT, from.as_bytes(), ROOT, to.as_bytes(), RenameFlags::default()).expect("renamed");
    }
}

#[test]
fn a_large_file_is_kept_from_its_close_on() {
    let rig = Rig::new();
    rig.write(ROOT, "a", b"old");
    rig.write_over(ROOT, "a", &big(1));
    assert_eq!(rig.store.intents().expect("intents").len(), 1);
    assert!(Killed::now(&rig).stored("a") == Some(big(1)));
}

#[test]
fn a_large_file_follows_its_name() {
    for known in [false, true] {
        let rig = Rig::new();
        rig.write(ROOT, "f", b"old");
        if known {
            rig.write(ROOT, "tmp", b"older");
        }
        rig.write_over(ROOT, "tmp", &big(1));
        rig.mv("tmp", "f");
        let killed = Killed::now(&rig);
        assert!(killed.stored("f") == Some(big(1)));
        assert_eq!(killed.stored("tmp"), None);
        assert!(rig.read(rig.ino(ROOT, "f")) == big(1));
    }
}

#[test]
fn a_file_that_is_renamed_while_it_is_written_follows_its_name() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "tmp");
    rig.fs.write(ino, 0, &big(1), false).expect("written");
    rig.fs.flush(ino).expect("one of several closes");
    rig.fs.write(ino, 0, b"more", false).expect("written");
    rig.mv("tmp", "f");
    let mut expected = big(1);
    expected[..4].copy_from_slice(b"more");
    assert!(Killed::now(&rig).stored("f").is_some_and(|f| f == expected));
    rig.fs.write(ino, 4, b"!", false).expect("written");
    rig.close(ino);
    expected[4] = b'!';
    let killed = Killed::now(&rig);
    assert!(killed.stored("f") == Some(expected));
    assert_eq!(killed.stored("tmp"), None);
}

#[test]
fn a_large_file_that_is_replaced_or_removed_does_not_come_back() {
    for known in [false, true] {
        let rig = Rig::new();
        if known {
            rig.write(ROOT, "f", b"older");
            rig.write(ROOT, "g", b"older");
        }
        rig.write_over(ROOT, "f", &big(1));
        rig.write_over(ROOT, "g", &big(2));
        rig.write(ROOT, "tmp", b"new");
        rig.mv("tmp", "f");
        rig.fs.unlink(ROOT, b"g").expect("unlinked");
        let killed = Killed::now(&rig);
        assert_eq!(killed.stored("f").as_deref(), Some(&b"new"[..]));
        assert_eq!(killed.stored("g"), None);
        rig.fs.work_off();
        assert_eq!(rig.stored("f").as_deref(), Some(&b"new"[..]));
        assert_eq!(rig.live_heads("f"), 1);
    }
}

#[test]
fn two_large_files_trade_places() {
    let rig = Rig::new();
    rig.write_over(ROOT, "a", &big(1));
    rig.write_over(ROOT, "b", &big(2));
    let exchange = RenameFlags { exchange: true, ..RenameFlags::default() };
    rig.fs.rename(ROOT, b"a", ROOT, b"b", exchange).expect("exchanged");
    let killed = Killed::now(&rig);
    assert!(killed.stored("a") == Some(big(2)));
    assert!(killed.stored("b") == Some(big(1)));
}

#[test]
fn a_large_file_follows_its_directory() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    rig.write(d, "f", b"older");
    rig.write_over(d, "f", &big(1));
    rig.mv("d", "e");
    let killed = Killed::now(&rig);
    assert!(killed.stored("e/f") == Some(big(1)));
    assert_eq!(killed.stored("d/f"), None);
}

/// As a shell does for `echo x > f`: the copy of the descriptor is closed before anything is written.
#[test]
fn a_redirect_is_one_version() {
    let rig = Rig::new();
    let versions = |rig: &Rig| rig.store.history(&key("f"), 10).expect("history").len();
    for (round, text) in [(1, &b"one"[..]), (2, b"two")] {
        let ino = match round {
            1 => rig.create(ROOT, "f"),
            _ => rig.ino(ROOT, "f"),
        };
        if round == 2 {
            rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
        }
        rig.fs.flush(ino).expect("the copy is closed");
        assert_eq!(versions(&rig), round - 1);
        assert_eq!(Killed::now(&rig).stored("f").as_deref(), Some(&b""[..]), "it was closed empty");
        rig.fs.write(ino, 0, text, false).expect("written");
        assert_eq!(Killed::now(&rig).stored("f").as_deref(), Some(&b""[..]));
        rig.fs.flush(ino).expect("flushed");
        assert_eq!(rig.stored("f").as_deref(), Some(text));
        rig.fs.release(ino, 0, WRITE).expect("released");
        assert_eq!(versions(&rig), round);
        assert_eq!(rig.store.intents().expect("intents"), []);
        assert_eq!(Killed::now(&rig).stored("f").as_deref(), Some(text));
    }
}

#[test]
fn a_large_redirect_is_one_version() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "f");
    rig.fs.flush(ino).expect("the copy is closed");
    rig.fs.write(ino, 0, &big(1), false).expect("written");
    rig.close(ino);
    assert!(Killed::now(&rig).stored("f") == Some(big(1)));
    rig.fs.work_off();
    assert!(rig.stored("f") == Some(big(1)));
    assert_eq!(rig.store.history(&key("f"), 10).expect("history").len(), 1);
}

/// `: > f` and `touch f`.
#[test]
fn a_file_closed_without_a_write_is_kept_and_an_entry_with_its_last_descriptor() {
    let rig = Rig::new();
    rig.write(ROOT, "old", b"old");
    let old = rig.ino(ROOT, "old");
    rig.fs.open(old, WRITE | libc::O_TRUNC).expect("opened");
    let new = rig.create(ROOT, "new");
    for ino in [old, new] {
        rig.fs.flush(ino).expect("flushed");
    }
    let killed = Killed::now(&rig);
    for name in ["old", "new"] {
        assert_eq!(killed.stored(name).as_deref(), Some(&b""[..]));
    }
    for (ino, name) in [(old, "old"), (new, "new")] {
        rig.fs.release(ino, 0, WRITE).expect("released");
        assert_eq!(rig.stored(name).as_deref(), Some(&b""[..]));
        assert_eq!(rig.live_heads(name), 1);
    }
    assert_eq!(rig.store.intents().expect("intents"), []);
}

#[test]
fn an_empty_file_that_is_renamed_or_removed_before_its_release() {
    let rig = Rig::new();
    let (a, b) = (rig.create(ROOT, "a"), rig.create(ROOT, "b"));
    rig.fs.flush(a).expect("flushed");
    rig.fs.flush(b).expect("flushed");
    rig.mv("a", "c");
    rig.fs.unlink(ROOT, b"b").expect("unlinked");
    let killed = Killed::now(&rig);
    assert_eq!(killed.stored("c").as_deref(), Some(&b""[..]));
    assert_eq!((killed.stored("a"), killed.stored("b")), (None, None));
    rig.fs.write(a, 0, b"x", false).expect("written");
    rig.close(a);
    rig.close(b);
    assert_eq!(rig.stored("c").as_deref(), Some(&b"x"[..]));
    assert_eq!(rig.stored("b"), None);
}
