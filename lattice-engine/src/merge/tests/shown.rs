//! Which head wins, what counts as a conflict, and the times and kinds that are shown.

use super::*;

fn record(heads: &[(EntryRef, Option<Node>)]) -> Record {
    let mut record = Record::default();
    for (at, node) in heads {
        match node {
            Some(node) => record.apply_put(*at, node.clone(), &[]),
            None => record.apply_delete(*at, &[]),
        }
    }
    record
}

fn winner(record: &Record) -> Option<EntryRef> {
    record.winner().map(|h| h.entry)
}

fn seconds(s: i64) -> Time {
    Time { s, ns: 0 }
}

#[test]
fn live_beats_a_tombstone_and_then_the_greatest_wins() {
    let file = || Some(node(1, text("x")));
    let cases = [
        // An edit is not hidden by a later concurrent delete.
        (at(1, 1, 1), file(), at(9, 9, 9), None),
        // The clock decides, then the author, then the id.
        (at(2, 1, 1), file(), at(1, 9, 9), file()),
        (at(1, 2, 1), file(), at(1, 1, 9), file()),
        (at(1, 1, 2), file(), at(1, 1, 1), file()),
        (at(2, 1, 1), None, at(1, 9, 9), None),
    ];
    for (first, a, second, b) in cases {
        for heads in [[(first, a.clone()), (second, b.clone())], [(second, b), (first, a)]] {
            let record = record(&heads);
            assert_eq!(winner(&record), Some(first));
            assert_eq!(record.head_ids().len(), 2);
        }
    }
    assert_eq!(winner(&Record::default()), None);
}

#[test]
fn what_cites_a_head_replaces_it_whatever_the_clocks_say() {
    let mut r = record(&[(at(100, 9, 1), Some(node(1, text("old"))))]);
    r.apply_put(at(5, 1, 2), node(1, text("new")), &[at(100, 9, 1).id]);
    assert_eq!((winner(&r), r.heads.len()), (Some(at(5, 1, 2)), 1));
    r.apply_delete(at(6, 1, 3), &[at(5, 1, 2).id]);
    assert!(!r.is_live() && !r.exists() && r.heads.len() == 1);
}

#[test]
fn attributes_never_resurrect() {
    let mut r = record(&[(at(1, 1, 1), None)]);
    r.apply_attr(at(2, 1, 2), FileId([1; 16]), attrs(0));
    assert!(!r.exists() && r.shown().is_none() && r.attrs().is_none());
    assert!(r.attrs_of(FileId([1; 16])).is_some(), "but they wait for an edit that does");
}

#[test]
fn a_chmod_beside_a_write_is_kept_and_no_conflict() {
    let mut r = record(&[(at(1, 1, 1), Some(node(1, text("x"))))]);
    let mode = Some(0o600);
    r.apply_attr(at(3, 2, 2), FileId([1; 16]), Attrs { mode, ..Attrs::default() });
    r.apply_put(at(2, 1, 3), node(1, text("y")), &[at(1, 1, 1).id]);
    assert_eq!((r.heads.len(), r.conflict()), (1, 0));
    let register = r.attrs().and_then(|a| a.mode.as_ref()).expect("set");
    assert_eq!((register.value, register.at), (0o600, at(3, 2, 2)));
}

#[test]
fn within_one_entry_the_later_op_wins() {
    let file_id = FileId([1; 16]);
    let mode = |mode| Attrs { mode: Some(mode), ..Attrs::default() };
    let mut r = Record::default();
    r.apply_put(at(1, 1, 1), Node { attrs: mode(1), ..node(1, text("x")) }, &[]);
    r.apply_attr(at(1, 1, 1), file_id, mode(2));
    assert_eq!(r.attrs().and_then(|a| a.mode.as_ref()).map(|m| m.value), Some(2));
}

#[test]
fn different_live_values_are_a_conflict() {
    let count = |values: &[Option<Value>]| {
        let head = |(i, value): (usize, &Option<Value>)| {
            (at(1, 1, i as u8), value.clone().map(|value| node(i as u8, value)))
        };
        record(&values.iter().enumerate().map(head).collect::<Vec<_>>()).conflict()
    };
    let (a, b) = (|| Some(text("a")), || Some(text("b")));
    assert_eq!(count(&[]), 0);
    assert_eq!(count(&[a()]), 0);
    assert_eq!(count(&[a(), a()]), 0, "the same content, though in two files");
    assert_eq!(count(&[Some(Value::Dir), Some(Value::Dir)]), 0);
    assert_eq!(count(&[a(), None]), 0, "an edit beside a delete");
    assert_eq!(count(&[a(), b()]), 2);
    assert_eq!(count(&[a(), b(), a(), None]), 2, "different values, not heads");
    assert_eq!(count(&[a(), b(), Some(Value::Dir)]), 3);
}

#[test]
fn a_key_with_children_is_a_directory() {
    let children = Below { children: 1, dirs: 0, changed: Hlc::new(7_000, 0) };
    let mut r = record(&[(at(9, 1, 1), Some(node(1, text("bytes"))))]);
    assert!(!r.is_dir());
    r.below = children;
    assert!(r.is_dir() && r.exists());
    assert_eq!(r.shown(), None, "a directory of its own is nowhere");
    assert_eq!(r.conflict(), 2, "the file is found under conflicts");
    assert_eq!((r.mtime(), r.ctime()), (seconds(7), seconds(7)));
    r.apply_put(at(2, 2, 2), node(2, Value::Dir), &[]);
    assert_eq!(r.shown().map(|h| h.entry), Some(at(2, 2, 2)));
    assert_eq!(winner(&r), Some(at(9, 1, 1)), "the winner is over heads alone");
    assert_eq!(r.conflict(), 2);
    let deleted = Record { below: children, ..record(&[(at(9, 1, 1), None)]) };
    assert!(deleted.is_dir() && deleted.exists() && !deleted.is_live());
    assert_eq!(deleted.conflict(), 0);
}

#[test]
fn a_files_times() {
    let file_id = FileId([1; 16]);
    let written = EntryRef { hlc: Hlc::new(5_000, 0), ..at(0, 1, 1) };
    let mut r = record(&[(written, Some(node(1, text("x"))))]);
    assert_eq!((r.mtime(), r.ctime()), (seconds(5), seconds(5)));
    let touched = EntryRef { hlc: Hlc::new(6_000, 2), ..at(0, 1, 2) };
    let mtime = Some(seconds(-100));
    r.apply_attr(touched, file_id, Attrs { mtime, ..Attrs::default() });
    assert_eq!(r.mtime(), seconds(-100), "utimes may set any time");
    assert_eq!((r.changed(), r.ctime()), (touched.hlc, Time { s: 6, ns: 2 }));
    // Another file's registers say nothing about this one.
    let later = EntryRef { hlc: Hlc::new(9_000, 0), ..at(0, 1, 3) };
    r.apply_attr(later, FileId([2; 16]), attrs(0));
    assert_eq!(r.changed(), touched.hlc);
    r.below.changed = later.hlc;
    assert_eq!((r.mtime(), r.changed()), (seconds(-100), touched.hlc), "names are a directory's");
}

#[test]
fn a_directorys_mtime_follows_its_names_unless_set_later() {
    let made = EntryRef { hlc: Hlc::new(5_000, 0), ..at(0, 1, 1) };
    let mut r = record(&[(made, Some(node(1, Value::Dir)))]);
    assert_eq!(r.mtime(), seconds(5));
    r.below.changed = Hlc::new(8_000, 0);
    assert_eq!((r.mtime(), r.ctime()), (seconds(8), seconds(8)));
    let touched = EntryRef { hlc: Hlc::new(9_000, 0), ..at(0, 1, 2) };
    let mtime = Some(seconds(1));
    r.apply_attr(touched, FileId([1; 16]), Attrs { mtime, ..Attrs::default() });
    assert_eq!((r.mtime(), r.ctime()), (seconds(1), seconds(9)));
    r.below.changed = Hlc::new(10_000, 0);
    assert_eq!(r.mtime(), seconds(10));
}
