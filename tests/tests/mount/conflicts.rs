//! Two authors without a network: what they wrote travels as a bundle, and the conflict shows in
//! the mount, can be read there, and is resolved there.

use std::fs;
use std::io::Read;
use std::path::Path;

use lattice_tests::fixture::{Cmd, Mounted, Scratch, binary};

/// Another node: a `lattice` of its own, without a mount.
struct Peer {
    home: Scratch,
}

impl Peer {
    fn new() -> Self {
        let peer = Self { home: Scratch::new().expect("a directory") };
        peer.run(&["init"]);
        peer
    }

    fn run(&self, args: &[&str]) -> String {
        let program = binary("lattice").expect("the binary");
        let command = Cmd::new(program).args(args).env("LATTICE_HOME", self.home.path().join("h"));
        command.ok().expect("a command of the peer")
    }
}

fn xattr(path: &Path, name: &str) -> String {
    let mut value = vec![0; 8192];
    let name = format!("user.lattice.{name}");
    let n = rustix::fs::getxattr(path, name.as_str(), &mut value[..])
        .unwrap_or_else(|e| panic!("{name} of {}: {e}", path.display()));
    String::from_utf8(value[..n].to_vec()).expect("text").trim_end().to_owned()
}

/// `notes.md` as both wrote it, seen from the first one's mount.
fn conflict() -> Option<(Mounted, Peer)> {
    let mounted = super::lattice(&[])?;
    let peer = Peer::new();
    let bundle = mounted.beside("bundle");
    let file = bundle.to_str().expect("UTF-8");
    fs::write(mounted.join("notes.md"), "base\n").expect("a file");
    mounted.lattice(["store", "export", "home", file]).ok().expect("export");
    peer.run(&["store", "import", file]);
    fs::write(mounted.join("notes.md"), "ours\n").expect("our version");
    peer.run(&["put", "home:notes.md", "theirs\n"]);
    peer.run(&["put", "home:new.md", "new\n"]);
    fs::remove_file(&bundle).expect("rm");
    peer.run(&["store", "export", "home", file]);
    mounted.lattice(["store", "import", file]).ok().expect("import");
    Some((mounted, peer))
}

#[test]
fn a_conflict_shows_and_is_resolved_in_the_mount() {
    let Some((mut mounted, _peer)) = conflict() else {
        return;
    };
    let notes = mounted.join("notes.md");
    assert_eq!(fs::read(mounted.join("new.md")).expect("what came"), b"new\n");
    assert_eq!(xattr(&notes, "conflict"), "2");
    assert_eq!(xattr(&mounted.join("new.md"), "conflict"), "0");
    assert_eq!(xattr(mounted.dir(), "conflict"), "1", "one below the directory");
    assert_eq!(xattr(&notes, "heads").lines().count(), 2);

    let dir = mounted.join(".lattice/conflicts/notes.md");
    let mut versions: Vec<_> = fs::read_dir(&dir)
        .expect("the versions")
        .map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    versions.sort();
    assert_eq!(versions.len(), 3, "{versions:?}");
    assert!(versions[0].starts_with("1-") && versions[0].ends_with(".md"), "{versions:?}");
    assert!(versions[2].starts_with("base"), "{versions:?}");
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("a version");
    let (winner, loser) = (read(&versions[0]), read(&versions[1]));
    assert_eq!(fs::read_to_string(&notes).expect("the file"), winner);
    assert_eq!(read(&versions[2]), "base\n");
    let mut both = [winner.as_str(), loser.as_str()];
    both.sort_unstable();
    assert_eq!(both, ["ours\n", "theirs\n"]);
    for name in &versions {
        let size = fs::metadata(dir.join(name)).expect("stat").len();
        assert_eq!(size, read(name).len() as u64, "{name} has its true size");
    }

    let code = mounted.lattice(["conflicts", "home", "--exit-code"]).run().expect("conflicts").code();
    assert_eq!(code, 22);
    // The loser is picked by the start of its entry id.
    let heads = xattr(&notes, "heads");
    let id8 = versions[1].rsplit('-').next().and_then(|n| n.split('.').next()).expect("an id");
    assert!(heads.contains(id8), "{id8} is in\n{heads}");
    rustix::fs::setxattr(&notes, "user.lattice.resolve", id8.as_bytes(), rustix::fs::XattrFlags::empty())
        .expect("resolve");
    assert_eq!(fs::read_to_string(&notes).expect("the file"), loser);
    assert_eq!(xattr(&notes, "conflict"), "0");
    assert!(!dir.exists(), "no conflict is listed any more");
    mounted.remount().expect("a new mount");
    assert_eq!(fs::read_to_string(&notes).expect("the file"), loser);
    assert_eq!(xattr(&notes, "conflict"), "0");
    let code = mounted.lattice(["conflicts", "home", "--exit-code"]).run().expect("conflicts").code();
    assert_eq!(code, 0);
}

#[test]
fn removing_a_version_discards_it() {
    let Some((mounted, _peer)) = conflict() else {
        return;
    };
    let dir = mounted.join(".lattice/conflicts/notes.md");
    let second = fs::read_dir(&dir)
        .expect("the versions")
        .map(|e| e.expect("an entry").path())
        .find(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"2-")))
        .expect("a second version");
    let winner = fs::read(mounted.join("notes.md")).expect("the file");
    fs::remove_file(second).expect("rm of a version");
    assert_eq!(xattr(&mounted.join("notes.md"), "conflict"), "0");
    assert_eq!(fs::read(mounted.join("notes.md")).expect("the file"), winner);
}

#[test]
fn a_delete_beside_an_edit_keeps_the_edit() {
    let Some(mounted) = super::lattice(&[]) else {
        return;
    };
    let peer = Peer::new();
    let bundle = mounted.beside("bundle");
    let file = bundle.to_str().expect("UTF-8");
    fs::create_dir(mounted.join("d")).expect("a directory");
    fs::write(mounted.join("d/f"), "base\n").expect("a file");
    mounted.lattice(["store", "export", "home", file]).ok().expect("export");
    peer.run(&["store", "import", file]);
    fs::remove_dir_all(mounted.join("d")).expect("rm -r");
    peer.run(&["put", "home:d/f", "edited\n"]);
    fs::remove_file(&bundle).expect("rm");
    peer.run(&["store", "export", "home", file]);
    mounted.lattice(["store", "import", file]).ok().expect("import");
    assert_eq!(fs::read(mounted.join("d/f")).expect("the edit"), b"edited\n");
}

#[test]
fn the_control_directory_is_found_but_never_listed() {
    let Some(mounted) = super::lattice(&["find"]) else {
        return;
    };
    fs::write(mounted.join("f"), "one\n").expect("a file");
    fs::write(mounted.join("f"), "two\n").expect("again");
    let found = Cmd::bash(mounted.dir(), "find . -mindepth 1").ok().expect("find");
    assert_eq!(found, "./f\n");
    for name in ["README", "status", "status.json", "conflicts.tsv"] {
        let path = mounted.join(".lattice").join(name);
        // Of one open file: the next look-up may find that the store has gone on.
        let mut file = fs::File::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let size = file.metadata().expect("stat").len();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(size, text.len() as u64, "{name} has its true size");
    }
    let history = mounted.join(".lattice/history/f");
    let versions: Vec<_> = fs::read_dir(&history)
        .expect("the history")
        .map(|e| e.expect("an entry").path())
        .filter(|path| !path.ends_with("latest"))
        .collect();
    let texts: Vec<_> = versions.iter().map(|path| fs::read_to_string(path).expect("a version")).collect();
    assert_eq!(texts.first().map(String::as_str), Some("two\n"), "the newest first: {versions:?}");
    assert!(texts.contains(&"one\n".to_owned()), "{versions:?} {texts:?}");
    assert_eq!(fs::read(history.join("latest")).expect("latest"), b"two\n");
    assert!(fs::write(mounted.join(".lattice/ctl"), "no such verb\n").is_err(), "a bad verb fails");
    assert!(fs::write(mounted.join(".lattice/new"), "x").is_err(), "nothing can be made there");
    assert!(fs::remove_dir(mounted.join(".lattice")).is_err());
}

#[test]
fn provenance_is_readable_and_unlisted() {
    let Some(mounted) = super::lattice(&["getfattr"]) else {
        return;
    };
    let path = mounted.join("f");
    fs::write(&path, "text\n").expect("a file");
    rustix::fs::setxattr(&path, "user.mine", b"1", rustix::fs::XattrFlags::empty()).expect("an xattr");
    assert_eq!(xattr(&path, "store").len(), 36, "a UUID");
    assert_eq!(xattr(&path, "key"), "f");
    assert_eq!(xattr(&path, "size"), "5");
    for name in ["entry", "author", "hlc", "heads", "hash", "synced"] {
        assert!(!xattr(&path, name).is_empty(), "{name}");
    }
    let listed = Cmd::new("getfattr").arg("--absolute-names").arg(&path).ok().expect("getfattr");
    assert!(listed.contains("user.mine") && !listed.contains("user.lattice"), "{listed}");
    let refused = rustix::fs::setxattr(&path, "user.lattice.author", b"me", rustix::fs::XattrFlags::empty());
    assert!(refused.is_err(), "provenance can't be written");
}
