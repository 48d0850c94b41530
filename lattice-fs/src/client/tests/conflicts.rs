//! Two authors, a bundle crosswise, and what comes of it.

use axum::body::Body;
use axum::http::header;

use super::{Bench, at, code};
use crate::http::model::{ConflictDoc, ConflictList, ImportDoc, Resolve};
use crate::http::problem::Code;

/// Carries everything of `from` over to `to`.
async fn carry(from: &Bench, to: &Bench) -> ImportDoc {
    let bundle =
        from.client.get("/stores/home/export").send().await.expect("an export").bytes().await.expect("whole");
    let answer = to.client.post("/import").body(Body::from(bundle)).send().await.expect("imported");
    answer.json().await.expect("a document")
}

/// Two nodes with the store `home` of the first, and a conflict at `dir/k`.
async fn in_conflict() -> (Bench, Bench) {
    let (a, b) = (Bench::new(), Bench::new());
    b.client.delete("/stores/home").send().await.expect("deleted");
    a.put(b"dir/k", "base").await;
    carry(&a, &b).await;
    a.put(b"dir/k", "from a").await;
    b.put(b"dir/k", vec![b'b'; 5000]).await;
    let (there, back) = (carry(&a, &b).await, carry(&b, &a).await);
    assert_eq!((there.new_entries, there.conflicts), (1, 1));
    assert_eq!((back.new_entries, back.conflicts), (1, 1));
    (a, b)
}

async fn conflicts(bench: &Bench, below: &str) -> Vec<ConflictDoc> {
    let answer =
        bench.client.get("/stores/home/conflicts").query("below", below).send().await.expect("a list");
    answer.json::<ConflictList>().await.expect("a document").conflicts
}

#[tokio::test]
async fn both_see_the_same_conflict_and_one_tag() {
    let (a, b) = in_conflict().await;
    let (of_a, of_b) = (conflicts(&a, "").await, conflicts(&b, "dir").await);
    assert_eq!(serde_json::to_value(&of_a).expect("json"), serde_json::to_value(&of_b).expect("json"));
    let heads = &of_a[0].heads;
    assert_eq!((heads.len(), heads[0].winner, heads[1].winner), (2, true, false));
    assert!(conflicts(&a, "other").await.is_empty());
    assert_eq!(a.get(b"dir/k").await, b.get(b"dir/k").await);
    let head = a.client.head(at(b"dir/k")).send().await.expect("there");
    assert_eq!(head.header("lattice-conflict"), Some("2"));
    assert_eq!(head.header("etag"), Some(of_a[0].etag.as_str()));
    assert_eq!(head.header("lattice-heads").map(|h| h.split(", ").count()), Some(2));
    for h in heads {
        let read =
            a.client.get(at(b"dir/k")).query("version", &h.entry).send().await.expect("both are readable");
        assert_eq!(read.size(), Some(h.size));
    }
}

#[tokio::test]
async fn picking_a_version_settles_it_everywhere() {
    let (a, b) = in_conflict().await;
    let loser = conflicts(&a, "").await[0].heads[1].clone();
    let pick = Resolve { pick: loser.entry[..10].into() };
    let route = "/stores/home/conflicts/dir/k";
    a.client.post(route).json(&pick).expect("json").send().await.expect("settled");
    assert!(conflicts(&a, "").await.is_empty());
    assert_eq!(a.get(b"dir/k").await.len() as u64, loser.size);
    assert_eq!(carry(&a, &b).await.conflicts, 0);
    assert_eq!(b.get(b"dir/k").await, a.get(b"dir/k").await);
    let wrong = Resolve { pick: "0000".into() };
    assert_eq!(code(a.client.post(route).json(&wrong).expect("json").send().await), Code::NoSuchVersion);
}

#[tokio::test]
async fn a_merged_text_replaces_exactly_what_was_seen() {
    let (a, _) = in_conflict().await;
    let seen = conflicts(&a, "").await[0].etag.clone();
    let merge = async |tag: &str| {
        let request = a.client.put(at(b"dir/k")).header(header::IF_MATCH, tag);
        request.body(Body::from("merged")).send().await
    };
    merge(&seen).await.expect("settled");
    assert!(conflicts(&a, "").await.is_empty());
    assert_eq!(a.get(b"dir/k").await, b"merged");
    assert_eq!(code(merge(&seen).await), Code::Precondition);
}
