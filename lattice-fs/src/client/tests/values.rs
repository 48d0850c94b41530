//! Bytes in and out of keys.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use futures::StreamExt;

use super::{Bench, at, code};
use crate::client::ClientError;
use crate::http::model::{Batch, BatchOp, History, Written};
use crate::http::problem::Code;

/// Bytes without a pattern that a chunker or a compressor could use.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

#[tokio::test]
async fn any_name_and_any_size_makes_the_round_trip() {
    let bench = Bench::new();
    for (key, len) in [
        (&b"plain"[..], 0),
        (b"a b?c#d%41&e=f+g", 4096),
        (b"dir/\xff\xfe\n\t", 4097),
        ("\u{e9}/\u{1f980}".as_bytes(), 300_000),
    ] {
        let value = noise(len);
        bench.put(key, value.clone()).await;
        assert!(bench.get(key).await == value, "{key:?}");
    }
}

#[tokio::test]
async fn a_large_value_is_streamed_both_ways() {
    let bench = Bench::new();
    let block = Bytes::from(noise(1 << 20));
    let blocks = futures::stream::iter((0..40u8).map({
        let block = block.clone();
        move |i| Ok::<_, std::io::Error>(Bytes::from([&[i][..], &block].concat()))
    }));
    bench.put(b"large", Body::from_stream(blocks)).await;
    let mut answer = bench.client.get(at(b"large")).send().await.expect("there");
    assert_eq!(answer.size(), Some(40 * ((1 << 20) + 1)));
    let (mut seen, mut largest) = (blake3::Hasher::new(), 0);
    while let Some(bytes) = answer.chunk().await.expect("whole") {
        largest = largest.max(bytes.len());
        seen.update(&bytes);
    }
    let mut wanted = blake3::Hasher::new();
    (0..40u8).for_each(|i| {
        wanted.update(&[i]).update(&block);
    });
    assert_eq!(seen.finalize(), wanted.finalize());
    assert!(largest <= 1 << 20, "it came in blocks, the largest of {largest} bytes");
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let bench = Bench::new();
    bench.put(b"k", "before").await;
    let broken =
        futures::stream::iter([Ok(Bytes::from(vec![1; 400_000])), Err(std::io::Error::other("cable"))]);
    let sent = bench.client.put(at(b"k")).body(Body::from_stream(broken.boxed())).send().await;
    assert_eq!(code(sent), Code::BadRequest);
    assert_eq!(bench.get(b"k").await, b"before");
}

#[tokio::test]
async fn parts_are_what_was_asked_for() {
    let bench = Bench::new();
    let value = noise(700_000);
    bench.put(b"k", value.clone()).await;
    let ask = async |range: &str| bench.client.get(at(b"k")).header(header::RANGE, range).send().await;
    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=100-600099", 100, 600_100), ("bytes=-5", 699_995, 700_000)]
    {
        let answer = ask(range).await.expect("a part");
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.header("content-range"), Some(format!("bytes {from}-{}/700000", to - 1).as_str()));
        assert!(answer.bytes().await.expect("whole") == value[from..to], "{range}");
    }
    assert_eq!(code(ask("bytes=700000-").await), Code::BadRange);
    assert_eq!(ask("bytes=9-2").await.expect("the whole").status, StatusCode::OK);
}

#[tokio::test]
async fn head_tells_and_sends_nothing() {
    let bench = Bench::new();
    let written = bench.put(b"a.png", "12345").await;
    let answer = bench.client.head(at(b"a.png")).send().await.expect("there");
    assert_eq!(answer.size(), Some(5));
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", written.entry).as_str()));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("lattice-conflict"), Some("0"));
    assert_eq!(answer.header("lattice-heads"), Some(written.entry.as_str()));
    assert!(answer.bytes().await.expect("nothing").is_empty());
}

#[tokio::test]
async fn preconditions_hold_or_nothing_happens() {
    let bench = Bench::new();
    let absent = async |value: &'static str| {
        let request = bench.client.put(at(b"k")).header(header::IF_NONE_MATCH, "*");
        request.body(Body::from(value)).send().await
    };
    let matching = async |tag: &str, value: &'static str| {
        let request = bench.client.put(at(b"k")).header(header::IF_MATCH, &format!("\"{tag}\""));
        request.body(Body::from(value)).send().await
    };
    assert_eq!(code(matching("00", "x").await), Code::Precondition);
    let first: Written = absent("1").await.expect("made").json().await.expect("a document");
    assert_eq!(code(absent("2").await), Code::Precondition);
    let second: Written = matching(&first.entry, "2").await.expect("put").json().await.expect("a document");
    assert_eq!(code(matching(&first.entry, "3").await), Code::Precondition);
    assert_eq!(bench.get(b"k").await, b"2");
    let stale =
        bench.client.delete(at(b"k")).header(header::IF_MATCH, &format!("\"{}\"", first.entry)).send().await;
    assert_eq!(code(stale), Code::Precondition);
    let fresh =
        bench.client.delete(at(b"k")).header(header::IF_MATCH, &format!("\"{}\"", second.entry)).send().await;
    fresh.expect("deleted");
    assert_eq!(code(bench.client.get(at(b"k")).send().await), Code::NotFound);
    absent("again").await.expect("a deleted key is absent");
    let cached = bench.client.get(at(b"k")).header(header::IF_NONE_MATCH, "*").send().await;
    assert!(matches!(cached, Err(ClientError::Unexpected(_))), "304 has no body: {cached:?}");
}

#[tokio::test]
async fn earlier_versions_can_be_read_and_come_back() {
    let bench = Bench::new();
    let old = bench.put(b"k", noise(9000)).await;
    bench.put(b"k", "new").await;
    bench.client.delete(at(b"k")).send().await.expect("deleted");
    let read = bench.client.get(at(b"k")).query("version", &old.entry[..8]).send().await.expect("there");
    assert!(read.bytes().await.expect("whole") == noise(9000));
    let batch = Batch {
        ops: vec![BatchOp::Restore { key: "k".into(), key_base64: None, version: old.entry.clone() }],
    };
    bench.client.post("/stores/home/batch").json(&batch).expect("json").send().await.expect("restored");
    assert!(bench.get(b"k").await == noise(9000));
    let answer = bench.client.get("/stores/home/history/k").send().await.expect("there");
    let history: History = answer.json().await.expect("a document");
    let kinds: Vec<_> = history.versions.iter().map(|v| (v.kind.as_str(), v.size, v.winner)).collect();
    assert_eq!(
        kinds,
        [("file", 9000, true), ("deleted", 0, false), ("file", 3, false), ("file", 9000, false)]
    );
    let none = bench.client.get(at(b"k")).query("version", "abcd").send().await;
    assert_eq!(code(none), Code::NoSuchVersion);
    assert_eq!(code(bench.client.get(at(b"k")).query("version", "zz").send().await), Code::BadVersion);
}

#[tokio::test]
async fn a_batch_happens_whole_or_not_at_all() {
    let bench = Bench::new();
    bench.put(b"there", "x").await;
    let put = |key: &str, if_absent| BatchOp::Put {
        key: key.into(),
        key_base64: None,
        value: Some("v".into()),
        value_base64: None,
        if_match: None,
        if_absent,
    };
    let send =
        async |ops| bench.client.post("/stores/home/batch").json(&Batch { ops }).expect("json").send().await;
    assert_eq!(code(send(vec![put("new", true), put("there", true)]).await), Code::Precondition);
    assert_eq!(code(bench.client.get(at(b"new")).send().await), Code::NotFound);
    let moved = BatchOp::Rename {
        key: "there".into(),
        key_base64: None,
        to: String::new(),
        to_base64: Some("ZGly/w==".into()),
        no_replace: true,
    };
    send(vec![put("new", true), moved]).await.expect("both");
    assert_eq!(bench.get(b"new").await, b"v");
    assert_eq!(bench.get(b"dir\xff").await, b"x");
    assert_eq!(code(send(vec![]).await), Code::BadRequest);
}

#[tokio::test]
async fn a_directory_goes_with_all_that_is_in_it() {
    let bench = Bench::new();
    for key in [&b"d/a"[..], b"d/e/f", b"dx"] {
        bench.put(key, "v").await;
    }
    assert_eq!(code(bench.client.delete(at(b"d")).send().await), Code::IsADirectory);
    assert_eq!(code(bench.client.get(at(b"d")).send().await), Code::IsADirectory);
    let put = bench.client.put(at(b"d")).body(Body::from("v")).send().await;
    assert_eq!(code(put), Code::IsADirectory);
    let put = bench.client.put(at(b"dx/y")).body(Body::from("v")).send().await;
    assert_eq!(code(put), Code::NotADirectory);
    bench.client.delete(at(b"d")).query("recursive", "true").send().await.expect("removed");
    let left: Vec<String> = bench.list(b"", "", 10).await.into_iter().map(|k| k.key.key).collect();
    assert_eq!(left, ["dx"]);
}
