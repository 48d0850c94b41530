//! Bad input through the command line and the mount: each gives a clear error that names the thing
//! and the next step, with the exit code that is documented, and nothing is lost or half done.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lattice_tests::fixture::{Cmd, Finished, Kind, MountOptions, Mounted, Scratch, binary, mounts_at, needs};
use lattice_tests::random::Random;

const USAGE: i32 = 2;
const NOT_INITIALISED: i32 = 10;
const LOCKED: i32 = 11;
const NOT_FOUND: i32 = 20;
const PRECONDITION: i32 = 21;

/// A data directory without a daemon.
struct Home {
    scratch: Scratch,
}

impl Home {
    fn empty() -> Self {
        Self { scratch: Scratch::new().expect("a directory") }
    }

    /// Initialised, with a store `home` that holds `small` and `large`.
    fn filled() -> Self {
        let home = Self::empty();
        home.ok(&["init"]);
        home.ok(&["store", "create", "home"]);
        home.ok(&["put", "home:small", "kept"]);
        let large = home.scratch.join("large");
        fs::write(&large, large_body()).expect("a file");
        home.ok(&["put", "home:large", &format!("@{}", large.display())]);
        home
    }

    fn dir(&self) -> PathBuf {
        self.scratch.join("h")
    }

    fn run(&self, args: &[&str]) -> Finished {
        let program = binary("lattice").expect("the binary");
        let command = Cmd::new(program).args(args).env("LATTICE_HOME", self.dir()).deadline(60);
        command.run().expect("lattice ends")
    }

    fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code(), 0, "{args:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    }

    /// The command fails with this code, and says each of `words` on standard error.
    fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let done = self.run(args);
        let message = done.stderr.to_lowercase();
        assert_eq!(done.code(), code, "{args:?}: {message}");
        assert_eq!(done.stdout, "", "{args:?} prints nothing but errors");
        assert!(!message.contains("panicked"), "{message}");
        for word in words {
            assert!(message.contains(&word.to_lowercase()), "{args:?} doesn't say {word:?}: {message}");
        }
    }

    fn intact(&self) {
        assert_eq!(self.ok(&["get", "home:small"]), "kept");
        let out = self.ok(&["get", "home:large"]);
        assert!(out.as_bytes() == large_body(), "the large value");
    }

    /// Files below the data directory whose path contains `part`, largest first.
    fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.dir(), part, &mut found);
        found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).map_or(0, |m| m.len())));
        found
    }
}

fn collect(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, part, found);
        } else if path.to_string_lossy().contains(part) {
            found.push(path);
        }
    }
}

fn large_body() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..20_000 {
        text.push_str(&format!("line {n} of the large value\n"));
    }
    text.into_bytes()
}

fn lattice_is_chosen() -> bool {
    if Kind::chosen() != Kind::Lattice {
        eprintln!("skipped: it is about Lattice");
    }
    Kind::chosen() == Kind::Lattice
}

#[test]
fn no_data_yet() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::empty();
    home.fails(&["store", "list"], NOT_INITIALISED, &["lattice init"]);
    home.fails(&["mount", "home", "/nonexistent"], NOT_INITIALISED, &["lattice init"]);
    assert!(!home.dir().join("stores").exists(), "nothing was made");
}

#[test]
fn keys_values_and_stores_that_cannot_be() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::filled();
    for key in ["home:a//b", "home:../x", "home:a/./b", "home:.lattice/x", "home:a/"] {
        let done = home.run(&["put", key, "x"]);
        assert_eq!(done.code(), USAGE, "{key}: {}", done.stderr);
        assert!(done.stderr.contains("key"), "{key}: {}", done.stderr);
    }
    let long = format!("home:{}", "n".repeat(256));
    let done = home.run(&["put", &long, "x"]);
    assert!(done.code() == USAGE && done.stderr.contains("255"), "{}", done.stderr);
    home.fails(&["get", "home:nothing"], NOT_FOUND, &["nothing"]);
    home.fails(&["get", "nowhere:x"], NOT_FOUND, &["nowhere", "lattice store list"]);
    home.fails(&["ls", "nowhere:"], NOT_FOUND, &["nowhere"]);
    home.fails(&["put", "--if-absent", "home:small", "x"], PRECONDITION, &["small"]);
    home.fails(&["store", "create"], USAGE, &["usage"]);
    let twice = home.run(&["store", "create", "home"]);
    assert!(twice.code() != 0 && twice.stderr.contains("home"), "{}", twice.stderr);
    let again = home.run(&["init"]);
    assert!(again.code() != 0 && again.stderr.contains("already"), "{}", again.stderr);
    home.intact();
}

#[test]
fn mount_points_that_cannot_be() {
    if !lattice_is_chosen() || !needs(&[]) {
        return;
    }
    let home = Home::filled();
    let missing = home.scratch.join("missing");
    let full = home.scratch.join("full");
    let file = home.scratch.join("file");
    fs::create_dir(&full).expect("a directory");
    fs::write(full.join("something"), "x").expect("a file");
    fs::write(&file, "x").expect("a file");
    for (dir, word) in [(&missing, "missing"), (&full, "empty"), (&file, "director")] {
        let done = home.run(&["mount", "home", dir.to_str().expect("UTF-8")]);
        assert_eq!(done.code(), 1, "{}", done.stderr);
        let name = dir.file_name().and_then(|n| n.to_str()).expect("a name");
        assert!(done.stderr.contains(name) && done.stderr.contains(word), "{}", done.stderr);
        assert_eq!(mounts_at(dir).expect("mounts"), 0);
    }
    home.fails(&["mount", "nowhere", full.to_str().expect("UTF-8")], NOT_FOUND, &["nowhere"]);
    home.intact();
}

#[test]
fn a_second_daemon_on_the_same_data() {
    if !lattice_is_chosen() || !needs(&[]) {
        return;
    }
    let mounted = Mounted::with(Kind::Lattice, MountOptions::default()).expect("a mount");
    // The data directory is held by its lock; a daemon that can't be reached is no reason to share it.
    let sockets = Cmd::new("find").arg(mounted.home()).args(["-type", "s"]).ok().expect("find");
    for socket in sockets.lines() {
        fs::remove_file(socket).expect("rm of the socket");
    }
    let second = mounted.beside("second");
    fs::create_dir(&second).expect("a directory");
    let done =
        mounted.lattice(["mount", "-f", "home", second.to_str().expect("UTF-8")]).run().expect("it ends");
    assert_eq!(done.code(), LOCKED, "{}", done.stderr);
    assert!(done.took < Duration::from_secs(10), "it doesn't wait for who keeps it: {:?}", done.took);
    let done = mounted.lattice(["--json", "ls", "home"]).run().expect("it ends");
    let said: serde_json::Value = serde_json::from_str(&done.stderr).expect("one document");
    assert_eq!((done.code(), said["code"].as_str()), (LOCKED, Some("locked")), "{said}");
    let dir = second.to_str().expect("UTF-8");
    let done = mounted.lattice(["--json", "mount", "home", dir]).run().expect("it ends");
    let said: serde_json::Value = serde_json::from_str(&done.stderr).expect("one document");
    assert_eq!((done.code(), said["code"].as_str()), (LOCKED, Some("locked")), "{said}");
    let done = mounted.lattice(["mount", "-f", "home", dir]).run().expect("it ends");
    let pid = mounted.pid().expect("a daemon").to_string();
    assert!(done.stderr.contains(&pid), "says which process holds it: {}", done.stderr);
    fs::write(mounted.join("f"), "fine").expect("the first one works on");
}

#[test]
fn a_redb_file_from_the_future_is_made_anew() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::filled();
    for state in home.files("state.redb") {
        // redb's header: a magic number of 9 bytes, a byte of flags, then a version byte per slot.
        let file = OpenOptions::new().write(true).open(&state).expect("the state");
        file.write_all_at(&[250], 64).expect("a version of the future");
        file.write_all_at(&[250], 192).expect("a version of the future");
    }
    // The state is a cache of the log: either it is rebuilt by itself, or the error says how.
    let done = home.run(&["get", "home:small"]);
    if done.code() == 0 {
        assert_eq!(done.stdout, "kept");
    } else {
        assert!(done.stderr.contains("fsck --rebuild"), "{}", done.stderr);
        home.ok(&["fsck", "--rebuild"]);
    }
    home.intact();
}

#[test]
fn a_missing_state_is_made_from_the_log() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::filled();
    for state in home.files("state.redb") {
        fs::remove_file(state).expect("rm of the state");
    }
    home.intact();
    assert_eq!(home.run(&["fsck"]).code(), 0);
}

#[test]
fn a_damaged_or_missing_chunk_is_named_by_get_and_in_the_log_of_the_mount() {
    if !lattice_is_chosen() || !needs(&[]) {
        return;
    }
    let home = Home::filled();
    let big = home.scratch.join("big");
    fs::write(&big, Random::new(3).bytes(6 << 20)).expect("a file");
    home.ok(&["put", "home:dir/big", &format!("@{}", big.display())]);
    let pack = home.files("packs").remove(0);
    let file = OpenOptions::new().read(true).write(true).open(&pack).expect("open");
    let (at, mut byte) = (fs::metadata(&pack).expect("stat").len() * 3 / 4, [0]);
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[!byte[0]], at).expect("damage");

    let named = ["dir/big", "chunk", "is damaged", "store the same content again"];
    let named_by = |done: &Finished| {
        let what = done.stderr.clone();
        assert_eq!(done.code(), 1, "{what}");
        assert!(named.iter().all(|word| what.contains(word)), "{what}");
    };
    let out = home.scratch.join("out");
    let to_file = ["get", "home:dir/big", "-o", out.to_str().expect("UTF-8")];
    named_by(&home.run(&to_file));
    assert!(!out.exists(), "no half of a value");
    {
        let options = MountOptions { home: Some(home.dir()), ..MountOptions::default() };
        let mut mounted = Mounted::with(Kind::Lattice, options).expect("mounts");
        named_by(&home.run(&to_file));
        let e = fs::read(mounted.join("dir/big")).expect_err("it is damaged");
        assert_eq!(e.raw_os_error(), Some(libc::EIO), "{e}");
        let log = mounted.printed();
        let line =
            log.lines().find(|line| line.contains("input/output error")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("WARN"), "{line}");
        for word in ["dir/big", "read", "is damaged"] {
            assert!(line.contains(word), "{line} doesn't say {word:?}");
        }
        mounted.stop().expect("stops");
    }
    assert_eq!(home.ok(&["get", "home:small"]), "kept");

    fs::remove_file(&pack).expect("remove");
    home.fails(&["get", "home:dir/big"], 1, &["dir/big", "chunk", "is not here", "restore it"]);
}

#[test]
fn a_truncated_pack_is_reported_and_never_read_as_content() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::filled();
    let packs = home.files("packs");
    let pack = packs.first().expect("the large value is in a pack");
    let len = fs::metadata(pack).expect("stat").len();
    OpenOptions::new().write(true).open(pack).and_then(|f| f.set_len(len / 2)).expect("truncate");
    let done = home.run(&["get", "home:large"]);
    assert_ne!(done.code(), 0, "half a value is no value");
    let named = |words: [&str; 2]| words.iter().all(|word| done.stderr.contains(word));
    assert!(named(["truncated", "pack"]) || named(["chunk", "is not here"]), "{}", done.stderr);
    assert!(large_body().starts_with(done.stdout.as_bytes()), "no wrong byte came out");
    assert_eq!(home.ok(&["get", "home:small"]), "kept");
    let check = home.run(&["fsck"]);
    assert_ne!(check.code(), 0, "{}", check.stdout);
    home.ok(&["put", "home:after", "still writable"]);
}

#[test]
fn a_flipped_bit_in_the_middle_of_the_log() {
    if !lattice_is_chosen() {
        return;
    }
    let home = Home::filled();
    for n in 0..20 {
        home.ok(&["put", &format!("home:k{n}"), &format!("value {n}")]);
    }
    // The log that holds the values, not the root store's.
    let log = home
        .files("/log/")
        .into_iter()
        .find(|path| fs::read(path).is_ok_and(|bytes| find(&bytes, b"value 10").is_some()))
        .expect("a log with the values");
    let bytes = fs::read(&log).expect("the log");
    let at = find(&bytes, b"value 10").expect("the value") as u64;
    let file = OpenOptions::new().write(true).open(&log).expect("the log");
    file.write_all_at(b"V", at).expect("a flipped bit");
    let check = home.run(&["fsck"]);
    assert_ne!(check.code(), 0, "fsck finds it: {}", check.stdout);
    // And the way out is named, down to the commands.
    let (said, help) = (check.stdout + &check.stderr, home.ok(&["help", "fsck"]));
    assert!(said.contains("from a backup") && said.contains("lattice help fsck"), "{said}");
    assert!(help.contains("join TICKET") && help.contains("peer revoke"), "{help}");
    let done = home.run(&["get", "home:k10"]);
    assert_ne!(done.stdout, "Value 10", "a damaged value is never shown");
    let before = fs::read(&log).expect("the log");
    home.run(&["get", "home:k19"]);
    assert!(fs::read(&log).expect("the log").len() >= before.len(), "what follows the damage isn't cut off");
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[test]
fn bundles_that_were_tampered_with() {
    if !lattice_is_chosen() {
        return;
    }
    let (home, other) = (Home::filled(), Home::empty());
    other.ok(&["init"]);
    let path = home.scratch.join("bundle");
    let file = path.to_str().expect("UTF-8");
    home.ok(&["store", "export", "home", file]);
    let good = fs::read(&path).expect("the bundle");
    // A bit at many places: whatever it hits, nothing of it may come in as true.
    for step in 0..24 {
        let at = good.len() * step / 24 + 7;
        let mut bad = good.clone();
        bad[at.min(good.len() - 1)] ^= 0x10;
        fs::write(&path, &bad).expect("a tampered bundle");
        let done = other.run(&["store", "import", file]);
        assert_ne!(done.code(), 0, "a flipped bit at {at} of {}: {}", good.len(), done.stdout);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    }
    fs::write(&path, &good[..good.len() / 2]).expect("half a bundle");
    assert_ne!(other.run(&["store", "import", file]).code(), 0, "half a bundle");
    fs::write(&path, "not a bundle").expect("no bundle");
    other.fails(&["store", "import", file], 1, &["bundle"]);
    fs::write(&path, &good).expect("the good bundle");
    other.ok(&["store", "import", file]);
    assert_eq!(other.ok(&["get", "home:small"]), "kept");
    home.intact();
}
