use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o7777
}

/// RFC 8032, 7.1, test 1: the public key of a secret key.
#[test]
fn the_node_id_is_the_public_key() {
    let seed: EntryId =
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse().expect("hex");
    let node = Identity::from_seed(seed.0).node_id().to_string();
    assert_eq!(node, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

#[test]
fn a_signature_counts_for_its_author_and_its_entry_only() {
    let (a, b) = (Identity::generate().expect("random"), Identity::generate().expect("random"));
    let (one, two) = (EntryId([1; 32]), EntryId([2; 32]));
    let signature = a.sign(&one);
    assert_eq!(verify(&a.node_id(), &one, &signature), Ok(()));
    verify(&b.node_id(), &one, &signature).expect_err("another author");
    verify(&a.node_id(), &two, &signature).expect_err("another entry");
    assert_eq!(signature, a.sign(&one), "signing is deterministic");
}

/// The neutral element as key and as R, with s = 0, is a signature on everything for a lenient verifier.
#[test]
fn a_key_of_small_order_signs_nothing() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&neutral);
    let entry = EntryId([7; 32]);
    let lenient = ed25519_dalek::Verifier::verify(
        &VerifyingKey::from_bytes(&neutral).expect("a point"),
        &message(&entry),
        &DalekSignature::from_bytes(&signature),
    );
    assert!(lenient.is_ok(), "the case is one that strictness decides");
    verify(&NodeId(neutral), &entry, &signature).expect_err("strict");
}

#[test]
fn the_secret_is_not_printed() {
    let printed = format!("{:?}", Identity::from_seed([0xab; 32]));
    assert!(!printed.to_lowercase().contains("abab") && !printed.contains("171, 171"), "{printed}");
}

#[test]
fn a_new_key_is_private_and_stays_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep/er/identity.key");
    let missing = Identity::load(&path).expect_err("nothing there").to_string();
    assert!(missing.ends_with("run `lattice init`"), "{missing}");
    let made = Identity::load_or_create(&path).expect("made");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a directory")), 0o700);
    let text = fs::read_to_string(&path).expect("text");
    assert!(
        text.starts_with("lattice-key-v1 ") && text.ends_with('\n') && text.len() == 80,
        "{}",
        text.len()
    );
    for again in [Identity::load(&path), Identity::load_or_create(&path)] {
        assert_eq!(again.expect("there").node_id(), made.node_id());
    }
    let names = fs::read_dir(path.parent().expect("a directory")).expect("list").count();
    assert_eq!(names, 1, "no temporary file is left");
}

#[test]
fn whoever_is_first_makes_the_key_for_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("identity.key");
    let ids: Vec<NodeId> = std::thread::scope(|scope| {
        let make = || Identity::load_or_create(&path).expect("made or found").node_id();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_to_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("identity.key");
    Identity::load_or_create(&path).expect("made");
    for open in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(open)).expect("chmod");
        let refused = Identity::load_or_create(&path).expect_err("open").to_string();
        let shown = path.display();
        let want = format!("{shown} is open to other users (mode {open:04o}): run `chmod 600 {shown}`");
        assert_eq!(refused, want);
    }
}

#[test]
fn what_is_not_a_key_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("identity.key");
    let good = format!("lattice-key-v1 {}\n", "0a".repeat(32));
    let bad = [
        String::new(),
        good[..79].to_owned(),
        good.replace("v1", "v2"),
        good.replace("0a", "0A"),
        good.replace("0a", "zz"),
        good.clone() + "\n",
    ];
    for text in bad {
        fs::write(&path, &text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        let refused = Identity::load_or_create(&path).expect_err("not a key").to_string();
        assert!(refused.contains("is not a lattice key"), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("kept"), text);
    }
    fs::write(&path, &good).expect("written");
    let node = Identity::load(&path).expect("a key").node_id();
    assert_eq!(node, Identity::from_seed([0x0a; 32]).node_id());
    let refused = Identity::load(dir.path()).expect_err("a directory");
    assert!(matches!(refused, KeyFileError::Malformed { .. }));
}
