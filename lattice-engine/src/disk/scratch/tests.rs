//! The scratch disk is held to what the simulated and the real one do, and to leaving its base as it is.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;
use crate::disk::sim::SimDisk;

/// Files: the first three are in the base, the last one's directory is made by [`Step::MakeDir`].
const FILES: [&str; 6] = ["a", "b", "d/c", "new", "d/new", "made/x"];
const DIRS: [&str; 3] = ["", "d", "made"];

#[derive(Debug, Clone)]
enum Step {
    Open(usize, Open),
    Read { handle: usize, offset: u64, len: usize },
    Write { handle: usize, offset: u64, len: usize, fill: u8 },
    SetLen { handle: usize, len: u64 },
    Punch { handle: usize, offset: u64, len: u64 },
    Rename(usize, usize),
    Remove(usize),
    MakeDir,
    List(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..FILES.len();
    let how = prop_oneof![Just(Open::Read), Just(Open::Write), Just(Open::Create), Just(Open::CreateNew)];
    let offset = 0..20_000_u64;
    let handle = 0..8_usize;
    prop_oneof![
        4 => (file.clone(), how).prop_map(|(f, how)| Step::Open(f, how)),
        3 => (handle.clone(), offset.clone(), 1..12_000_usize)
            .prop_map(|(handle, offset, len)| Step::Read { handle, offset, len }),
        6 => (handle.clone(), offset.clone(), 1..12_000_usize, any::<u8>())
            .prop_map(|(handle, offset, len, fill)| Step::Write { handle, offset, len, fill }),
        2 => (handle.clone(), offset.clone()).prop_map(|(handle, len)| Step::SetLen { handle, len }),
        2 => (handle, offset, 1..12_000_u64).prop_map(|(handle, offset, len)| Step::Punch { handle, offset, len }),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file.prop_map(Step::Remove),
        1 => Just(Step::MakeDir),
        1 => (0..DIRS.len()).prop_map(Step::List),
    ]
}

/// What is there before.
fn fill(disk: &dyn Disk, root: &Path) {
    disk.create_dir_all(&root.join("d")).expect("makes");
    for (name, len) in [("a", 15_000), ("b", 4096), ("d/c", 1)] {
        let file = disk.open(&root.join(name), Open::Create).expect("creates");
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
        file.write_all_at(&bytes, 0).expect("writes");
    }
}

fn contents(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().expect("has a length") as usize];
    file.read_exact_at(&mut bytes, 0).expect("reads to the end");
    bytes
}

/// All that can be seen of the steps: what they read, whether they failed, what is there at the end.
fn run(disk: &dyn Disk, root: &Path, steps: &[Step]) -> Vec<Option<Vec<u8>>> {
    let path = |n: usize| root.join(FILES[n]);
    let names = |n: usize| {
        let list = disk.list(&root.join(DIRS[n])).ok()?;
        Some(list.iter().flat_map(|name| [name.as_os_str().as_encoded_bytes(), b"\n"].concat()).collect())
    };
    let mut handles: Vec<Arc<dyn DiskFile>> = Vec::new();
    let mut seen: Vec<Option<Vec<u8>>> = Vec::new();
    let done = |result: io::Result<()>| result.ok().map(|()| Vec::new());
    for step in steps {
        let at = |n: usize| (!handles.is_empty()).then(|| handles[n % handles.len()].clone());
        let told = match *step {
            Step::Open(file, how) => {
                let opened = disk.open(&path(file), how).ok();
                let told = opened.as_deref().map(contents);
                handles.extend(opened);
                told
            }
            Step::Read { handle, offset, len } => at(handle).and_then(|file| {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
            }),
            Step::Write { handle, offset, len, fill } => {
                at(handle).and_then(|file| done(file.write_all_at(&vec![fill; len], offset)))
            }
            Step::SetLen { handle, len } => at(handle).and_then(|file| done(file.set_len(len))),
            Step::Punch { handle, offset, len } => at(handle).and_then(|file| done(file.punch(offset, len))),
            Step::Rename(from, to) => done(disk.rename(&path(from), &path(to))),
            Step::Remove(file) => done(disk.remove(&path(file))),
            Step::MakeDir => done(disk.create_dir_all(&root.join("made"))),
            Step::List(dir) => names(dir),
        };
        seen.push(told);
    }
    seen.extend(handles.iter().map(|file| Some(contents(&**file))));
    for (n, name) in FILES.iter().enumerate() {
        let opened = disk.open(&path(n), Open::Read).ok();
        assert_eq!(disk.exists(&path(n)), opened.is_some(), "{name}");
        seen.push(opened.map(|file| contents(&*file)));
    }
    seen.extend((0..DIRS.len()).map(names));
    seen
}

proptest! {
    #[test]
    fn it_does_what_its_base_would_do_and_leaves_it_alone(steps in prop::collection::vec(step(), 1..40)) {
        let root = Path::new("/");
        let (model, base) = (SimDisk::new(), SimDisk::new());
        fill(&model, root);
        fill(&base, root);
        let (ops, files) = (base.ops(), base.files());
        let scratch = ScratchDisk::new(Arc::new(base.clone()));
        prop_assert_eq!(run(&scratch, root, &steps), run(&model, root, &steps));
        prop_assert_eq!(base.ops(), ops);
        prop_assert_eq!(base.files(), files);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_does_what_a_real_disk_does(steps in prop::collection::vec(step(), 1..40)) {
        let (model, base) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        fill(&RealDisk, model.path());
        fill(&RealDisk, base.path());
        let before = run(&RealDisk, base.path(), &[]);
        let scratch = ScratchDisk::new(Arc::new(RealDisk));
        prop_assert_eq!(run(&scratch, base.path(), &steps), run(&RealDisk, model.path(), &steps));
        prop_assert_eq!(run(&RealDisk, base.path(), &[]), before);
    }
}

fn filled() -> (SimDisk, ScratchDisk) {
    let base = SimDisk::new();
    fill(&base, Path::new("/"));
    (base.clone(), ScratchDisk::new(Arc::new(base)))
}

#[test]
fn a_sealed_disk_refuses_every_change_and_keeps_those_before() {
    let (_, disk) = filled();
    let file = disk.open(Path::new("/a"), Open::Write).expect("opens");
    file.write_all_at(b"before", 0).expect("writes");
    disk.seal();
    let before = contents(&*file);
    assert!(before.starts_with(b"before"));
    let refused = [
        file.write_all_at(b"after", 0).err(),
        file.set_len(0).err(),
        file.punch(0, 4096).err(),
        disk.remove(Path::new("/b")).err(),
        disk.rename(Path::new("/b"), Path::new("/a")).err(),
        disk.create_dir_all(Path::new("/made")).err(),
        disk.open(Path::new("/new"), Open::Create).err(),
    ];
    for e in refused {
        assert_eq!(e.map(|e| e.kind()), Some(io::ErrorKind::ReadOnlyFilesystem));
    }
    assert_eq!(contents(&*file), before);
    assert!(
        disk.exists(Path::new("/b")) && !disk.exists(Path::new("/new")) && !disk.exists(Path::new("/made"))
    );
    disk.create_dir_all(Path::new("/d")).expect("is there already");
    file.sync_data().expect("has nothing to do");
}

#[test]
fn memory_is_what_was_written_by_the_block() {
    let (_, disk) = filled();
    let file = disk.open(Path::new("/a"), Open::Write).expect("opens");
    assert_eq!(disk.memory(), 0);
    file.write_all_at(&[1; 10], 4090).expect("writes");
    assert_eq!(disk.memory(), 2 * 4096);
    file.set_len(1 << 40).expect("grows");
    assert_eq!(disk.memory(), 2 * 4096);
    file.punch(4096, 4096).expect("punches");
    file.set_len(0).expect("shrinks");
    assert_eq!(disk.memory(), 0);
}

#[test]
fn a_descriptor_is_lent_until_the_file_changes() {
    let dir = tempfile::tempdir().expect("tempdir");
    fill(&RealDisk, dir.path());
    let disk = ScratchDisk::new(Arc::new(RealDisk));
    let file = disk.open(&dir.path().join("a"), Open::Write).expect("opens");
    disk.rename(&dir.path().join("a"), &dir.path().join("new")).expect("renames");
    assert!(file.fd().is_some(), "the bytes are the base's, whatever the name");
    file.write_all_at(b"x", 0).expect("writes");
    assert!(file.fd().is_none());
}
