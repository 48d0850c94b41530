//! From entries to acts: what a key and a value must look like to say something.

use bytes::Bytes;

use super::*;
use crate::entry::{Attrs, Content, Draft, Entry, Kind, Node as KeyNode, Op, Value};
use crate::id::FileId;
use crate::identity::Identity;
use crate::key::Key;

fn put(path: &str, value: Value) -> Op {
    let node = KeyNode { file_id: FileId([1; 16]), value, attrs: Attrs::default() };
    Op::Put { key: Key::parse(path.as_bytes()).expect("a key"), node, new_name: true, parents: vec![] }
}

fn text(path: &str, value: &str) -> Op {
    put(path, Value::File(Content::Inline(Bytes::copy_from_slice(value.as_bytes()))))
}

fn author() -> NodeId {
    Identity::from_seed([1; 32]).node_id()
}

fn entry(ops: Vec<Op>) -> Entry {
    let parent = EntryRef { hlc: Hlc::new(5, 0), author: node(3), id: entry_id(3, 7), seq: 7 };
    Draft {
        store: root(),
        author: author(),
        seq: 4,
        prev: entry_id(1, 3),
        hlc: Hlc::new(9, 0),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops,
        parents: [(parent.id, parent)].into(),
    }
    .build()
    .expect("valid")
}

fn read(ops: Vec<Op>) -> (Vec<Does>, Vec<&'static str>) {
    let (act, ignored) = Act::of(&entry(ops));
    (act.map_or(vec![], |a| a.does), ignored.into_iter().map(|i| i.why).collect())
}

#[test]
fn an_entry_says_what_its_keys_and_values_say() {
    let invite = Secret::new([5; 32]).id();
    let (two, three, store) = (node(2), node(3), other_store());
    let (does, ignored) = read(vec![
        text(&format!("nodes/{two}/added"), ""),
        text(&format!("nodes/{three}/added"), &act::added_value(Some(invite))),
        text(&format!("nodes/{two}/revoked/{store}"), &act::cutoff_value(&cutoff(2, 5))),
        text(&format!("nodes/{two}/revoked/{}", root()), &act::cutoff_value(&cutoff(2, 6))),
        text(&format!("stores/{store}/authors/{three}"), ""),
        text(&format!("nodes/{two}/name"), "two"),
        text("stores/else", "x"),
    ]);
    assert_eq!(ignored, Vec::<&str>::new());
    let tips = [(store, cutoff(2, 5)), (root(), cutoff(2, 6))].into();
    assert_eq!(
        does,
        [
            Does::Add { node: two, invite: None },
            Does::Add { node: three, invite: Some(invite) },
            Does::Guest { store, node: three },
            Does::Revoke { node: two, tips },
        ]
    );
}

#[test]
fn an_act_comes_after_its_chain_and_its_deps() {
    let (act, _) = Act::of(&entry(vec![text(&format!("nodes/{}/added", node(2)), "")]));
    let act = act.expect("an act");
    let after: Vec<_> = act.after.iter().map(|(author, seq, _)| (*author, *seq)).collect();
    assert_eq!(after, [(author(), 3), (node(3), 7)]);
    assert_eq!((act.at.author, act.at.seq), (author(), 4));
}

#[test]
fn other_entries_are_no_acts() {
    let delete = Op::Delete { key: Key::parse(b"nodes/x").expect("a key"), parents: vec![] };
    assert_eq!(Act::of(&entry(vec![delete, text("nodes/a/b/c/d", "")])), (None, vec![]));
}

#[test]
fn what_is_hostile_is_ignored_with_a_reason() {
    let (two, store) = (node(2), other_store());
    let revoked = |value: &str| text(&format!("nodes/{two}/revoked/{store}"), value);
    let id = entry_id(2, 5);
    let cases = [
        (text("nodes/abc/added", ""), "it names no node"),
        (text(&format!("nodes/{}/added", two.to_string().replace("02", "0A")), ""), "it names no node"),
        (text(&format!("nodes/-{two}/added"), ""), "it names no node"),
        (text(&format!("nodes/{two}/added"), "me"), "its value is neither empty nor an invite"),
        (text(&format!("nodes/{two}/added"), "invite 00"), "its value is neither empty nor an invite"),
        (put(&format!("nodes/{two}/added"), Value::Dir), "its value doesn't stand in the entry"),
        (text(&format!("nodes/{two}/revoked/x"), ""), "it names no store"),
        (revoked(""), "its value is not a sequence number and an entry id"),
        (revoked(&format!("05 {id}")), "its value is not a sequence number and an entry id"),
        (revoked(&format!("-1 {id}")), "its value is not a sequence number and an entry id"),
        (
            revoked(&format!("99999999999999999999 {id}")),
            "its value is not a sequence number and an entry id",
        ),
        (revoked(&format!("5 {id} ")), "its value is not a sequence number and an entry id"),
        (
            text(&format!("nodes/{}/revoked/{store}", author()), &format!("5 {id}")),
            "a node can't revoke itself",
        ),
        (text(&format!("stores/{store}/authors/x"), ""), "it names no node"),
    ];
    for (op, why) in cases {
        assert_eq!(read(vec![op.clone()]), (vec![], vec![why]), "{op:?}");
    }
    let many = (0..100).map(|n| text(&format!("nodes/{n}/added"), "")).collect();
    let (does, ignored) = read(many);
    assert_eq!((does.len(), ignored.len()), (0, 8), "reasons are bounded");
    let long = format!("nodes/{}\u{1b}[2J/added", "x".repeat(200));
    let (_, ignored) = Act::of(&entry(vec![text(&long, "")]));
    let shown = ignored[0].to_string();
    assert!(shown.len() < 200 && !shown.chars().any(char::is_control), "{shown}");
}

#[test]
fn names_are_made_fit_for_a_terminal() {
    for (name, clean) in [
        ("  Anna's laptop\n", Some("Anna's laptop")),
        ("a\u{1b}[31mb\rc\0", Some("a[31mbc")),
        ("gr\u{fc}n \u{202e}evil", Some("gr\u{fc}n evil")),
        ("\u{200b}\u{feff}\n\t", None),
        ("", None),
    ] {
        assert_eq!(clean_name(name).as_deref(), clean);
    }
    let long = clean_name(&"\u{fc}".repeat(500)).expect("a name");
    assert!(long.len() <= MAX_NAME && long.len() > MAX_NAME - 2);
    let mut members = History::new().fold();
    members.name(&node(0), "me\n");
    members.name(&node(1), "nobody");
    assert_eq!(members.get(&node(0)).and_then(|m| m.name.as_deref()), Some("me"));
}
