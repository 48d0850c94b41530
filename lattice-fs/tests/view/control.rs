//! `.lattice`, walked as a mount walks it.

use std::collections::BTreeSet;

use lattice_engine::entry::{Attrs, Value};
use lattice_fs::view::control::{ControlError, VKind};
use lattice_fs::view::resolve::ResolveError;

use crate::two::{Peer, Two, cat, key, path, visit};

fn names(peer: &Peer, dir: &str) -> Vec<String> {
    let listing = peer.control().list(&path(dir)).expect(dir);
    listing.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The listed name that starts so.
fn name(peer: &Peer, dir: &str, start: &str) -> String {
    let names = names(peer, dir);
    let found = names.iter().find(|n| n.starts_with(start));
    format!("{dir}/{}", found.unwrap_or_else(|| panic!("no {start}* in {names:?}")))
}

/// Both wrote `f`, which was "old".
fn conflict(f: &str) -> Two {
    let two = Two::new();
    two.a.write(f, "old");
    two.meet();
    two.a.write(f, "a");
    two.b.write(f, "b");
    two.meet();
    two
}

fn is_not_found<T: std::fmt::Debug>(result: Result<T, ControlError>) -> bool {
    matches!(result, Err(ControlError::NotFound))
}

#[test]
fn the_directory_holds_what_it_says_with_true_sizes() {
    let two = conflict("d/notes.md");
    let control = two.a.control();
    let root: Vec<_> = control.list(&[]).expect("list").into_iter().map(|(n, _)| n).collect();
    assert_eq!(
        root,
        ["README", "status", "status.json", "conflicts.tsv", "peers.tsv", "conflicts", "history", "ctl"]
    );
    let mut inos = BTreeSet::new();
    let mut files = 0;
    visit(&control, vec![], &mut |p, kind| {
        assert!(inos.insert(control.lookup(p).expect("lookup").ino), "{p:?}: an inode number of its own");
        files += usize::from(kind == VKind::File);
    });
    // README, status, status.json, conflicts.tsv, peers.tsv, ctl; three under conflicts; old, a, b and latest under history.
    assert_eq!(files, 13);
    let again = two.a.control();
    assert!(inos.iter().all(|i| *i > 1));
    visit(&again, vec![], &mut |p, _| assert!(inos.contains(&again.lookup(p).expect("lookup").ino)));
}

#[test]
fn the_texts_say_what_is_there() {
    let two = conflict("a\tb");
    let control = two.a.control();
    let json: serde_json::Value =
        serde_json::from_str(&cat(&control, &path("status.json"))).expect("status.json is JSON");
    assert_eq!((&json["conflicts"], &json["authors"]), (&1.into(), &2.into()));
    assert_eq!(json["store"], two.a.handle().id().to_string());
    let tsv = cat(&control, &path("conflicts.tsv"));
    let rows: Vec<Vec<&str>> = tsv.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3, "{tsv}");
    assert!(rows.iter().all(|r| r.len() == rows[0].len()), "a tab in a key is escaped: {tsv}");
    assert_eq!((rows[1][0], rows[1][1], rows[1][7]), ("a\\tb", "2", "winner"));
    assert_eq!((rows[2][5], rows[2][6], rows[2][7]), ("file", "1", "-"));
    assert!(cat(&control, &path("status")).contains("\nconflicts    1\n"));
}

#[test]
fn a_text_that_grows_between_look_up_and_open_is_not_cut() {
    let two = conflict("f");
    let control = two.a.control();
    let size = control.lookup(&path("conflicts.tsv")).expect("lookup").size;
    two.a.write("g", "a");
    two.b.write("g", "b");
    two.meet();
    assert_eq!(control.open(&path("conflicts.tsv")).expect("open").size(), size);
    assert!(control.lookup(&path("conflicts.tsv")).expect("lookup").size > size);
}

#[test]
fn a_key_and_what_is_below_it_can_both_be_in_conflict() {
    let two = Two::new();
    two.a.write("a", "file");
    two.b.write("a/b.txt", "b");
    two.meet();
    two.a.write("a/b.txt", "b of a");
    two.b.write("a/b.txt", "b of b");
    two.meet();
    let dirs: Vec<String> = names(&two.a, "conflicts/a");
    // Nothing is 1-: the directory won, and it has no version.
    assert_eq!(dirs.len(), 2, "{dirs:?}");
    assert!(dirs[0].starts_with("2-") && dirs[1] == "b.txt", "{dirs:?}");
    let files = two.a.conflict_files();
    for line in ["a/2=file", "a/b.txt/base=b"] {
        assert!(files.contains(line), "{line} in {files:?}");
    }
    assert_eq!(files.len(), 4);
}

#[test]
fn a_directory_keeps_its_name_and_a_version_gives_way() {
    let two = Two::new();
    two.a.write("a", "old");
    two.meet();
    two.a.write("a", "edit");
    two.b.rm("a");
    two.b.write("a/base", "1");
    two.b.write("a/latest", "1");
    two.meet();
    two.a.write("a/base", "2");
    two.b.write("a/base", "3");
    two.meet();
    let control = two.a.control();
    let kind = |p: &str| control.lookup(&path(p)).expect(p).kind;
    assert_eq!((kind("conflicts/a/base"), kind("conflicts/a/~base")), (VKind::Dir, VKind::File));
    assert_eq!(cat(&control, &path("conflicts/a/~base")), "old");
    assert_eq!(cat(&control, &path("conflicts/a/base/base")), "1");
    assert_eq!((kind("history/a/latest"), kind("history/a/~latest")), (VKind::Dir, VKind::File));
    assert_eq!(cat(&control, &path("history/a/~latest")), "edit");
    visit(&control, vec![], &mut |_, _| {});
}

#[test]
fn removing_a_version_drops_it_whichever_it_is() {
    for (start, winner_stays) in [("1-", false), ("2-", true)] {
        let two = conflict("notes.md");
        let shown = two.a.read("notes.md");
        let other = if shown == "a" { "b" } else { "a" };
        let version = name(&two.a, "conflicts/notes.md", start);
        assert!(version.ends_with(".md"), "{version}");
        two.a.control().remove(&path(&version)).expect("rm");
        assert!(is_not_found(two.a.control().lookup(&path("conflicts/notes.md"))), "the conflict is gone");
        assert!(is_not_found(two.a.control().remove(&path(&version))), "and so is the file");
        two.meet();
        for peer in [&two.a, &two.b] {
            assert_eq!(peer.read("notes.md"), if winner_stays { &*shown } else { other });
            assert!(peer.conflict_files().is_empty());
        }
    }
}

#[test]
fn dropping_one_of_three_leaves_two() {
    let two = conflict("f");
    two.b.write("f", "b2");
    let loser = name(&two.a, "conflicts/f", "2-");
    two.a.control().remove(&path(&loser)).expect("rm");
    two.meet();
    // Whichever b was on, its new version was concurrent with what a kept.
    assert!(!two.a.conflict_files().is_empty());
    assert_eq!(two.a.conflict_files(), two.b.conflict_files());
}

#[test]
fn dropping_both_versions_at_once_on_two_machines_deletes_nothing() {
    let two = conflict("f");
    let (one, other) = (name(&two.a, "conflicts/f", "1-"), name(&two.b, "conflicts/f", "2-"));
    two.a.control().remove(&path(&one)).expect("rm");
    two.b.control().remove(&path(&other)).expect("rm");
    two.meet();
    let texts: BTreeSet<String> = two.a.conflict_files();
    let texts: BTreeSet<&str> =
        texts.iter().filter(|l| !l.contains("/base=")).filter_map(|l| l.split('=').nth(1)).collect();
    assert_eq!(texts, BTreeSet::from(["a", "b"]), "a conflict again");
}

#[test]
fn a_file_that_lost_to_a_directory_can_be_dropped() {
    let two = Two::new();
    two.a.write("a", "file");
    two.b.write("a/b", "below");
    two.meet();
    let version = name(&two.a, "conflicts/a", "2-");
    two.a.control().remove(&path(&version)).expect("rm");
    two.meet();
    for peer in [&two.a, &two.b] {
        assert_eq!(peer.tree(), ["a/", "a/b=below"]);
        assert!(peer.conflict_files().is_empty());
    }
}

#[test]
fn nothing_else_can_be_removed() {
    let two = conflict("d/f");
    let control = two.a.control();
    for p in [
        "README",
        "ctl",
        "conflicts",
        "conflicts/d",
        "conflicts/d/f",
        "history/d/f/latest",
        "conflicts/d/f/base",
    ] {
        let result = control.remove(&path(p));
        assert!(
            matches!(result, Err(ControlError::NotPermitted | ControlError::IsADirectory)),
            "{p}: {result:?}"
        );
    }
    assert!(is_not_found(control.remove(&path("nothing"))));
}

#[test]
fn paths_that_lead_nowhere() {
    let two = conflict("d/f");
    let (control, loser) = (two.a.control(), name(&two.a, "conflicts/d/f", "2-"));
    for p in
        ["x", "conflicts/x", "conflicts/d/x", "conflicts/d/f/x", "history/x", "history/d/x", "history/d/f/x"]
    {
        assert!(is_not_found(control.lookup(&path(p))), "{p}");
        assert!(is_not_found(control.open(&path(p))), "{p}");
        assert!(is_not_found(control.list(&path(p))), "{p}");
    }
    for p in ["README", "ctl", &*loser, "history/d/f/latest"] {
        let through = format!("{p}/x");
        assert!(matches!(control.lookup(&path(&through)), Err(ControlError::NotADirectory)), "{through}");
        assert!(matches!(control.list(&path(p)), Err(ControlError::NotADirectory)), "{p}");
    }
    for p in ["conflicts", "conflicts/d/f", "history", "history/d"] {
        assert!(matches!(control.open(&path(p)), Err(ControlError::IsADirectory)), "{p}");
    }
    // Names that no key can have.
    let odd = vec!["conflicts".into(), "..".into()];
    assert!(is_not_found(control.lookup(&odd)));
}

#[test]
fn history_has_every_version_newest_first() {
    let two = Two::new();
    for text in ["one", "two", "three"] {
        two.a.write("d/notes.md", text);
    }
    two.a.mkdir("e");
    let control = two.a.control();
    let read = |n: &String| cat(&control, &path(&format!("history/d/notes.md/{n}")));
    let listed = names(&two.a, "history/d/notes.md");
    assert_eq!(listed.iter().map(read).collect::<Vec<_>>(), ["three", "three", "two", "one"]);
    assert_eq!(listed[0], "latest");
    for version in &listed[1..] {
        let (stamp, rest) =
            version.split_once('-').and_then(|_| version.split_at_checked(18)).expect("a stamp");
        assert!(stamp.ends_with('Z') && rest.ends_with(".md") && rest.len() == 1 + 8 + 3, "{version}");
    }
    assert_eq!(names(&two.a, "history"), ["d", "e"]);
    assert_eq!(names(&two.a, "history/e"), Vec::<String>::new(), "a directory has no versions");
}

#[test]
fn a_deleted_file_can_be_read_by_who_knows_its_name() {
    let two = Two::new();
    two.a.write("gone.txt", "text");
    two.a.rm("gone.txt");
    let control = two.a.control();
    assert_eq!(names(&two.a, "history"), Vec::<String>::new());
    assert_eq!(cat(&control, &path("history/gone.txt/latest")), "text");
    let listed = names(&two.a, "history/gone.txt");
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[1].ends_with("-deleted.txt"), "{listed:?}");
}

#[test]
fn a_symlink_reads_as_its_target() {
    let two = Two::new();
    two.a.put("l", Value::Symlink("target".into()));
    two.b.put("l", Value::Symlink("elsewhere".into()));
    two.meet();
    let texts = two.a.conflict_files();
    assert!(texts.iter().any(|l| l.ends_with("=target")) && texts.iter().any(|l| l.ends_with("=elsewhere")));
}

#[test]
fn ctl_takes_commands() {
    let two = conflict("my notes.md");
    let handle = two.a.handle();
    let record = handle.get(&key("my notes.md")).expect("get").expect("a record");
    let loser = record.heads[0].entry.id.to_string();
    let control = two.a.control();
    let text = format!("# settle it\nresolve my notes.md {}\nsync\ngc all\n", &loser[..12]);
    let mut settled = Vec::new();
    control.write_ctl(text.as_bytes(), &mut settled).expect("commands");
    assert_eq!(settled, [key("my notes.md")]);
    two.meet();
    assert!(two.b.conflict_files().is_empty());
    assert_eq!(two.a.read("my notes.md"), two.b.read("my notes.md"));
}

#[test]
fn a_bad_command_fails_the_write_and_does_nothing() {
    let two = conflict("f");
    let control = two.a.control();
    let id = two.a.handle().get(&key("f")).expect("get").expect("a record").heads[0].entry.id;
    let result = control.write_ctl(format!("resolve f {id}\nresolv f {id}\n").as_bytes(), &mut Vec::new());
    assert!(matches!(result, Err(ControlError::BadCommand { line: 2, .. })), "{result:?}");
    assert!(!two.a.conflict_files().is_empty());
    let result = control.write_ctl(b"resolve f 00000000\n", &mut Vec::new());
    assert!(matches!(result, Err(ControlError::Resolve(ResolveError::NoSuchVersion { .. }))), "{result:?}");
    let result = control.write_ctl(b"resolve nothing 00000000\n", &mut Vec::new());
    assert!(matches!(result, Err(ControlError::Resolve(ResolveError::NotFound(_)))), "{result:?}");
}

#[test]
fn attributes_of_a_peer_do_not_reach_the_control_directory() {
    let two = conflict("f");
    two.b.set("f", Attrs { mode: Some(0o777), ..Attrs::default() });
    two.meet();
    let node = two.a.control().lookup(&path(&name(&two.a, "conflicts/f", "1-"))).expect("lookup");
    assert_eq!(node.mode, 0o444);
}

#[test]
fn a_version_whose_content_is_gone_says_so() {
    use lattice_engine::store::KeepHistory;
    let two = Two::new();
    let long = |c: char| c.to_string().repeat(300_000);
    two.a.write("big", &long('x'));
    two.a.write("big", &long('y'));
    let control = two.a.control();
    let oldest = path(&format!("history/big/{}", names(&two.a, "history/big").last().expect("a version")));
    assert_eq!(control.lookup(&oldest).expect("lookup").size, 300_000);
    let report = two.a.handle().gc(KeepHistory::Heads).expect("gc");
    assert!(report.chunks > 0);
    let mut buf = [0; 10];
    let read = control.open(&oldest).and_then(|f| Ok(f.read_at(&mut buf, 0)?));
    assert!(matches!(read, Err(ControlError::Store(_))), "{read:?}");
    assert_eq!(two.a.read("big"), long('y'));
}
