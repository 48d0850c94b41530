//! FILESYSTEM's table of races: what two machines did at once, and what both show when they have met.

use std::collections::BTreeSet;

use lattice_engine::id::EntryId;
use lattice_fs::view::effective::differing;

use crate::two::{Peer, Two, key};

type Act = fn(&Peer) -> EntryId;

/// One row. Conflict versions are given without number: which of two writes wins is the clocks' affair, that both
/// machines agree is checked.
struct Race {
    what: &'static str,
    before: Act,
    a: Act,
    b: Act,
    /// The tree, or the trees that may be, afterwards.
    after: &'static [&'static [&'static str]],
    /// `key=text` of every conflicting version, and `key/base=text`.
    conflicts: &'static [&'static str],
    /// The key in conflict and the number of versions that differ.
    differing: Option<(&'static str, u64)>,
}

const NONE: Act = |_| EntryId::ZERO;
const OLD_F: Act = |p| p.write("f", "old");

const RACES: &[Race] = &[
    Race {
        what: "write f, write f",
        before: OLD_F,
        a: |p| p.write("f", "a"),
        b: |p| p.write("f", "b"),
        after: &[&["f=a"], &["f=b"]],
        conflicts: &["f=a", "f=b", "f/base=old"],
        differing: Some(("f", 2)),
    },
    Race {
        what: "create f, create f",
        before: NONE,
        a: |p| p.write("f", "a"),
        b: |p| p.write("f", "b"),
        after: &[&["f=a"], &["f=b"]],
        conflicts: &["f=a", "f=b"],
        differing: Some(("f", 2)),
    },
    Race {
        what: "write f, write the same to f",
        before: OLD_F,
        a: |p| p.write("f", "new"),
        b: |p| p.write("f", "new"),
        after: &[&["f=new"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "delete f, write f",
        before: OLD_F,
        a: |p| p.rm("f"),
        b: |p| p.write("f", "b"),
        after: &[&["f=b"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "delete f, delete f",
        before: OLD_F,
        a: |p| p.rm("f"),
        b: |p| p.rm("f"),
        after: &[&[]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "rename f to g, write f",
        before: OLD_F,
        a: |p| p.mv("f", "g"),
        b: |p| p.write("f", "edit"),
        after: &[&["f=edit", "g=old"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "rename f to g, rename f to h",
        before: OLD_F,
        a: |p| p.mv("f", "g"),
        b: |p| p.mv("f", "h"),
        after: &[&["g=old", "h=old"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "rename d to e, create d/x",
        before: |p| {
            p.mkdir("d");
            p.write("d/old", "old")
        },
        a: |p| p.mv("d", "e"),
        b: |p| p.write("d/x", "new"),
        after: &[&["d/", "d/x=new", "e/", "e/old=old"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "rmdir d, create d/x",
        before: |p| p.mkdir("d"),
        a: |p| p.rm("d"),
        b: |p| p.write("d/x", "new"),
        after: &[&["d/", "d/x=new"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "file a, file a/b",
        before: NONE,
        a: |p| p.write("a", "file"),
        b: |p| p.write("a/b", "below"),
        after: &[&["a/", "a/b=below"]],
        conflicts: &["a=file"],
        differing: Some(("a", 2)),
    },
    Race {
        what: "edit a, replace a by a directory",
        before: |p| p.write("a", "old"),
        a: |p| p.write("a", "edit"),
        b: |p| {
            p.rm("a");
            p.write("a/b", "below")
        },
        after: &[&["a/", "a/b=below"]],
        conflicts: &["a=edit", "a/base=old"],
        differing: Some(("a", 2)),
    },
    Race {
        what: "mkdir d, mkdir d",
        before: NONE,
        a: |p| p.mkdir("d"),
        b: |p| p.mkdir("d"),
        after: &[&["d/"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "mkdir d, file d",
        before: NONE,
        a: |p| p.mkdir("d"),
        b: |p| p.write("d", "file"),
        after: &[&["d/"], &["d=file"]],
        conflicts: &["d=a directory\n", "d=file"],
        differing: Some(("d", 2)),
    },
    Race {
        what: "chmod f, write f",
        before: OLD_F,
        a: |p| p.chmod("f", 0o600),
        b: |p| p.write("f", "b"),
        after: &[&["f=b 600"]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "chmod f, delete f",
        before: OLD_F,
        a: |p| p.chmod("f", 0o600),
        b: |p| p.rm("f"),
        after: &[&[]],
        conflicts: &[],
        differing: None,
    },
    Race {
        what: "README, readme",
        before: NONE,
        a: |p| p.write("README", "a"),
        b: |p| p.write("readme", "b"),
        after: &[&["README=a", "readme=b"]],
        conflicts: &[],
        differing: None,
    },
];

/// Version numbers off, `base` kept.
fn without_numbers(lines: &BTreeSet<String>) -> BTreeSet<String> {
    let plain = |line: &String| {
        let (name, text) = line.split_once('=').expect("name=text");
        let (dir, version) = name.rsplit_once('/').expect("a key before the version");
        match version {
            "base" => format!("{dir}/base={text}"),
            number => {
                number.parse::<u32>().expect("a number");
                format!("{dir}={text}")
            }
        }
    };
    lines.iter().map(plain).collect()
}

fn check(race: &Race, two: &Two) {
    let what = race.what;
    let tree = two.a.tree();
    assert!(race.after.iter().any(|t| *t == tree), "{what}: {tree:?}");
    assert_eq!(two.b.tree(), tree, "{what}: both show the same");
    let files = two.a.conflict_files();
    assert_eq!(two.b.conflict_files(), files, "{what}: both show the same conflicts");
    let expected: BTreeSet<String> = race.conflicts.iter().map(|s| s.to_string()).collect();
    assert_eq!(without_numbers(&files), expected, "{what}");
    for peer in [&two.a, &two.b] {
        let handle = peer.handle();
        let found = handle.conflicts(&lattice_engine::key::Key::ROOT).expect("conflicts");
        let found: Vec<_> = found.iter().map(|(k, r)| (k.clone(), differing(r))).collect();
        let expected: Vec<_> = race.differing.iter().map(|(k, n)| (key(k), *n)).collect();
        assert_eq!(found, expected, "{what}");
        assert_eq!(handle.status().expect("status").conflicts, expected.len() as u64, "{what}");
        let report = handle.fsck(true, &mut |_| {}).expect("fsck");
        assert_eq!((report.problems.as_slice(), report.rebuilt_equal), (&[][..], Some(true)), "{what}");
    }
}

#[test]
fn both_machines_show_the_same_and_lose_nothing() {
    for race in RACES {
        for swapped in [false, true] {
            let two = Two::new();
            let (first, second) = if swapped { (&two.b, &two.a) } else { (&two.a, &two.b) };
            (race.before)(first);
            two.meet();
            (race.a)(first);
            (race.b)(second);
            two.meet();
            check(race, &two);
            // Meeting again brings nothing new.
            two.meet();
            check(race, &two);
        }
    }
}

#[test]
fn twins_are_kept_and_flagged() {
    let two = Two::new();
    two.a.write("d/caf\u{e9}", "composed");
    two.b.write("d/cafe\u{301}", "decomposed");
    two.meet();
    for peer in [&two.a, &two.b] {
        assert_eq!(peer.read("d/caf\u{e9}"), "composed");
        assert_eq!(peer.read("d/cafe\u{301}"), "decomposed");
        let status = crate::two::cat(&peer.control(), &crate::two::path("status"));
        assert!(status.contains("twins        /d: "), "{status}");
    }
}

#[test]
fn equal_bytes_are_no_conflict_where_each_machine_left_them_in_its_log() {
    let two = Two::new();
    let line = "0123456789abcdef".repeat(64);
    two.b.write("first", "so that the logs differ");
    two.a.write("f", &line);
    two.b.write("f", &line);
    two.meet();
    for peer in [&two.a, &two.b] {
        assert_eq!(peer.read("f"), line);
        assert_eq!(peer.conflict_files(), BTreeSet::new());
    }
}

#[test]
fn a_file_above_refuses_what_would_make_it_a_directory_at_any_depth() {
    use lattice_engine::store::StoreError;
    let two = Two::new();
    two.a.write("a", "file");
    for below in ["a/b", "a/b/c"] {
        let result = two.a.try_put(below, lattice_engine::entry::Value::Dir);
        let refused = matches!(&result, Err(e) if matches!(e.cause(), StoreError::NotADirectory(_)));
        assert!(refused, "{below}: {result:?}");
    }
    assert_eq!(two.a.tree(), ["a=file"]);
}
