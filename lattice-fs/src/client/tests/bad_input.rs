//! Every refusal is a problem document with a code of its own, and changes nothing.

use axum::body::Body;

use super::{Bench, at, code};
use crate::http::model::{NameDoc, StoreList};
use crate::http::problem::Code;

#[tokio::test]
async fn what_is_not_a_key_is_refused() {
    let bench = Bench::new();
    let long = "n".repeat(256);
    let deep = "ab/".repeat(1400) + "x";
    for key in ["a//b", "a/", "../x", "a/./b", ".lattice/ctl", "a/.lattice", "nul\0", &long, &deep] {
        for request in
            [bench.client.get(at(key.as_bytes())), bench.client.put(at(key.as_bytes())).body(Body::from("v"))]
        {
            assert_eq!(code(request.send().await), Code::BadKey, "{key:?}");
        }
    }
    assert!(bench.list(b"", "", 10).await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let bench = Bench::new();
    let get = async |path: &str| code(bench.client.get(path).send().await);
    assert_eq!(get("/stores/nowhere").await, Code::NoSuchStore);
    assert_eq!(get("/stores/nowhere/keys").await, Code::NoSuchStore);
    assert_eq!(get("/stores/%FF/keys").await, Code::NoSuchStore);
    assert_eq!(get("/stores/home/keys/x").await, Code::NotFound);
    assert_eq!(get("/stores/home/history/x").await, Code::NotFound);
    assert_eq!(get("/stores/home/conflicts/x").await, Code::NotFound);
    assert_eq!(get("/nothing").await, Code::NoRoute);
    assert_eq!(get("/v1/nothing").await, Code::NoRoute);
    assert_eq!(code(bench.client.delete(at(b"x")).send().await), Code::NotFound);
    assert_eq!(code(bench.client.put("/stores").send().await), Code::MethodNotAllowed);
    assert_eq!(code(bench.client.put("/v1/stores").send().await), Code::MethodNotAllowed);
    assert_eq!(code(bench.client.post("/shutdown").send().await), Code::NoDaemon);
}

#[tokio::test]
async fn what_can_t_be_understood_is_refused() {
    let bench = Bench::new();
    for (path, why) in [
        ("/stores/home/keys?limit=many", Code::BadRequest),
        ("/stores/home/keys?delimiter=x", Code::BadRequest),
        ("/stores/home/keys?cursor=%21", Code::BadCursor),
        ("/stores/home/entries?since=yesterday", Code::BadCursor),
        ("/stores/home/events?since=yesterday", Code::BadCursor),
    ] {
        assert_eq!(code(bench.client.get(path).send().await), why, "{path}");
    }
    let post = async |path: &str, body: &'static str| {
        let request = bench.client.post(path).header(axum::http::header::CONTENT_TYPE, "application/json");
        code(request.body(Body::from(body)).send().await)
    };
    assert_eq!(post("/stores", "{").await, Code::BadRequest);
    assert_eq!(post("/stores", "{\"name\":\"x\",\"colour\":1}").await, Code::BadRequest);
    assert_eq!(post("/stores/home/batch", "{\"ops\":[{\"op\":\"explode\"}]}").await, Code::BadRequest);
    assert_eq!(
        post("/stores/home/batch", "{\"ops\":[{\"op\":\"put\",\"key\":\"k\"}]}").await,
        Code::BadRequest
    );
    assert_eq!(post("/stores/home/gc?keep=some", "").await, Code::BadRequest);
}

#[tokio::test]
async fn names_of_stores_are_unique_and_plain() {
    let bench = Bench::new();
    let create = async |name: &str| {
        let request = bench.client.post("/stores").json(&NameDoc { name: name.into() });
        request.expect("json").send().await
    };
    assert_eq!(code(create("home").await), Code::NameTaken);
    for name in ["", "a/b", ".", "..", "a\0b"] {
        assert_eq!(code(create(name).await), Code::BadName, "{name:?}");
    }
    create("other").await.expect("made");
    let rename = bench.client.patch("/stores/other").json(&NameDoc { name: "home".into() });
    assert_eq!(code(rename.expect("json").send().await), Code::NameTaken);
    let rename = bench.client.patch("/stores/other").json(&NameDoc { name: "third".into() });
    rename.expect("json").send().await.expect("renamed");
    bench.client.delete("/stores/third").send().await.expect("deleted");
    assert_eq!(code(bench.client.get("/stores/third").send().await), Code::NoSuchStore);
    let list: StoreList =
        bench.client.get("/stores").send().await.expect("a list").json().await.expect("a document");
    assert_eq!(list.stores.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["home"]);
    let by_id = format!("/v1/stores/{}/keys", &list.stores[0].id[..8]);
    bench.client.get(by_id).send().await.expect("found by a prefix of its id");
}

#[tokio::test]
async fn a_bundle_with_any_bit_flipped_is_refused() {
    let (from, to) = (Bench::new(), Bench::new());
    from.put(b"k", "small").await;
    from.put(b"l", (0..60_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).await;
    let bundle =
        from.client.get("/stores/home/export").send().await.expect("an export").bytes().await.expect("whole");
    let import = async |bytes: Vec<u8>| to.client.post("/import").body(Body::from(bytes)).send().await;
    for at in (0..bundle.len()).step_by(bundle.len() / 40 + 1) {
        let mut bad = bundle.to_vec();
        bad[at] ^= 0x10;
        let refused = code(import(bad).await);
        assert!(
            [Code::Refused, Code::BadName, Code::Damaged, Code::BadRequest].contains(&refused),
            "{at}: {refused:?}"
        );
    }
    let half = code(import(bundle[..bundle.len() / 2].to_vec()).await);
    assert!([Code::Refused, Code::Damaged].contains(&half), "half a bundle: {half:?}");
    let none = code(import(b"not a bundle at all".to_vec()).await);
    assert!([Code::Refused, Code::Damaged].contains(&none), "no bundle: {none:?}");
    import(bundle.to_vec()).await.expect("the good one");
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_data() {
    let bench = Bench::new();
    let e = lattice_engine::node::Node::open(&bench.dir.path().join("data")).expect_err("locked");
    let problem = crate::http::problem::Problem::from(e);
    assert_eq!(problem.code, Code::Locked);
    assert!(problem.detail.contains(&std::process::id().to_string()), "{problem}");
}
