//! Settling conflicts.

use lattice_engine::entry::{Attrs, Time};
use lattice_engine::id::EntryId;
use lattice_fs::view::effective::differing;
use lattice_fs::view::resolve::{ResolveError, base, conflicts_at, discard, resolve, resolve_with};

use crate::two::{Peer, Two, key};

/// Both wrote `f`, which was "old".
fn conflict() -> (Two, EntryId, EntryId) {
    let two = Two::new();
    two.a.write("f", "old");
    two.meet();
    let (a, b) = (two.a.write("f", "a"), two.b.write("f", "b"));
    two.meet();
    (two, a, b)
}

fn pick(peer: &Peer, id: EntryId) {
    resolve(&peer.handle(), &key("f"), &id.to_string()).expect("resolve");
}

fn heads(peer: &Peer) -> usize {
    peer.handle().get(&key("f")).expect("get").expect("a record").heads.len()
}

#[test]
fn a_pick_becomes_the_only_version_everywhere() {
    let (two, a, b) = conflict();
    for (id, text) in [(a, "a"), (b, "b")] {
        let (two, shown) = {
            let (fresh, ..) = conflict();
            let shown = if id == a { "a" } else { "b" };
            (fresh, shown)
        };
        let record = two.a.handle().get(&key("f")).expect("get").expect("a record");
        let head = record.heads.iter().find(|h| {
            let content = h.node.as_ref().and_then(|n| n.content()).expect("a file");
            two.a.handle().read(content).expect("read").read_all().expect("read") == shown
        });
        pick(&two.a, head.expect("the version").entry.id);
        two.meet();
        for peer in [&two.a, &two.b] {
            assert_eq!((peer.read("f").as_str(), heads(peer)), (text, 1));
        }
    }
    assert_eq!(heads(&two.a), 2);
}

#[test]
fn a_version_that_came_after_the_look_stays() {
    let (two, a, _) = conflict();
    two.b.write("f", "b2");
    pick(&two.a, a);
    two.meet();
    let record = two.a.handle().get(&key("f")).expect("get").expect("a record");
    assert_eq!(differing(&record), 2);
}

#[test]
fn picking_the_deletion_deletes() {
    let two = Two::new();
    two.a.write("f", "old");
    two.meet();
    let deletion = two.a.rm("f");
    two.b.write("f", "b");
    two.meet();
    assert_eq!(two.a.tree(), ["f=b"]);
    pick(&two.b, deletion);
    two.meet();
    assert_eq!((two.a.tree(), two.b.tree()), (vec![], vec![]));
}

#[test]
fn new_content_can_settle_it() {
    let (two, ..) = conflict();
    two.a.chmod("f", 0o600);
    let handle = two.a.handle();
    let content = handle.put_content(b"merged").expect("content");
    let before = two.a.shown("f").expect("a file").file_id;
    resolve_with(&handle, &key("f"), content).expect("resolve");
    two.meet();
    for peer in [&two.a, &two.b] {
        assert_eq!(peer.tree(), ["f=merged 600"]);
        assert_eq!((heads(peer), peer.shown("f").expect("a file").file_id), (1, before));
    }
}

#[test]
fn attributes_stay_and_the_mtime_follows_the_bytes() {
    let (two, a, b) = conflict();
    let old = Time { s: 1000, ns: 5 };
    let attrs = Attrs { mtime: Some(old), mode: Some(0o640), ..Attrs::default() };
    two.a.set("f", attrs);
    two.meet();
    let (winner, loser) = if two.a.read("f") == "a" { (a, b) } else { (b, a) };
    // The same bytes on a, others on b.
    pick(&two.a, winner);
    pick(&two.b, loser);
    let (same, other) = (two.a.shown("f").expect("a file"), two.b.shown("f").expect("a file"));
    assert_eq!((same.mtime, same.mode, other.mode), (old, 0o640, 0o640));
    assert!(other.mtime > old, "make must see the change");
}

#[test]
fn one_version_is_nothing_to_settle() {
    let two = Two::new();
    let id = two.a.write("f", "x");
    let handle = two.a.handle();
    let entries = handle.status().expect("status").entries;
    assert_eq!(resolve(&handle, &key("f"), &id.to_string()).expect("resolve").id, id);
    assert_eq!(handle.status().expect("status").entries, entries, "nothing is written");
    let error = discard(&handle, &key("f"), &id.to_string()).expect_err("the only version");
    assert!(matches!(error, ResolveError::OnlyVersion(_)), "{error}");
}

#[test]
fn ids_are_checked() {
    let (two, a, _) = conflict();
    let handle = two.a.handle();
    let full = a.to_string();
    for (id, says) in [
        ("", "give at least 4"),
        ("abc", "give at least 4"),
        ("xyzw", "give at least 4"),
        (&*format!("{full}0"), "give at least 4"),
        ("ffffffffffff", "has no version"),
    ] {
        let error = resolve(&handle, &key("f"), id).expect_err(id).to_string();
        assert!(error.contains(says), "{id}: {error}");
    }
    resolve(&handle, &key("f"), &full[..10].to_uppercase()).expect("a prefix, in any case");
    let error = resolve(&handle, &key("g"), &full).expect_err("no such key");
    assert!(matches!(error, ResolveError::NotFound(_)), "{error}");
}

#[test]
fn the_base_is_the_nearest_common_ancestor() {
    let two = Two::new();
    let text = |peer: &Peer| {
        let version = base(&peer.handle(), &key("f")).expect("base")?;
        let node = version.node.expect("it holds something");
        let lattice_engine::entry::Value::File(content) = node.value else { panic!("a file") };
        let bytes = peer.handle().read(&content).expect("read").read_all().expect("read");
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    };
    two.a.write("f", "one");
    assert_eq!(text(&two.a), None, "one version has no base");
    two.a.write("f", "two");
    two.meet();
    two.a.write("f", "a1");
    two.a.write("f", "a2");
    two.b.write("f", "b1");
    two.meet();
    assert_eq!((text(&two.a), text(&two.b)), (Some("two".into()), Some("two".into())));
}

#[test]
fn versions_that_share_nothing_have_no_base() {
    let two = Two::new();
    two.a.write("f", "a");
    two.b.write("f", "b");
    two.meet();
    assert!(base(&two.a.handle(), &key("f")).expect("base").is_none());
}

#[test]
fn conflicts_are_found_at_a_key_and_below_it() {
    let two = Two::new();
    for f in ["d/x", "d/e/y", "z"] {
        two.a.write(f, "a");
        two.b.write(f, "b");
    }
    two.meet();
    let at = |k: &str| conflicts_at(&two.a.handle(), &key(k)).expect("conflicts").len();
    assert_eq!((at("d"), at("d/e"), at("d/x"), at("z"), at("nothing")), (2, 1, 1, 1, 0));
}

/// A wrote the file `q`, B wrote `q/x`.
fn file_and_directory() -> (Two, EntryId) {
    let two = Two::new();
    let file = two.a.write("q", "file");
    two.b.write("q/x", "below");
    two.meet();
    (two, file)
}

#[test]
fn a_file_can_t_be_picked_over_a_directory_that_has_something_in_it() {
    let (two, file) = file_and_directory();
    let handle = two.a.handle();
    let content = handle.put_content(b"merged").expect("content");
    for result in [resolve(&handle, &key("q"), &file.to_string()), resolve_with(&handle, &key("q"), content)]
    {
        let error = result.expect_err("a file over what is below");
        assert!(matches!(error, ResolveError::HasChildren(_)), "{error}");
    }
    assert_eq!(differing(&handle.get(&key("q")).expect("get").expect("a record")), 2, "nothing is done");
}

#[test]
fn the_directory_can_be_picked_by_name() {
    let (two, _) = file_and_directory();
    resolve(&two.b.handle(), &key("q"), "dir").expect("resolve");
    two.meet();
    for peer in [&two.a, &two.b] {
        assert_eq!(peer.tree(), ["q/", "q/x=below"]);
        let record = peer.handle().get(&key("q")).expect("get").expect("a record");
        assert_eq!((differing(&record), record.heads.len()), (0, 1));
    }
    let entries = two.a.handle().status().expect("status").entries;
    resolve(&two.a.handle(), &key("q"), "dir").expect("settled already");
    assert_eq!(two.a.handle().status().expect("status").entries, entries, "nothing is written");
    two.a.write("f", "x");
    let error = resolve(&two.a.handle(), &key("f"), "dir").expect_err("a file");
    assert!(matches!(error, ResolveError::BadId(_)), "{error}");
}
