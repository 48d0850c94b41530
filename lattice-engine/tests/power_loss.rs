//! A whole store on the simulated disk: log, packs and redb written through one recorder, and the power cut at any
//! operation, with what was not synced torn, reordered or missing. Whatever a sync had returned for is there after; the
//! store opens, agrees with a replay of its own log, and goes on working. A kill loses nothing at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::{Rng, SimDisk};
use lattice_engine::entry::{Attrs, Node, Value};
use lattice_engine::id::{FileId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{
    self, Authority, Change, Cites, Expect, Handle, OpenOptions, RenameHow, StoreError,
};

const SCRIPTS: u64 = 12;
const STEPS: u64 = 60;
const IMAGES: u64 = 60;

type Model = BTreeMap<String, Vec<u8>>;

fn options(disk: &SimDisk) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([7; 32])),
        clock: Arc::new(ManualClock::at(1_700_000_000_000)),
        background: false,
        authority: Authority::Everyone,
    }
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

/// Small values stay in the entry, larger ones become chunks.
fn value(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.one_in(4) { 5_000 + rng.below(60_000) } else { rng.below(3_000) };
    let mut bytes = vec![0; len as usize];
    rng.fill(&mut bytes);
    bytes
}

fn put(store: &Handle, path: &str, bytes: &[u8], rng: &mut Rng) -> Change {
    let mut id = [0; 16];
    rng.fill(&mut id);
    let content = store.put_content(bytes).expect("put content");
    let node = Node { file_id: FileId(id), value: Value::File(content), attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

/// One random commit; `model` follows.
fn step(store: &Handle, model: &mut Model, rng: &mut Rng) {
    let name = format!("d{}/f{}", rng.below(3), rng.below(8));
    match rng.below(6) {
        0 if model.contains_key(&name) => {
            model.remove(&name);
            let delete = Change::Delete { key: key(&name), cites: Cites::All, expect: Expect::Exists };
            store.commit(vec![delete]).expect("delete");
        }
        1 if model.contains_key(&name) => {
            let to = format!("d{}/g{}", rng.below(3), rng.below(8));
            if let Some(bytes) = model.remove(&name) {
                model.insert(to.clone(), bytes);
            }
            let rename = Change::Rename { from: key(&name), to: key(&to), how: RenameHow::Replace };
            store.commit(vec![rename]).expect("rename");
        }
        _ => {
            let bytes = value(rng);
            let change = put(store, &name, &bytes, rng);
            store.commit(vec![change]).expect("put");
            model.insert(name, bytes);
        }
    }
}

fn read(store: &Handle) -> Model {
    let mut found = Model::new();
    store
        .walk(&Key::ROOT, &mut |key, record| {
            let node = record.winner().and_then(|h| h.node.as_ref());
            if let Some(content) = node.and_then(|n| n.content()) {
                let bytes = store.read(content).and_then(|r| r.read_all()).expect("content is there");
                found.insert(key.to_string(), bytes.to_vec());
            }
            std::ops::ControlFlow::Continue(())
        })
        .expect("walk");
    found
}

/// A recorded life of a store: what it held after each commit, at which operation of the disk.
struct Life {
    disk: SimDisk,
    id: StoreId,
    /// After operation `.0` of the disk, the store holds `.1`.
    states: Vec<(usize, Model)>,
    /// From operation `.0` on, the first `.1` states are promised.
    promised: Vec<(usize, usize)>,
}

fn live(seed: u64) -> Life {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/stores")).expect("mkdir");
    let store = store::create(Path::new("/stores"), &options(&disk)).expect("create");
    let mut rng = Rng::new(seed);
    let mut model = Model::new();
    let mut states = vec![(disk.ops(), model.clone())];
    let mut promised = vec![(disk.ops(), 1)];
    for _ in 0..STEPS {
        step(&store, &mut model, &mut rng);
        states.push((disk.ops(), model.clone()));
        match rng.below(10) {
            0..3 => {
                store.sync().expect("sync");
                promised.push((disk.ops(), states.len()));
            }
            3..6 => store.maintain(false).expect("maintain"),
            6 => store.maintain(true).expect("maintain durably"),
            _ => {}
        }
    }
    Life { disk, id: store.id(), states, promised }
}

fn reopen(disk: &SimDisk, id: StoreId, what: &str) -> Handle {
    let dir = Path::new("/stores").join(id.to_string());
    store::open(&dir, id, &options(disk)).unwrap_or_else(|e| panic!("{what}: doesn't open: {e}"))
}

/// Opens an image, checks it, and uses it. Gives how many states were promised and lost.
fn check(life: &Life, image: &SimDisk, at: usize, kill: bool, what: &str) -> usize {
    let store = reopen(image, life.id, what);
    let found = read(&store);
    let holds = |(_, model): &(usize, Model)| *model == found;
    let which = life.states.iter().rposition(holds);
    let which = which.unwrap_or_else(|| panic!("{what}: a state that never was: {:?}", found.keys()));
    let need = if kill {
        // What a commit returned for before the kill.
        life.states.iter().filter(|(op, _)| *op <= at).count()
    } else {
        life.promised.iter().filter(|(op, _)| *op <= at).map(|(_, n)| *n).max().unwrap_or(0)
    };
    let report = store.fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!(report.problems, Vec::<String>::new(), "{what}");
    assert_eq!(report.rebuilt_equal, Some(true), "{what}");
    let mut model = found;
    let mut rng = Rng::new(at as u64);
    for _ in 0..5 {
        step(&store, &mut model, &mut rng);
    }
    store.sync().expect("sync after recovery");
    assert_eq!(read(&store), model, "{what}: goes on");
    need.saturating_sub(which + 1)
}

#[test]
fn nothing_synced_is_lost_when_the_power_goes_and_nothing_at_all_when_the_process_is_killed() {
    let (mut images, mut lost, mut kills, mut lost_kills) = (0, 0, 0, 0);
    for seed in 0..SCRIPTS {
        let life = live(seed);
        let mut rng = Rng::new(!seed);
        let first = life.states[0].0;
        for n in 0..IMAGES {
            let at = first + rng.below((life.disk.ops() - first + 1) as u64) as usize;
            let what = format!("seed {seed}, power lost after operation {at}, image {n}");
            lost += check(&life, &life.disk.crash_image(at, n), at, false, &what);
            images += 1;
            if n % 4 == 0 {
                let what = format!("seed {seed}, killed after operation {at}");
                lost_kills += check(&life, &life.disk.kill_image(at), at, true, &what);
                kills += 1;
            }
        }
    }
    println!("{images} power losses, {lost} synced commits lost; {kills} kills, {lost_kills} commits lost");
    assert_eq!((lost, lost_kills), (0, 0));
}

/// Opening for reading does all that opening does, but in memory: the image is what it was.
#[test]
fn what_is_opened_for_reading_shows_the_same_and_stays_untouched() {
    let life = live(3);
    let points = (0..8).map(|n| life.disk.ops() - n * life.disk.ops() / 16);
    for (at, variant) in points.flat_map(|at| (0..3).map(move |v| (at, v))) {
        let what = format!("operation {at}, variant {variant}");
        let image = || match variant {
            0 => life.disk.kill_image(at),
            seed => life.disk.crash_image(at, seed),
        };
        let (touched, untouched) = (image(), image());
        let dir = Path::new("/stores").join(life.id.to_string());
        let (ops, files) = (untouched.ops(), untouched.files());
        let store = store::open_read_only(&dir, life.id, &options(&untouched))
            .unwrap_or_else(|e| panic!("{what}: doesn't open: {e}"));
        assert_eq!(read(&store), read(&reopen(&touched, life.id, &what)), "{what}");
        let refused = store.commit(vec![Change::Delete {
            key: key("d0"),
            cites: Cites::All,
            expect: Expect::Anything,
        }]);
        assert!(matches!(refused, Err(e) if matches!(e.cause(), StoreError::ReadOnly { .. })), "{what}");
        store.sync().expect("has nothing to do");
        store.close().expect("closes");
        drop(store);
        assert_eq!(untouched.ops(), ops, "{what}");
        assert!(untouched.files() == files, "{what}");
    }
}
