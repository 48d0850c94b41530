//! Events, entries, long tasks.

use std::time::Duration;

use bytes::Bytes;
use lattice_engine::access::Cutoff;
use lattice_engine::access::act::cutoff_value;
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect};

use super::{Bench, code};
use crate::client::{Client, Lines};
use crate::http::model::{EntryDoc, EntryList, StatsDoc, StatusDoc, TaskLine};
use crate::http::problem::Code;

const PATIENCE: Duration = Duration::from_secs(20);

async fn events(bench: &Bench, query: &str) -> Lines {
    bench.client.get(format!("/stores/home/events?{query}")).send().await.expect("a stream").lines()
}

async fn next(lines: &mut Lines) -> EntryDoc {
    let event = lines.next_event().await.expect("no error").expect("not the end");
    assert_eq!(event.event, "entry", "{event:?}");
    let doc: EntryDoc = serde_json::from_str(&event.data).expect("a document");
    assert_eq!(doc.cursor, event.id);
    doc
}

#[tokio::test]
async fn a_watcher_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let bench = Bench::new();
    let mut live = events(&bench, "").await;
    let first = bench.put(b"a/1", "v").await;
    let seen = next(&mut live).await;
    assert_eq!((seen.entry.as_str(), seen.local), (first.entry.as_str(), true));
    assert_eq!(seen.ops.len(), 1);
    assert_eq!(seen.ops[0].key.as_ref().map(|k| k.key.as_str()), Some("a/1"));
    drop(live);
    let second = bench.put(b"b/2", "v").await;
    let third = bench.put(b"a/3", "v").await;
    let mut again = events(&bench, &format!("since={}", seen.cursor)).await;
    assert_eq!(next(&mut again).await.entry, second.entry);
    assert_eq!(next(&mut again).await.entry, third.entry);
    let mut some = events(&bench, "since=0.0&prefix=a%2F").await;
    assert_eq!(next(&mut some).await.entry, first.entry);
    assert_eq!(next(&mut some).await.entry, third.entry);
}

#[tokio::test]
async fn a_cursor_that_is_of_no_use_gives_a_gap_and_then_what_comes() {
    let bench = Bench::new();
    bench.put(b"k", "v").await;
    for cursor in ["ffff.7", "0.41"] {
        let mut lines = events(&bench, &format!("since={cursor}")).await;
        let gap = lines.next_event().await.expect("no error").expect("not the end");
        assert_eq!(gap.event, "gap", "{cursor}: {gap:?}");
        let written = bench.put(b"k", "w").await;
        assert_eq!(next(&mut lines).await.entry, written.entry);
    }
}

fn put(path: &str, value: &str) -> Change {
    let value = Value::File(Content::Inline(Bytes::copy_from_slice(value.as_bytes())));
    let node = KeyNode { file_id: FileId([1; 16]), value, attrs: Attrs::default() };
    let key = Key::parse(path.as_bytes()).expect("a key");
    Change::Put { key, node, cites: Cites::All, expect: Expect::Anything }
}

/// Another node has written `a` and `b`, and what it wrote was imported; then a member who has seen `a` alone revokes it.
#[tokio::test]
async fn a_revocation_that_changes_what_is_shown_is_a_gap_at_once_and_for_who_comes_back() {
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let [ours, theirs] = dirs.each_ref().map(|dir| {
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        Node::open(&data).expect("opened")
    });
    let store = theirs.create_store("shared").expect("a store");
    let first = store.commit(vec![put("a", "1")]).expect("written");
    store.commit(vec![put("b", "2")]).expect("written");
    let mut bundle = Vec::new();
    store.export("shared", &mut bundle, &mut |_, _| {}).expect("exported");
    let (id, _) = ours.import(&mut &bundle[..], &mut |_, _| {}).expect("imported");
    let client = Client::in_process(ours.clone());
    let stream = async |since: &str| {
        let path = format!("/stores/shared/events?since={since}");
        client.get(path).send().await.expect("a stream").lines()
    };
    let event = async |lines: &mut Lines| {
        let next = tokio::time::timeout(PATIENCE, lines.next_event()).await;
        next.expect("in time").expect("no error").expect("not the end")
    };
    let mut live = stream("0.0").await;
    let mut last = next(&mut live).await;
    assert!(last.ops.is_empty(), "the genesis: {last:?}");
    for key in ["a", "b"] {
        last = next(&mut live).await;
        assert_eq!(last.ops[0].key.as_ref().map(|k| k.key.as_str()), Some(key));
    }
    let path = format!("nodes/{}/revoked/{id}", theirs.id());
    let cutoff = cutoff_value(&Cutoff { seq: first.seq, id: first.id }.into());
    ours.root().commit(vec![Change::CiteAll, put(&path, &cutoff)]).expect("revoked");
    let gap = event(&mut live).await;
    assert!(gap.event == "gap" && gap.data.contains("revoked"), "{gap:?}");
    assert_eq!(code(client.get("/stores/shared/keys/b").send().await), Code::NotFound);
    // Who was away meanwhile is told as well; who was told is not told again.
    let mut away = stream(&last.cursor).await;
    assert_eq!(event(&mut away).await.event, "gap");
    let (mut told, mut begins) = (stream(&gap.id).await, stream("0.0").await);
    client.put("/stores/shared/keys/c").body("3".into()).send().await.expect("written");
    for lines in [&mut live, &mut away, &mut told] {
        assert_eq!(next(lines).await.ops[0].key.as_ref().map(|k| k.key.as_str()), Some("c"));
    }
    let keys = [next(&mut begins).await, next(&mut begins).await, next(&mut begins).await];
    assert_eq!(keys[2].ops[0].key.as_ref().map(|k| k.key.as_str()), Some("c"), "{keys:?}");
}

#[tokio::test]
async fn entries_come_in_pages_oldest_first_or_newest_first() {
    let bench = Bench::new();
    let mut written = Vec::new();
    for n in 0..5 {
        written.push(bench.put(format!("k{n}").as_bytes(), "v").await.entry);
    }
    let page = async |query: String| {
        let answer =
            bench.client.get(format!("/stores/home/entries?prefix=k&{query}")).send().await.expect("a page");
        answer.json::<EntryList>().await.expect("a document")
    };
    let (mut all, mut since) = (Vec::new(), String::new());
    loop {
        let list = page(format!("limit=2{since}")).await;
        all.extend(list.entries.into_iter().map(|e| e.entry));
        match list.cursor {
            Some(cursor) => since = format!("&since={cursor}"),
            None => break,
        }
    }
    assert_eq!(all, written);
    let newest = page("limit=2&newest=true".into()).await;
    let newest: Vec<String> = newest.entries.into_iter().map(|e| e.entry).collect();
    assert_eq!(newest, [written[4].clone(), written[3].clone()]);
}

#[tokio::test]
async fn long_tasks_end_with_their_result() {
    let bench = Bench::new();
    bench.put(b"d/k", vec![1; 100_000]).await;
    let last = async |path: &str| {
        let mut lines = bench.client.post(path).send().await.expect("a stream").lines();
        let mut last = None;
        while let Some(line) = lines.next().await.expect("no error") {
            last = Some(serde_json::from_str::<TaskLine>(&line).expect("a line"));
        }
        last.expect("a result")
    };
    match last("/stores/home/fsck?rebuild=true").await {
        TaskLine::Fsck(doc) => {
            assert!(doc.problems.is_empty(), "{:?}", doc.problems);
            assert_eq!(doc.rebuilt_equal, Some(true));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(last("/stores/home/gc?keep=none").await, TaskLine::Gc { .. }));
    assert_eq!(bench.get(b"d/k").await.len(), 100_000);
    bench
        .client
        .post("/stores")
        .json(&crate::http::model::NameDoc { name: "gone".into() })
        .expect("json")
        .send()
        .await
        .expect("made");
    bench.client.delete("/stores/gone").send().await.expect("deleted");
    match last("/gc").await {
        TaskLine::GcStores { removed } => assert_eq!(removed.len(), 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(code(bench.client.post("/stores/nowhere/fsck").send().await), Code::NoSuchStore);
}

#[tokio::test]
async fn status_and_stats_count_what_is_there() {
    let bench = Bench::new();
    bench.put(b"d/k", vec![1; 100_000]).await;
    let status: StatusDoc =
        bench.client.get("/status").send().await.expect("there").json().await.expect("a document");
    assert_eq!((status.daemon_pid, status.stores.len()), (None, 1));
    assert_eq!(status.stores[0].open.as_ref().map(|o| (o.live_keys, o.conflicts)), Some((1, 0)));
    let stats: StatsDoc =
        bench.client.get("/stores/home/stats").send().await.expect("there").json().await.expect("a document");
    assert_eq!((stats.files, stats.dirs, stats.file_bytes), (1, 1, 100_000));
}
