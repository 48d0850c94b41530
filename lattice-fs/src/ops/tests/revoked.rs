//! Another node is revoked by somebody who has seen the beginning of what it wrote: what comes after that and was shown is
//! shown no more, and no event tells which.

use lattice_engine::access::Cutoff;
use lattice_engine::access::act::cutoff_value;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn put(path: &str, text: &[u8]) -> Change {
    let content = Content::Inline(text.to_vec().into());
    let node = FileNode { file_id: FileId([7; 16]), value: Value::File(content), attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Beside }
}

fn delete(path: &str) -> Change {
    Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Exists }
}

/// The mount of a store in which another node wrote `early` and then `late`, and what revokes that node at the end of
/// `early`.
fn written_by_another(early: Vec<Change>, late: Vec<Change>) -> (Rig, impl FnOnce(&Rig)) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let [ours, theirs] = dirs.each_ref().map(|dir| {
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        Node::open(&data).expect("opened")
    });
    let store = theirs.create_store("test").expect("a store");
    let end = store.commit(early).expect("written");
    store.commit(late).expect("written");
    let mut bundle = Vec::new();
    store.export("test", &mut bundle, &mut |_, _| {}).expect("exported");
    ours.import(&mut &bundle[..], &mut |_, _| {}).expect("imported");
    let path = format!("nodes/{}/revoked/{}", theirs.id(), store.id());
    let cutoff = cutoff_value(&Cutoff { seq: end.seq, id: end.id }.into());
    let [dir, _] = dirs;
    let revoke = move |rig: &Rig| {
        rig.node.root().commit(vec![Change::CiteAll, put(&path, cutoff.as_bytes())]).expect("revoked");
        // As the watcher's thread does.
        let told = rig.live.next(PATIENCE);
        assert!(matches!(told, Some(LiveChange::Missed)), "{told:?}");
        rig.fs.compare_all(&rig.fs.volumes()[0]);
    };
    (Rig::on(dir, ours), revoke)
}

#[test]
fn what_counts_no_more_is_taken_back_from_the_kernel() {
    let early = vec![put("plan", b"first"), put("gone", b"there"), put("q", b"a file")];
    let late =
        vec![put("plan", b"second"), delete("gone"), put("late", b"x"), put("d/x", b"x"), put("q/x", b"x")];
    let (rig, revoke) = written_by_another(early, late);
    let plan = rig.ino(ROOT, "plan");
    assert_eq!(rig.read(plan), b"second");
    rig.ino(ROOT, "late");
    rig.ino(rig.ino(ROOT, "d"), "x");
    rig.ino(rig.ino(ROOT, "q"), "x");
    assert!(rig.find(ROOT, "gone").is_none());

    revoke(&rig);
    assert!(rig.told.inodes.lock().contains(&(plan, true)), "its bytes");
    assert_eq!(rig.read(rig.ino(ROOT, "plan")), b"first");
    for name in ["gone", "late", "d", "q"] {
        assert!(rig.told.entries.lock().contains(&(ROOT, name.into())), "{name}");
    }
    assert!(rig.told.inodes.lock().contains(&(ROOT, true)), "the listing");
    assert_eq!(rig.names(ROOT), ["gone", "plan", "q"]);
    assert_eq!(rig.read(rig.ino(ROOT, "gone")), b"there");
    assert_eq!(rig.read(rig.ino(ROOT, "q")), b"a file");
    assert!(rig.find(ROOT, "late").is_none() && rig.find(ROOT, "d").is_none());
}

#[test]
fn who_has_a_version_open_that_counts_no_more_keeps_it_and_what_they_save_over_it_is_kept() {
    let (rig, revoke) = written_by_another(vec![put("plan", b"first")], vec![put("plan", b"second")]);
    let open = rig.ino(ROOT, "plan");
    rig.fs.open(open, WRITE).expect("opened");
    revoke(&rig);
    assert_eq!(rig.read(open), b"second");
    assert_eq!(rig.read(rig.ino(ROOT, "plan")), b"first", "who opens it next");
    rig.fs.write(open, 0, b"edited", false).expect("written");
    rig.close(open);
    rig.fs.work_off();
    assert_eq!(rig.stored("plan").as_deref(), Some(&b"edited"[..]));
}

#[test]
fn the_texts_and_the_history_of_the_control_directory_say_what_counts() {
    let early = vec![put("plan", b"first"), put("q", b"a file")];
    let late =
        vec![put("plan", b"second"), put("edited", b"1"), put("q/x", b"x"), put("d/a", b""), put("d/A", b"")];
    let (rig, revoke) = written_by_another(early, late);
    // Made from what goes: its history begins with it then.
    rig.put_elsewhere("edited", b"2");
    let control = rig.ino(ROOT, ".lattice");
    let read = |name: &str| {
        let ino = rig.ino(control, name);
        let handle = rig.fs.open(ino, libc::O_RDONLY).expect("opened").handle;
        let mut bytes = vec![0; 1 << 16];
        let n = rig.fs.read(ino, handle, 0, &mut bytes).expect("read");
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let status = || {
        let status: serde_json::Value = serde_json::from_str(&read("status.json")).expect("JSON");
        let figures =
            ["live_keys", "entries", "conflicts"].map(|name| status[name].as_u64().expect("a figure"));
        (figures, status["twins"].as_array().expect("a list").len())
    };
    let versions = |key: &str| rig.names(rig.ino(rig.ino(control, "history"), key)).len() - 1;
    let before = status();
    assert!(read("conflicts.tsv").contains("\nq\t"), "a file and a directory");
    assert_eq!((versions("plan"), versions("edited")), (2, 2));

    revoke(&rig);
    assert_eq!(versions("edited"), 1);
    assert_eq!(versions("plan"), 1);
    assert!(!read("conflicts.tsv").contains("\nq\t"));
    // Entries that count no more are still here.
    assert_eq!((before, status()), (([6, 4, 1], 1), ([3, 4, 0], 0)));
    let text = read("status");
    assert!(text.contains("keys         3\n") && text.contains("conflicts    0\n"), "{text}");
}
