//! The state on the disk is never ahead of the log there, whatever is committed while it is made durable: after a power
//! loss the store opens, with all that was promised.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lattice_engine::clock::ManualClock;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::disk::{Disk, DiskFile, Open};
use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::{FileId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Handle, KeepHistory, OpenOptions};

/// What the disk has just done, to a file whose name ends so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Synced(&'static str),
    Removed(&'static str),
}

type Then = Box<dyn FnOnce() + Send>;

/// Does something once, after the disk has done something.
#[derive(Default)]
struct Hook(Mutex<Option<(Done, Then)>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Hook {
    fn after(&self, done: Done, then: impl FnOnce() + Send + 'static) {
        *self.0.lock().expect("not poisoned") = Some((done, Box::new(then)));
    }

    fn done(&self, path: &Path, done: impl Fn(&'static str) -> Done) {
        let mut waiting = self.0.lock().expect("not poisoned");
        let now = waiting.take_if(|(awaited, _)| {
            let (Done::Synced(suffix) | Done::Removed(suffix)) = *awaited;
            done(suffix) == *awaited && path.to_string_lossy().ends_with(suffix)
        });
        drop(waiting);
        if let Some((_, then)) = now {
            then();
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Hooked {
    disk: SimDisk,
    hook: Arc<Hook>,
}

#[derive(Debug)]
struct HookedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    hook: Arc<Hook>,
}

impl Disk for Hooked {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(HookedFile { file, path: path.to_path_buf(), hook: self.hook.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)?;
        self.hook.done(path, Done::Removed);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
}

impl DiskFile for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.hook.done(&self.path, Done::Synced);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch(offset, len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }
}

const STORES: &str = "/stores";

fn options(disk: Arc<dyn Disk>) -> OpenOptions {
    OpenOptions {
        disk,
        identity: Arc::new(Identity::from_seed([7; 32])),
        clock: Arc::new(ManualClock::at(1_700_000_000_000)),
        background: false,
        authority: Authority::Everyone,
    }
}

fn make(disk: &Hooked) -> Handle {
    disk.create_dir_all(Path::new(STORES)).expect("mkdir");
    store::create(Path::new(STORES), &options(Arc::new(disk.clone()))).expect("create")
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

fn put(store: &Handle, path: &str, content: Content) {
    let node = Node { file_id: FileId([7; 16]), value: Value::File(content), attrs: Attrs::default() };
    let put = Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything };
    store.commit(vec![put]).expect("commit");
}

fn small(store: &Handle, path: &str) {
    put(store, path, Content::Inline(path.to_owned().into()));
}

/// The power goes now, in many ways; the store opens each time and has `promised`.
fn survives(disk: &SimDisk, id: StoreId, promised: &str) {
    for seed in 0..40 {
        let image = disk.crash_image(disk.ops(), seed);
        let dir = Path::new(STORES).join(id.to_string());
        let store = store::open(&dir, id, &options(Arc::new(image)))
            .unwrap_or_else(|e| panic!("image {seed} doesn't open: {e}"));
        assert!(store.get(&key(promised)).expect("get").is_some(), "image {seed}");
        let report = store.fsck(true, &mut |_| {}).expect("fsck");
        assert_eq!(report.problems, Vec::<String>::new(), "image {seed}");
    }
}

#[test]
fn what_is_committed_while_the_state_is_made_durable_does_not_get_ahead_of_the_log() {
    let disk = Hooked::default();
    let store = make(&disk);
    small(&store, "before");
    let meanwhile = store.clone();
    disk.hook.after(Done::Synced(".log"), move || small(&meanwhile, "meanwhile"));
    store.maintain(true).expect("turns");
    assert!(store.get(&key("meanwhile")).expect("get").is_some(), "the disk was asked to sync the log");
    survives(&disk.disk, store.id(), "before");
}

/// An adopted file, which is a pack of its own.
fn adopted(disk: &Hooked, store: &Handle, n: u8) -> Content {
    let bytes: Vec<u8> = (0..1_200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n).collect();
    let path = store.staging_path().expect("a path");
    disk.disk.open(&path, Open::CreateNew).and_then(|f| f.write_all_at(&bytes, 0)).expect("stages");
    store.content().adopt(&path, bytes.len() as u64).expect("adopts")
}

#[test]
fn what_is_applied_while_a_collection_removes_packs_does_not_get_ahead_of_the_log() {
    let disk = Hooked::default();
    let store = make(&disk);
    for n in 0..2 {
        put(&store, "large", adopted(&disk, &store, n));
    }
    small(&store, "large");
    small(&store, "before");
    let meanwhile = store.clone();
    disk.hook.after(Done::Removed(".raw"), move || {
        small(&meanwhile, "meanwhile");
        meanwhile.maintain(false).expect("applies");
    });
    store.gc(KeepHistory::Heads).expect("collects");
    assert!(store.get(&key("meanwhile")).expect("get").is_some(), "a pack was removed");
    survives(&disk.disk, store.id(), "before");
}
