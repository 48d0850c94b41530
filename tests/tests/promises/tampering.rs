//! Promise 9. A signed entry is never altered or reattributed; a damaged copy is found before use, refetched or refused.

use std::collections::BTreeSet;
use std::fs;

use lattice_engine::store::KeepHistory;

use crate::machine::{Machine, NOW};

fn entries(machine: &Machine) -> BTreeSet<String> {
    let events = machine.handle().entries(Default::default(), usize::MAX).expect("entries");
    events.iter().map(|e| format!("{:?} {:?}", e.entry.id, e.entry.author)).collect()
}

#[test]
fn a_bundle_with_one_flipped_bit_brings_nothing_that_was_not_signed() {
    let first = Machine::with_store(NOW);
    first.write("f", "old");
    let b = first.join(NOW);
    b.write("f", "inline");
    b.write("large", &"content ".repeat(520));
    let (before, after) = (entries(&first), entries(&b));
    let bundle = b.bundle();
    let mut a = first.join(NOW);
    let (mut tried, mut taken) = (0, 0);
    for at in (0..bundle.len()).step_by(17) {
        let mut bad = bundle.clone();
        bad[at] ^= 1 << (at % 8);
        tried += 1;
        match a.node.import(&mut &bad[..], &mut |_, _| {}) {
            Err(e) => {
                assert_eq!(
                    (entries(&a), a.read("f").as_deref()),
                    (before.clone(), Some("old")),
                    "byte {at}: {e}"
                );
            }
            // Nobody signs the name that the bundle suggests for the store.
            Ok((id, _)) => {
                taken += 1;
                assert_eq!((id, entries(&a)), (b.handle().id(), after.clone()), "byte {at}");
                assert_eq!(a.read("f").as_deref(), Some("inline"), "byte {at}");
                assert_eq!(a.read("large"), b.read("large"), "byte {at}");
                a = first.join(NOW);
            }
        }
    }
    assert!(taken <= "shared".len(), "{taken} of {tried} flipped bundles were taken");
    let report = a.handle().fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!((report.problems, report.rebuilt_equal), (vec![], Some(true)));
}

#[test]
fn a_cut_bundle_is_refused() {
    let a = Machine::with_store(NOW);
    let b = a.join(NOW);
    b.write("f", "x");
    let bundle = b.bundle();
    for len in 0..bundle.len() {
        assert!(
            a.node.import(&mut &bundle[..len], &mut |_, _| {}).is_err(),
            "{len} of {} bytes",
            bundle.len()
        );
    }
}

#[test]
fn a_bundle_without_collected_versions_is_whole() {
    let a = Machine::with_store(NOW);
    let long = |c: char| c.to_string().repeat(50_000);
    a.write("f", &long('x'));
    a.write("f", &long('y'));
    assert!(a.handle().gc(KeepHistory::Heads).expect("gc").chunks > 0);
    let b = a.join(NOW);
    assert_eq!(b.read("f"), Some(long('y')));
}

#[test]
fn a_damaged_pack_is_never_read_as_something_else() {
    let mut a = Machine::with_store(NOW);
    let text: String = (0..60_000).map(|i| char::from(b'a' + (i * i % 26) as u8)).collect();
    a.write("f", &text);
    a.handle().sync().expect("sync");
    let packs = a.store_dir().join("packs");
    let pack = fs::read_dir(&packs)
        .expect("packs")
        .map(|e| e.expect("an entry").path())
        .max_by_key(|p| p.metadata().expect("metadata").len())
        .expect("a pack");
    let whole = fs::read(&pack).expect("read the pack");
    let mut failed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 16) {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        a.node.close().expect("close");
        fs::write(&pack, &bad).expect("damage the pack");
        a.restart();
        let record = a.record("f");
        let content = record.shown().and_then(|h| h.node.as_ref()?.content()).expect("a file");
        match a.handle().read(content).and_then(|r| r.read_all()) {
            Ok(bytes) => assert!(bytes == text.as_bytes(), "byte {at}: wrong bytes"),
            Err(_) => {
                failed += 1;
                let report = a.handle().fsck(false, &mut |_| {}).expect("fsck");
                assert!(!report.problems.is_empty(), "byte {at}: fsck sees it too");
            }
        }
    }
    assert!(failed > 0, "damage was found");
}
