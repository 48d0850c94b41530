//! The simulated disk is held to its own contract, and to what the real one does.

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;

const A: &str = "/a";
const SEEDS: u64 = 300;

fn open(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), Open::Create).expect("opens")
}

/// Contents of `path` in many images of a crash now.
fn images(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let image = |seed| disk.crash_image(disk.ops(), seed).files().remove(Path::new(path));
    (0..SEEDS).map(image).collect()
}

/// A disk with a durable file `/a` of 2048 times `fill`.
fn durable(fill: u8) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new();
    let file = open(&disk, A);
    file.write_all_at(&[fill; 2048], 0).expect("writes");
    file.sync_data().expect("syncs");
    disk.sync_dir(Path::new("/")).expect("syncs");
    (disk, file)
}

#[test]
fn what_was_synced_is_in_every_image() {
    let (disk, _) = durable(7);
    assert_eq!(images(&disk, A), BTreeSet::from([Some(vec![7; 2048])]));
}

#[test]
fn what_was_not_synced_may_be_there_missing_or_torn_by_sector() {
    let (disk, file) = durable(7);
    file.write_all_at(&[9; 2048], 0).expect("writes");
    let images = images(&disk, A);
    for sectors in 0..=4 {
        let torn: Vec<u8> = [vec![9; sectors * 512], vec![7; 2048 - sectors * 512]].concat();
        assert!(images.contains(&Some(torn)), "no image with {sectors} sectors");
    }
    assert!(images.iter().flatten().all(|i| i.len() == 2048));
}

#[test]
fn a_file_that_grew_may_end_in_zeros_or_garbage() {
    let (disk, file) = durable(7);
    file.write_all_at(&[9; 1024], 2048).expect("writes");
    let tails: BTreeSet<Vec<u8>> =
        images(&disk, A).into_iter().flatten().map(|i| i[2048..].to_vec()).collect();
    assert!(tails.contains(&vec![]) && tails.contains(&vec![9; 1024]) && tails.contains(&vec![0; 1024]));
    assert!(tails.iter().any(|t| t.iter().any(|b| *b != 0 && *b != 9)), "no garbage");
}

#[test]
fn a_later_write_may_survive_an_earlier_one() {
    let (disk, file) = durable(7);
    file.write_all_at(&[8; 512], 0).expect("writes");
    file.write_all_at(&[9; 512], 1024).expect("writes");
    let found = images(&disk, A).into_iter().flatten().any(|i| i[0] == 7 && i[1024] == 9);
    assert!(found, "writes are never reordered");
}

#[test]
fn a_failed_sync_is_never_made_good() {
    let (disk, file) = durable(7);
    file.write_all_at(&[9; 512], 0).expect("writes");
    disk.fail_syncs(1);
    file.sync_data().expect_err("EIO");
    file.write_all_at(&[8; 512], 512).expect("writes");
    file.sync_data().expect("syncs");
    let images = images(&disk, A);
    assert!(images.iter().flatten().any(|i| i[0] == 7), "the failed write is always there");
    assert!(images.iter().flatten().all(|i| i[512] == 8), "the later write is promised");
}

#[test]
fn a_name_is_durable_with_its_directory_only() {
    let disk = SimDisk::new();
    open(&disk, A).sync_data().expect("syncs");
    assert_eq!(images(&disk, A), BTreeSet::from([None, Some(vec![])]));
    disk.sync_dir(Path::new("/")).expect("syncs");
    assert_eq!(images(&disk, A), BTreeSet::from([Some(vec![])]));
    disk.remove(Path::new(A)).expect("removes");
    assert_eq!(images(&disk, A), BTreeSet::from([None, Some(vec![])]));
    disk.sync_dir(Path::new("/")).expect("syncs");
    assert_eq!(images(&disk, A), BTreeSet::from([None]));
}

#[test]
fn a_rename_over_leaves_the_old_file_or_the_new() {
    let (disk, _) = durable(7);
    let new = open(&disk, "/b");
    new.write_all_at(&[9; 10], 0).expect("writes");
    new.sync_data().expect("syncs");
    disk.rename(Path::new("/b"), Path::new(A)).expect("renames");
    assert_eq!(images(&disk, A), BTreeSet::from([Some(vec![7; 2048]), Some(vec![9; 10])]));
    disk.sync_dir(Path::new("/")).expect("syncs");
    assert_eq!(images(&disk, A), BTreeSet::from([Some(vec![9; 10])]));
}

#[test]
fn a_kill_loses_nothing_and_a_flipped_bit_stays() {
    let (disk, file) = durable(7);
    file.write_all_at(&[9; 10], 0).expect("writes");
    assert_eq!(disk.kill_image(disk.ops()).files(), disk.files());
    disk.flip(Path::new(A), 100, 4).expect("flips");
    assert!(images(&disk, A).iter().flatten().all(|i| i[100] == 3));
    assert_eq!(disk.files()[Path::new(A)][100], 3);
}

#[test]
fn a_full_disk_takes_a_part_of_a_write_and_more_once_there_is_room() {
    let (disk, file) = durable(7);
    disk.set_space(Some(10));
    file.write_all_at(&[9; 2048], 0).expect("needs no room");
    let e = file.write_all_at(&[9; 20], 2048).expect_err("full");
    assert_eq!((e.kind(), file.len().expect("len")), (io::ErrorKind::StorageFull, 2058));
    file.set_len(2048).expect("shrinks");
    file.write_all_at(&[9; 10], 2048).expect("there is room again");
}

#[test]
fn bad_sectors_fail_reads_that_touch_them() {
    let (disk, file) = durable(7);
    disk.fail_reads(Path::new(A), 10..20).expect("exists");
    let mut buf = [0; 10];
    file.read_exact_at(&mut buf, 0).expect("before");
    file.read_exact_at(&mut buf, 20).expect("after");
    file.read_exact_at(&mut buf, 11).expect_err("within");
    file.read_exact_at(&mut buf, 5).expect_err("across");
}

#[test]
fn a_file_that_takes_no_writes_keeps_what_it_has() {
    let (disk, file) = durable(7);
    let before = file.len().expect("len");
    disk.fail_writes(Path::new(A), true).expect("exists");
    file.write_all_at(&[9], 0).expect_err("no writes");
    file.set_len(0).expect_err("no changes of its length");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).expect("still read");
    assert_eq!((file.len().expect("len"), byte), (before, [7]));
    disk.fail_writes(Path::new(A), false).expect("exists");
    file.write_all_at(&[9], 0).expect("works again");
}

/// One call on a disk, with small numbers so that calls meet.
#[derive(Debug, Clone)]
enum Call {
    Open(u8, Open),
    Write(u8, u64, Vec<u8>),
    Read(u8, u64, usize),
    SetLen(u8, u64),
    Punch(u8, u64, u64),
    Rename(u8, u8),
    Remove(u8),
    MakeDir(u8),
    List(u8),
    SyncDir(u8),
}

fn call() -> impl Strategy<Value = Call> {
    let how = prop_oneof![Just(Open::Read), Just(Open::Write), Just(Open::Create), Just(Open::CreateNew)];
    let name = 0..6u8;
    let at = 0..3000u64;
    prop_oneof![
        4 => (name.clone(), how).prop_map(|(n, h)| Call::Open(n, h)),
        6 => (name.clone(), at.clone(), prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(n, o, d)| Call::Write(n, o, d)),
        4 => (name.clone(), at.clone(), 0..600usize).prop_map(|(n, o, l)| Call::Read(n, o, l)),
        2 => (name.clone(), at.clone()).prop_map(|(n, l)| Call::SetLen(n, l)),
        2 => (name.clone(), at.clone(), 0..600u64).prop_map(|(n, o, l)| Call::Punch(n, o, l)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Call::Rename(a, b)),
        1 => name.clone().prop_map(Call::Remove),
        1 => (0..2u8).prop_map(Call::MakeDir),
        1 => (0..3u8).prop_map(Call::List),
        1 => (0..3u8).prop_map(Call::SyncDir),
    ]
}

/// Files 0 and 1 stand in the root, the others in `d0` and `d1`, which may be missing.
fn file_at(root: &Path, name: u8) -> PathBuf {
    match name / 2 {
        0 => root.join(format!("f{name}")),
        d => root.join(format!("d{}", d - 1)).join(format!("f{name}")),
    }
}

fn dir_at(root: &Path, dir: u8) -> PathBuf {
    if dir == 2 { root.to_path_buf() } else { root.join(format!("d{dir}")) }
}

/// Makes a call; what it returns or the errno, for comparison.
fn make(disk: &dyn Disk, root: &Path, call: &Call) -> Result<Vec<u8>, Option<i32>> {
    let errno = |e: io::Error| e.raw_os_error();
    let file = |name, how| disk.open(&file_at(root, name), how).map_err(errno);
    let none = |()| Vec::new();
    match call {
        Call::Open(name, how) => file(*name, *how)?.len().map(|n| n.to_le_bytes().to_vec()),
        Call::Write(name, at, data) => file(*name, Open::Write)?.write_all_at(data, *at).map(none),
        Call::Read(name, at, len) => {
            let mut buf = vec![0; *len];
            file(*name, Open::Read)?.read_exact_at(&mut buf, *at).map(|()| buf)
        }
        Call::SetLen(name, len) => file(*name, Open::Write)?.set_len(*len).map(none),
        Call::Punch(name, at, len) => file(*name, Open::Write)?.punch(*at, *len).map(none),
        Call::Rename(a, b) => disk.rename(&file_at(root, *a), &file_at(root, *b)).map(none),
        Call::Remove(name) => disk.remove(&file_at(root, *name)).map(none),
        Call::MakeDir(dir) => disk.create_dir_all(&dir_at(root, *dir)).map(none),
        Call::List(dir) => disk.list(&dir_at(root, *dir)).map(|names| format!("{names:?}").into_bytes()),
        Call::SyncDir(dir) => disk.sync_dir(&dir_at(root, *dir)).map(none),
    }
    .map_err(errno)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_simulated_disk_answers_as_the_real_one(calls in prop::collection::vec(call(), 1..80)) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let sim = SimDisk::new();
        sim.create_dir_all(Path::new("/r")).expect("makes");
        for call in &calls {
            let real = make(&RealDisk, temp.path(), call);
            let simulated = make(&sim, Path::new("/r"), call);
            prop_assert_eq!(real, simulated, "{:?}", call);
        }
        for name in 0..6 {
            let path = file_at(Path::new("/r"), name);
            let real = std::fs::read(file_at(temp.path(), name)).ok();
            prop_assert_eq!(real.is_some(), sim.exists(&path));
            prop_assert_eq!(real, sim.files().remove(&path));
        }
    }
}

#[test]
fn punching_a_real_file_frees_its_blocks_and_keeps_its_length() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = RealDisk.open(&temp.path().join("f"), Open::CreateNew).expect("opens");
    file.write_all_at(&[1; 1 << 20], 0).expect("writes");
    file.sync_data().expect("syncs");
    let before = file.allocated().expect("allocated");
    file.punch(0, 512 << 10).expect("punches");
    let mut buf = [1; 4096];
    file.read_exact_at(&mut buf, 4096).expect("reads");
    assert_eq!((file.len().expect("len"), buf), (1 << 20, [0; 4096]));
    // A file system without holes keeps the blocks; this one reads as zeros either way.
    assert!(file.allocated().expect("allocated") <= before);
}
