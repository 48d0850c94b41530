//! `user.lattice.*`.

use lattice_engine::key::Key;
use lattice_fs::view::xattrs::{READABLE, XattrError, get, is_ours, set};

use crate::two::{Peer, Two, key};

fn value(peer: &Peer, path: &str, name: &str) -> Option<String> {
    let key = if path.is_empty() { Key::ROOT } else { key(path) };
    match get(&peer.handle(), &key, format!("user.lattice.{name}").as_bytes()) {
        Ok(value) => Some(String::from_utf8(value.to_vec()).expect("text")),
        Err(XattrError::NoData) => None,
        Err(e) => panic!("{path} {name}: {e}"),
    }
}

#[test]
fn a_file_says_where_it_comes_from() {
    let two = Two::new();
    let text = "x".repeat(100_000);
    let id = two.a.write("d/f", &text);
    two.meet();
    let b = &two.b;
    let entry = b.handle().get(&key("d/f")).expect("get").expect("a record").heads[0].entry;
    let (author, hlc) = (two.a.node.id(), entry.hlc);
    let expected = [
        ("store", b.handle().id().to_string()),
        ("key", "d/f".into()),
        ("entry", id.to_string()),
        ("author", author.to_string()),
        ("hlc", hlc.to_string()),
        ("heads", format!("{id}\t{author}\t{hlc}\tfile\twinner")),
        ("conflict", "0".into()),
        ("hash", blake3::hash(text.as_bytes()).to_hex().to_string()),
        ("size", "100000".into()),
        ("synced", "local".into()),
        ("pin", "by d".into()),
    ];
    b.handle().pin(&key("d")).expect("a pin");
    assert_eq!(expected.each_ref().map(|(name, _)| *name), READABLE);
    for (name, text) in expected {
        assert_eq!(value(b, "d/f", name), Some(text), "{name}");
    }
}

#[test]
fn a_directory_without_an_entry_has_none_to_show() {
    let two = Two::new();
    two.a.write("d/f", "x");
    for dir in ["", "d"] {
        for name in ["entry", "author", "hlc", "hash", "size"] {
            assert_eq!(value(&two.a, dir, name), None, "{dir:?} {name}");
        }
        assert_eq!(value(&two.a, dir, "key").as_deref(), Some(dir));
        assert_eq!(value(&two.a, dir, "conflict").as_deref(), Some("0"));
    }
}

#[test]
fn conflicts_are_counted_and_settled_by_writing_one() {
    let two = Two::new();
    for f in ["d/f", "d/g"] {
        two.a.write(f, "a");
        two.b.write(f, "b");
    }
    two.meet();
    let conflict = |path| value(&two.a, path, "conflict").expect("a number");
    assert_eq!([conflict("d/f"), conflict("d"), conflict("")], ["2", "2", "2"]);
    let heads = value(&two.a, "d/f", "heads").expect("heads");
    let lines: Vec<Vec<&str>> = heads.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!((lines.len(), lines[0][4], lines[1][4]), (2, "winner", "-"));
    let loser = lines[1][0];
    let handle = two.a.handle();
    set(&handle, &key("d/f"), b"user.lattice.resolve", &loser.as_bytes()[..8]).expect("resolve");
    assert_eq!([conflict("d/f"), conflict("d")], ["0", "1"]);
    assert_eq!(value(&two.a, "d/f", "heads").expect("heads").lines().count(), 1);
}

#[test]
fn a_deletion_that_lost_is_a_head_but_no_conflict() {
    let two = Two::new();
    two.a.write("f", "old");
    two.meet();
    two.a.rm("f");
    two.b.write("f", "b");
    two.meet();
    assert_eq!(value(&two.a, "f", "conflict").as_deref(), Some("0"));
    let heads = value(&two.a, "f", "heads").expect("heads");
    let kinds: Vec<&str> = heads.lines().filter_map(|l| l.split('\t').nth(3)).collect();
    assert_eq!(kinds, ["file", "deleted"]);
}

#[test]
fn nothing_else_can_be_written() {
    let two = Two::new();
    two.a.write("f", "x");
    let handle = two.a.handle();
    let write = |name: &[u8], value: &[u8]| set(&handle, &key("f"), name, value);
    assert!(matches!(write(b"user.lattice.entry", b"x"), Err(XattrError::ReadOnly(_))));
    assert!(matches!(write(b"user.lattice.nothing", b"x"), Err(XattrError::ReadOnly(_))));
    assert!(matches!(write(b"user.lattice.resolve", b"\xff"), Err(XattrError::NotText)));
    assert!(matches!(write(b"user.lattice.resolve", b"zz"), Err(XattrError::Resolve(_))));
    assert_eq!(value(&two.a, "f", "resolve"), None);
    assert!(is_ours(b"user.lattice.entry") && !is_ours(b"user.mime_type"));
}
