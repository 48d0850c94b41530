//! Who gets in, how far, and until when.

use std::time::Duration;

use lattice_tests::fixture::{Http, Machine, Peer, until};
use serde_json::json;

use crate::served::{Served, at};

/// How long a change of the root store may take to the other node.
const PATIENCE: Duration = Duration::from_secs(30);

fn code(http: &Http, method: &str, path: &str) -> (u16, String) {
    let answer = http.send(method, path, &[], b"").expect("an answer");
    (answer.status, answer.problem().unwrap_or_default())
}

#[test]
fn without_a_token_nothing_is_told_but_that_one_is_needed() {
    let served = Served::new();
    served.admin.put(&at("a"), "secret").expect("put");
    let wanted = (401, "unauthenticated".to_owned());
    for (method, path) in [
        ("GET", "/stores"),
        ("GET", "/stores/home/keys/a"),
        ("HEAD", "/stores/home/keys/a"),
        ("PUT", "/stores/home/keys/a"),
        ("DELETE", "/stores/home/keys/a"),
        ("GET", "/v1/stores/home/keys"),
        ("POST", "/stores/home/batch"),
        ("GET", "/stores/home/events"),
        ("GET", "/status"),
        ("POST", "/shutdown"),
        ("POST", "/tokens"),
        ("GET", "/stores/nowhere"),
        ("GET", "/nothing/at/all"),
        ("PATCH", "/stores"),
    ] {
        let (status, problem) = code(&served.nobody, method, path);
        let problem = if method == "HEAD" { wanted.1.clone() } else { problem };
        assert_eq!((status, problem), wanted, "{method} {path}");
    }
    let told = served.nobody.get("/stores").expect("an answer");
    assert_eq!(told.header("www-authenticate"), Some("Bearer realm=\"lattice\""));
    assert_eq!(served.admin.get(&at("a")).expect("got").body, b"secret", "nothing was changed");
    served.passed();
}

#[test]
fn a_token_is_taken_in_each_form_and_a_wrong_one_in_none() {
    let served = Served::new();
    served.admin.put(&at("a"), "1").expect("put");
    let token = served.peer.token(&["--store", "home"]).expect("a token");
    let (id, secret) = token.split_once(':').expect("id:secret");
    let basic = data_encoding::BASE64.encode(token.as_bytes());
    let status = |value: &str| {
        let headers = [("Authorization", value)];
        served.nobody.send("GET", &at("a"), &headers, b"").expect("an answer").status
    };
    for value in [format!("Bearer {id}:{secret}"), format!("bearer {id}.{secret}"), format!("Basic {basic}")]
    {
        assert_eq!(status(&value), 200, "{}", &value[..10]);
    }
    let other = served.peer.token(&[]).expect("another token");
    let (_, other_secret) = other.split_once(':').expect("id:secret");
    let last = if secret.ends_with('A') { 'E' } else { 'A' };
    for value in [
        format!("Bearer {id}:{other_secret}"),
        format!("Bearer {id}:{}{last}", &secret[..42]),
        format!("Bearer {id}:{}", &secret[..42]),
        format!("Bearer {id}"),
        format!("Bearer 0000000000000000:{secret}"),
        "Bearer".into(),
        "Negotiate abc".into(),
    ] {
        assert_eq!(status(&value), 401, "{}", &value[..7]);
    }
    let query =
        served.nobody.get(&format!("{}?token={token}&access_token={token}", at("a"))).expect("an answer");
    assert_eq!(query.status, 401, "a token in a query is none");
    let log = served.peer.log();
    assert!(log.contains(id), "the log names the token that was refused");
    assert!(!log.contains(secret) && !log.contains(other_secret), "and no secret");
    served.passed();
}

#[test]
fn a_scope_a_store_and_a_prefix_are_where_it_ends() {
    let served = Served::new();
    for key in ["notes/a", "notes/sub/b", "notesnot", "secret"] {
        assert_eq!(served.admin.put(&at(key), key).expect("put").status, 201);
    }
    served.admin.put("/stores/other/keys/x", "x").expect("put");
    let reader = served.with_token(&["--store", "home"]);
    let below = served.with_token(&["--store", "home", "--prefix", "notes/", "--scope", "rw"]);
    let ok = |http: &Http, method: &str, path: &str| code(http, method, path).0 < 300;
    assert!(ok(&reader, "GET", &at("secret")) && ok(&reader, "GET", "/stores/home/stats"));
    assert_eq!(code(&reader, "PUT", &at("secret")), (403, "not-authorised".into()));
    assert_eq!(code(&reader, "DELETE", "/stores/home").0, 403);
    assert_eq!(code(&reader, "POST", "/tokens").0, 403);
    assert_eq!(code(&reader, "GET", "/status").0, 403, "one store is not the node");
    assert_eq!(code(&reader, "GET", "/stores/other/keys/x"), (404, "no-such-store".into()));
    assert_eq!(
        code(&reader, "GET", "/stores/nowhere/keys/x"),
        (404, "no-such-store".into()),
        "no difference"
    );
    let stores = reader.get("/stores").expect("a list").json().expect("JSON");
    assert_eq!(stores["stores"].as_array().map(Vec::len), Some(1));

    assert!(ok(&below, "GET", &at("notes/a")) && ok(&below, "PUT", &at("notes/new")));
    for key in ["secret", "notesnot", "nothing-there"] {
        for method in ["GET", "PUT", "DELETE"] {
            assert_eq!(code(&below, method, &at(key)), (403, "not-authorised".into()), "{method} {key}");
        }
        assert_eq!(code(&below, "GET", &format!("/stores/home/history/{key}")).0, 403);
        assert_eq!(code(&below, "GET", &format!("/stores/home/conflicts/{key}")).0, 403);
    }
    for path in ["/stores/home/stats", "/stores/home/export"] {
        assert_eq!(code(&below, "GET", path).0, 403, "{path} shows more than the prefix");
    }
    assert_eq!(below.get("/stores/home").expect("shown").json().expect("JSON").get("open"), None);
    let keys = |http: &Http, query: &str| -> Vec<String> {
        let list = http.get(&format!("/stores/home/keys?{query}")).expect("a list").json().expect("JSON");
        let keys = list["keys"].as_array().expect("keys").iter();
        keys.map(|k| k["key"].as_str().expect("a key").to_owned()).collect()
    };
    let all = ["notes", "notes/a", "notes/new", "notes/sub", "notes/sub/b"];
    assert_eq!(keys(&below, ""), all);
    assert_eq!(keys(&below, "prefix=n"), all);
    assert_eq!(keys(&below, "prefix=notesnot"), [""; 0]);
    assert_eq!(keys(&below, "prefix=secret"), [""; 0]);
    assert_eq!(keys(&below, "delimiter=/"), ["notes"]);
    assert_eq!(keys(&below, "delimiter=/&prefix=notes/"), ["notes/a", "notes/new", "notes/sub"]);
    let events = below.get("/stores/home/entries").expect("entries").text();
    assert!(events.contains("notes/sub/b") && !events.contains("secret") && !events.contains("notesnot"));
    let batch = |ops| below.post("/stores/home/batch", &json!({ "ops": ops })).expect("an answer").status;
    assert_eq!(batch(json!([{ "op": "put", "key": "notes/b", "value": "1" }])), 200);
    for ops in [
        json!([{ "op": "put", "key": "notes/c", "value": "1" }, { "op": "put", "key": "secret", "value": "1" }]),
        json!([{ "op": "rename", "key": "notes/b", "to": "stolen" }]),
        json!([{ "op": "rename", "key": "secret", "to": "notes/stolen" }]),
        json!([{ "op": "delete", "key": "secret" }]),
        json!([{ "op": "mkdir", "key": "made" }]),
        json!([{ "op": "restore", "key": "secret", "version": "0000000" }]),
    ] {
        assert_eq!(batch(ops.clone()), 403, "{ops}");
    }
    assert!(!keys(&served.admin, "").iter().any(|k| k.contains("stolen") || k == "made" || k == "notes/c"));
    served.passed();
}

#[test]
fn nobody_makes_a_token_that_can_do_more_than_their_own() {
    let served = Served::new();
    let made = |http: &Http, request| http.post("/tokens", &request).expect("an answer");
    let short = served.with_token(&["--scope", "admin", "--expires", "1h"]);
    let refused = made(&short, json!({ "scope": "ro" }));
    assert_eq!((refused.status, refused.problem().expect("a problem")), (403, "not-authorised".into()));
    let answer =
        made(&short, json!({ "scope": "rw", "store": "home", "expires_seconds": 60, "name": "child" }));
    assert_eq!(answer.status, 201);
    let json = answer.json().expect("JSON");
    let (id, secret) = (json["id"].as_str().expect("an id"), json["secret"].as_str().expect("a secret"));
    let child = served.nobody.by(&format!("{id}:{secret}"));
    assert_eq!(child.put(&at("x"), "1").expect("put").status, 201);
    let list = served.admin.get("/tokens").expect("a list");
    assert!(list.text().contains("child") && !list.text().contains(secret));
    for (request, status) in [
        (json!({ "scope": "root" }), 400),
        (json!({ "scope": "ro", "expires_seconds": 0 }), 400),
        (json!({ "scope": "ro", "store": "nowhere" }), 404),
        (json!({ "scope": "ro", "prefix": "a/../b" }), 400),
        (json!({ "scope": "ro", "colour": "red" }), 400),
    ] {
        assert_eq!(made(&served.admin, request.clone()).status, status, "{request}");
    }
    assert_eq!(code(&served.admin, "DELETE", &format!("/tokens/{id}")).0, 204);
    assert_eq!(code(&child, "GET", &at("x")).0, 401, "revoked at once");
    assert_eq!(code(&served.admin, "DELETE", "/tokens/0000000000000000"), (404, "no-such-token".into()));
    assert_eq!(code(&served.admin, "DELETE", "/tokens/x"), (404, "no-such-token".into()));
    for (method, path) in
        [("POST", "/shutdown"), ("POST", "/stay"), ("POST", "/mounts"), ("DELETE", "/mounts")]
    {
        assert_eq!(
            code(&served.admin, method, path),
            (403, "not-authorised".into()),
            "{method} {path} is local"
        );
    }
    served.passed();
}

#[test]
fn a_token_made_on_one_node_works_on_the_other_and_a_revocation_cuts_on_both() {
    let mut a = Peer::bare(&Machine::Loopback, "A").expect("a scratch directory");
    a.lattice(["init", "--store", "home"]).ok().expect("initialised");
    let at_a = a.serve_http(&[]).expect("served");
    let mut b = Peer::bare(&Machine::Loopback, "B").expect("a scratch directory");
    b.join_by(&a.invite().expect("a ticket")).expect("joined");
    b.stop().expect("stopped");
    let at_b = b.serve_http(&[]).expect("served");
    let token = a.token(&["--store", "home", "--scope", "rw"]).expect("a token");
    let (by_a, by_b) = (at_a.by(&token), at_b.by(&token));
    assert_eq!(by_a.put(&at("x"), "1").expect("put").status, 201);
    let works = || Ok((by_b.get(&at("x"))?.status == 200).then_some(()));
    until("the token works on B", PATIENCE, works).expect("it comes");
    let id = token.split(':').next().expect("an id");
    b.lattice(["token", "revoke", id]).ok().expect("revoked");
    assert_eq!(by_b.get(&at("x")).expect("an answer").status, 401, "there at once");
    let cut = || Ok((by_a.get(&at("x"))?.status == 401).then_some(()));
    until("the token ends on A", PATIENCE, cut).expect("it comes");
    // What a member has made ends with the member.
    let orphan = b.token(&["--scope", "admin"]).expect("a token");
    let works = || Ok((at_a.by(&orphan).get("/stores")?.status == 200).then_some(()));
    until("B's token works on A", PATIENCE, works).expect("it comes");
    a.lattice(["peer", "revoke", &b.id().expect("an id")]).ok().expect("revoked");
    assert_eq!(at_a.by(&orphan).get("/stores").expect("an answer").status, 401);
    a.passed();
    b.passed();
}

#[test]
fn guesses_are_slowed_down_and_others_are_not() {
    let served = Served::new();
    let token = served.peer.token(&["--store", "home"]).expect("a token");
    let other = served.with_token(&["--store", "home"]);
    let id = token.split(':').next().expect("an id");
    let guess = served.nobody.by(&format!("{id}:{}", "A".repeat(43)));
    let mut seen = Vec::new();
    for _ in 0..30 {
        let answer = guess.get("/stores").expect("an answer");
        seen.push(answer.status);
        if answer.status == 429 {
            assert_eq!(answer.problem().expect("a problem"), "too-many-failures");
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert_eq!(seen[..10], [401; 10]);
    assert!(seen[10..].iter().filter(|s| **s == 429).count() >= 15, "{seen:?}");
    assert_eq!(other.get("/stores").expect("an answer").status, 200, "another token is let in");
    assert_eq!(
        served.nobody.by(&token).get("/stores").expect("an answer").status,
        200,
        "and so is its holder"
    );
    served.passed();
}
