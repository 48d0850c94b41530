//! Groups that come in parts, never end, or aren't any: what has an effect is the same on every replica, whenever it was
//! closed and opened on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::entry::{Attrs, Content, Draft, Entry, EntryRef, Kind, Node, Op, Value, genesis_from};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::state::State;
use lattice_engine::store::{self, Authority, Handle, OpenOptions};
use lattice_engine::sync::Received;
use lattice_engine::wire::v1::SignedEntry;

const NOW: u64 = 1_795_300_000_000;
/// The most entries of a group.
const MAX: u64 = 4096;

fn genesis() -> Entry {
    genesis_from(&Identity::from_seed([1; 32]), Hlc::new(NOW - 1, 0), [3; 32], Vec::new()).expect("a genesis")
}

fn id() -> StoreId {
    StoreId::of_genesis(&genesis().id)
}

fn dir() -> PathBuf {
    Path::new("/s").join(id().to_string())
}

fn options(disk: &SimDisk) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([1; 32])),
        clock: Arc::new(ManualClock::at(NOW)),
        background: false,
        authority: Authority::Everyone,
    }
}

/// A member who writes what it likes.
struct Author {
    seed: u8,
    seq: u64,
    prev: EntryId,
}

impl Author {
    fn new() -> Self {
        Self::of(2)
    }

    fn of(seed: u8) -> Self {
        Self { seed, seq: 0, prev: genesis().id }
    }

    /// Puts a key that is named by the entry's number.
    fn write(&mut self, group_first: u64, group_more: bool) -> SignedEntry {
        self.put(self.seq + 1, None, group_first, group_more)
    }

    /// Puts a key, over the version that it has seen.
    fn put(&mut self, name: u64, over: Option<EntryRef>, group_first: u64, group_more: bool) -> SignedEntry {
        let author = Identity::from_seed([self.seed; 32]);
        self.seq += 1;
        let content = Content::Inline(Bytes::from_static(b"x"));
        let node = Node { file_id: FileId([8; 16]), value: Value::File(content), attrs: Attrs::default() };
        let draft = Draft {
            store: id(),
            author: author.node_id(),
            seq: self.seq,
            prev: self.prev,
            // Later than what others wrote under lower seeds.
            hlc: Hlc::new(NOW, u16::from(self.seed - 2) * 8192 + self.seq as u16),
            kind: Kind::Data,
            group_first,
            group_more,
            ops: vec![Op::Put {
                key: key(name),
                node,
                new_name: over.is_none(),
                parents: over.iter().map(|at| at.id).collect(),
            }],
            parents: over.iter().map(|at| (at.id, *at)).collect(),
        };
        let mut entry = draft.build().expect("an entry");
        entry.sign(&author).expect("sign");
        self.prev = entry.id;
        SignedEntry {
            header: entry.header_bytes,
            signature: Bytes::copy_from_slice(&entry.signature.expect("signed")),
            payload: entry.payload_bytes,
        }
    }
}

fn key(seq: u64) -> Key {
    Key::parse(format!("k{seq}").as_bytes()).expect("a key")
}

struct Replica {
    disk: SimDisk,
    store: Handle,
}

impl Replica {
    fn new() -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/s")).expect("mkdir");
        let store = store::adopt(Path::new("/s"), &genesis(), &options(&disk)).expect("adopt");
        Self { disk, store }
    }

    fn take(&self, entries: &[SignedEntry]) {
        let taken = self.store.receive(entries.to_vec(), NodeId([99; 32])).expect("receive");
        assert!(taken.iter().all(|t| *t == Received::New), "{taken:?}");
    }

    /// Closed and opened: with its state made anew from the log where `anew`.
    fn again(self, anew: bool) -> Self {
        self.store.close().expect("closes");
        let disk = self.disk.kill_image(self.disk.ops());
        if anew {
            disk.remove(&dir().join("state.redb")).expect("rm");
        }
        let store = store::open(&dir(), id(), &options(&disk)).expect("opens");
        Self { disk, store }
    }

    fn shows(&self, seq: u64) -> bool {
        self.store.get(&key(seq)).expect("get").is_some()
    }
}

/// The same entries, taken at once, in two parts with an opening between, and with the state made anew.
fn check(entries: &[SignedEntry], cut: usize, shown: &[(u64, bool)]) {
    let whole = Replica::new();
    whole.take(entries);
    let mut replicas = vec![whole];
    for anew in [false, true] {
        let parts = Replica::new();
        parts.take(&entries[..cut]);
        let parts = parts.again(anew);
        parts.take(&entries[cut..]);
        replicas.push(parts);
    }
    for (n, replica) in replicas.into_iter().enumerate() {
        for (seq, shows) in shown {
            assert_eq!(replica.shows(*seq), *shows, "entry {seq} on replica {n}");
        }
        let report = replica.store.fsck(true, &mut |_| {}).expect("fsck");
        assert_eq!((report.problems, report.rebuilt_equal), (Vec::new(), Some(true)), "replica {n}");
    }
}

#[test]
fn a_group_that_came_in_parts_counts_when_it_is_whole() {
    let mut author = Author::new();
    let entries: Vec<_> = [true, true, false].map(|more| author.write(1, more)).into();
    for cut in 1..3 {
        check(&entries, cut, &[(1, true), (2, true), (3, true)]);
    }
    let open = Replica::new();
    open.take(&entries[..2]);
    assert!(!open.again(false).shows(1), "it isn't whole");
}

/// What others made of a group's entry before the group was whole supersedes it all the same.
#[test]
fn a_version_that_takes_effect_late_does_not_come_back() {
    let (mut one, mut two) = (Author::new(), Author::of(3));
    let at = |author: &Author, hlc| EntryRef {
        hlc,
        author: Identity::from_seed([author.seed; 32]).node_id(),
        id: author.prev,
        seq: author.seq,
    };
    let first = one.put(1, None, 1, true);
    let seen = at(&one, Hlc::new(NOW, 1));
    let last = one.put(2, None, 1, false);
    let over = two.put(1, Some(seen), 0, false);
    let over_that = two.put(1, Some(at(&two, Hlc::new(NOW, 8193))), 0, false);
    let orders = [
        [&first, &last, &over, &over_that],
        [&first, &over, &last, &over_that],
        [&first, &over, &over_that, &last],
    ];
    for order in orders {
        let entries: Vec<_> = order.into_iter().cloned().collect();
        check(&entries, 2, &[(1, true), (2, true)]);
        let replica = Replica::new();
        entries.iter().for_each(|entry| replica.take(std::slice::from_ref(entry)));
        let record = replica.store.get(&key(1)).expect("get").expect("is there");
        let heads: Vec<_> = record.heads.iter().map(|head| head.entry.id).collect();
        assert_eq!(heads, [two.prev]);
    }
}

#[test]
fn what_came_behind_an_open_group_is_not_replayed_for_it() {
    let replica = Replica::new();
    let mut author = Author::new();
    replica.take(&[author.write(1, true)]);
    replica.store.maintain(true).expect("turns");
    let applied = |replica: &Replica| {
        let image = replica.disk.kill_image(replica.disk.ops());
        let disk: Arc<dyn Disk> = Arc::new(image);
        let state = State::open(&disk, &dir().join("state.redb")).expect("a state");
        state.read().and_then(|read| read.applied()).expect("is read").to
    };
    assert!(applied(&replica).is_some_and(|at| at.offset > 40), "the mark is behind the group's first entry");
}

#[test]
fn a_group_of_too_many_entries_has_no_effect() {
    let mut author = Author::new();
    let mut entries: Vec<_> = (0..=MAX).map(|_| author.write(1, true)).collect();
    // It ends, when it is void already; and the author goes on.
    entries.extend([author.write(1, true), author.write(1, false), author.write(0, false)]);
    let last = MAX + 4;
    for cut in [10, MAX as usize + 1, MAX as usize + 2] {
        check(&entries, cut, &[(1, false), (MAX, false), (MAX + 2, false), (last - 1, false), (last, true)]);
    }
}

#[test]
fn the_largest_group_counts() {
    let mut author = Author::new();
    let entries: Vec<_> = (1..=MAX).map(|seq| author.write(1, seq < MAX)).collect();
    check(&entries, 2000, &[(1, true), (MAX, true)]);
}

#[test]
fn what_goes_on_with_no_open_group_has_no_effect() {
    let mut author = Author::new();
    let mut entries = vec![author.write(0, false), author.write(1, false)];
    entries.extend([author.write(3, true), author.write(0, false), author.write(3, false)]);
    entries.extend([author.write(6, true), author.write(6, false), author.write(6, false)]);
    let shown = [(1, true), (2, false), (3, false), (4, true), (5, false), (6, true), (7, true), (8, false)];
    for cut in 1..entries.len() {
        check(&entries, cut, &shown);
    }
}
