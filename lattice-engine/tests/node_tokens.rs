//! Access tokens through a node's own API, on a real disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::access::{Grant, Scope, TokenSecret};
use lattice_engine::clock::ManualClock;
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::{Node, NodeError, TokenRefusal, TokenState, prefix_of};
use lattice_engine::store::{Change, Cites, Expect};

const NOW: u64 = 1_790_000_000_000;

fn fresh(dir: &Path) -> (Node, Arc<ManualClock>) {
    Node::init(dir).expect("init");
    let clock = Arc::new(ManualClock::at(NOW));
    (Node::open_with(dir, clock.clone()).expect("open"), clock)
}

fn grant(expires_ms: Option<u64>) -> Grant {
    Grant { name: "t".into(), scope: Scope::Read, store: None, prefix: Key::ROOT, expires_ms }
}

fn put(path: &str, value: &str) -> Change {
    let content = Content::Inline(Bytes::copy_from_slice(value.as_bytes()));
    let node = KeyNode { file_id: FileId([1; 16]), value: Value::File(content), attrs: Attrs::default() };
    let key = Key::parse(path.as_bytes()).expect(path);
    Change::Put { key, node, cites: Cites::All, expect: Expect::Anything }
}

/// What is in memory, before and after, says the same if it says anything.
fn check(node: &Node, secret: &TokenSecret) -> Result<Grant, TokenRefusal> {
    let now = || Some(node.check_token_now(&secret.id(), secret)?.map(|info| info.record.grant.clone()));
    let before = now();
    let checked = node.check_token(&secret.id(), secret).expect("readable");
    let checked = checked.map(|info| info.record.grant.clone());
    assert_eq!(before.unwrap_or_else(|| checked.clone()), checked);
    assert_eq!(now(), Some(checked.clone()));
    checked
}

#[test]
fn a_token_lets_in_until_it_expires_or_is_revoked_and_over_restarts() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, clock) = fresh(home.path());
    let (info, secret) = node.create_token(grant(Some(NOW + 1000))).expect("made");
    let (_, lasting) = node.create_token(grant(None)).expect("made");
    assert_eq!(info.id, secret.id());
    assert_eq!(check(&node, &secret), Ok(grant(Some(NOW + 1000))));
    let wrong = node.check_token(&info.id, &TokenSecret::new([1; 32])).expect("readable");
    assert_eq!(wrong.map(drop), Err(TokenRefusal::Unknown), "another secret");
    assert_eq!(check(&node, &TokenSecret::new([1; 32])), Err(TokenRefusal::Unknown), "another token");
    clock.set(NOW + 1000);
    assert_eq!(check(&node, &secret), Err(TokenRefusal::Expired));
    assert_eq!(check(&node, &lasting).map(drop), Ok(()));
    node.revoke_token(&lasting.id()).expect("revoked");
    assert_eq!(check(&node, &lasting), Err(TokenRefusal::Revoked), "at once, though it was let in before");
    assert!(!node.token_holds(&lasting.id()).expect("readable"));
    let states: Vec<_> = node.tokens().expect("a list").iter().map(|t| t.state).collect();
    assert_eq!(states, [TokenState::Expired, TokenState::Revoked]);
    let unknown = node.revoke_token(&TokenSecret::new([1; 32]).id());
    assert!(matches!(unknown, Err(NodeError::NoSuchToken(_))), "{unknown:?}");
    node.close().expect("closed");
    drop(node);
    let node = Node::open(home.path()).expect("open");
    assert_eq!(check(&node, &lasting), Err(TokenRefusal::Revoked));
}

#[test]
fn what_the_root_store_doesn_t_say_in_one_way_lets_nobody_in() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, _) = fresh(home.path());
    let (info, secret) = node.create_token(grant(None)).expect("made");
    let record = info.record.to_value();
    let write = |path: &str, value: &str| node.root().commit(vec![put(path, value)]).map(drop).expect("put");
    write(&info.id.record_path(), &record.replace("scope ro", "scope all"));
    assert_eq!(check(&node, &secret), Err(TokenRefusal::Unknown), "a record that isn't one");
    write(&info.id.record_path(), &record);
    assert_eq!(check(&node, &secret).map(drop), Ok(()));
    // Under another token's name it is nobody's.
    write("tokens/0123456789abcdef/record", &record);
    assert_eq!(node.tokens().expect("a list").len(), 1);
    // A revocation that is deleted still stands.
    node.revoke_token(&info.id).expect("revoked");
    let key = Key::parse(info.id.revoked_path().as_bytes()).expect("a key");
    let delete = Change::Delete { key, cites: Cites::All, expect: Expect::Exists };
    node.root().commit(vec![delete]).expect("deleted");
    assert_eq!(check(&node, &secret), Err(TokenRefusal::Revoked));
}

#[test]
fn what_makes_no_sense_is_refused_before_it_is_written() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, _) = fresh(home.path());
    let before = node.root().generation();
    node.create_token(grant(Some(NOW))).expect_err("it has expired");
    let prefix = Key::parse("a/".repeat(600).trim_end_matches('/').as_bytes()).expect("a key");
    node.create_token(Grant { prefix, ..grant(None) }).expect_err("too long");
    assert_eq!(node.root().generation(), before);
    assert_eq!(prefix_of(b"/notes/").expect("a prefix").as_bytes(), b"notes");
    assert!(prefix_of(b"").expect("all").is_root() && prefix_of(b"/").expect("all").is_root());
    prefix_of(b"a/../b").expect_err("no key");
}
