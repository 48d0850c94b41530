//! What is wrong gets the right status with a problem document, and nothing is lost by it.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;

use lattice_tests::fixture::{Answer, read_answer};

use crate::served::{Served, at};

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem().expect("a problem document"))
}

#[test]
fn what_is_no_key_or_not_there_is_named() {
    let served = Served::new();
    let bad_key = (400, "bad-key".to_owned());
    let long = "n".repeat(300);
    let deep = "ab/".repeat(1400) + "x";
    for key in ["../x", "a/../b", "a/%2e%2e/b", "%00", "a%00b", "a//b", ".lattice/ctl", &long, &deep] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = served.admin.send(method, &at(key), &[], b"").expect("an answer");
            assert_eq!(told(&answer), bad_key, "{method} {key:.40}");
        }
    }
    let get = |path: &str| told(&served.admin.get(path).expect("an answer"));
    assert_eq!(get("/stores/nowhere/keys/x"), (404, "no-such-store".into()));
    assert_eq!(get("/stores/00000000-0000-8000-8000-000000000000/keys/x"), (404, "no-such-store".into()));
    assert_eq!(get(&at("x")), (404, "not-found".into()));
    assert_eq!(get("/nothing"), (404, "no-such-resource".into()));
    assert_eq!(get("/peers/%FF"), (400, "bad-request".into()));
    assert_eq!(get("/stores/home/keys?limit=-1"), (400, "bad-request".into()));
    assert_eq!(get(&format!("/stores?{}", "x".repeat(20_000))), (414, "uri-too-long".into()));
    let patch = served.admin.send("PATCH", &at("x"), &[], b"").expect("an answer");
    assert_eq!(told(&patch), (405, "method-not-allowed".into()));
    let json = [("Content-Type", "application/json")];
    for body in ["", "{", "[]", "{\"ops\":[]}", "{\"ops\":1}", "\u{0}"] {
        let answer =
            served.admin.send("POST", "/stores/home/batch", &json, body.as_bytes()).expect("an answer");
        assert_eq!(told(&answer), (400, "bad-request".into()), "{body}");
    }
    let keys = served.admin.get("/stores/home/keys").expect("a list").json().expect("JSON");
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(0), "nothing was made");
    served.passed();
}

#[test]
fn a_precondition_that_fails_changes_nothing() {
    let served = Served::new();
    let made = served.admin.put(&at("x"), "first").expect("put");
    let tag = made.header("etag").expect("a tag").to_owned();
    let put = |headers: &[(&str, &str)], body: &str| {
        served.admin.send("PUT", &at("x"), headers, body.as_bytes()).expect("an answer")
    };
    assert_eq!(told(&put(&[("If-None-Match", "*")], "no")), (412, "precondition-failed".into()));
    assert_eq!(told(&put(&[("If-Match", "\"0123\"")], "no")), (412, "precondition-failed".into()));
    assert_eq!(told(&put(&[("If-None-Match", "\"0123\"")], "no")), (400, "bad-request".into()));
    assert_eq!(put(&[("If-Match", &tag)], "second").status, 200);
    assert_eq!(
        told(&put(&[("If-Match", &tag)], "no")),
        (412, "precondition-failed".into()),
        "seen by nobody since"
    );
    let large = vec![0; 1 << 20];
    let answer = served.admin.send("PUT", &at("x"), &[("If-None-Match", "*")], &large).expect("an answer");
    assert_eq!(told(&answer), (412, "precondition-failed".into()));
    let delete = served.admin.send("DELETE", &at("x"), &[("If-Match", &tag)], b"").expect("an answer");
    assert_eq!(told(&delete), (412, "precondition-failed".into()));
    assert_eq!(served.admin.get(&at("x")).expect("got").body, b"second");
    served.passed();
}

#[test]
fn half_a_body_leaves_what_was_there() {
    let served = Served::new();
    served.admin.put(&at("x"), "whole").expect("put");
    for size in [10, 1 << 20] {
        let head = served.admin.head("PUT", &at("x"), &[], Some(size));
        let mut stream = served.admin.connect().expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&vec![b'h'; size as usize / 2]).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut rest = Vec::new();
        // An answer, or none: the sender has gone.
        let _gone = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(served.admin.get(&at("x")).expect("got").body, b"whole");
    }
    let chunked = served.admin.head("PUT", &at("x"), &[("Transfer-Encoding", "chunked")], None);
    let mut stream = BufReader::new(served.admin.connect().expect("a connection"));
    stream.get_mut().write_all(format!("{chunked}5\r\nwrong-\r\n0\r\n\r\n").as_bytes()).expect("sent");
    let answer = read_answer(&mut stream, "PUT").map(|a| a.status);
    assert!(answer.as_ref().map_or(true, |status| *status == 400), "{answer:?}");
    assert_eq!(served.admin.get(&at("x")).expect("got").body, b"whole");
    served.passed();
}

#[test]
fn a_body_over_the_limit_is_refused_before_and_while_it_comes() {
    let mut served = Served::new();
    served.admin.put(&at("x"), "whole").expect("put");
    served.peer.stop().expect("stopped");
    let config = served.peer.home().join("config");
    std::fs::create_dir_all(&config).expect("a directory");
    std::fs::write(config.join("config.toml"), "[http]\nmax_body = 100000\n").expect("written");
    let http = served.peer.serve_http(&[]).expect("served");
    let admin = http.by(served.admin.as_whom.as_ref().expect("a token").trim_start_matches("Bearer "));
    let answer = admin.put(&at("x"), vec![0; 100_001]).expect("an answer");
    assert_eq!(told(&answer), (413, "too-large".into()));
    let head = admin.head("PUT", &at("x"), &[("Transfer-Encoding", "chunked")], None);
    let mut stream = BufReader::new(admin.connect().expect("a connection"));
    stream.get_mut().write_all(head.as_bytes()).expect("sent");
    for _ in 0..20 {
        let chunk = [b"2710\r\n".as_slice(), &[b'c'; 10_000], b"\r\n"].concat();
        if stream.get_mut().write_all(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(told(&read_answer(&mut stream, "PUT").expect("an answer")), (413, "too-large".into()));
    assert_eq!(admin.get(&at("x")).expect("got").body, b"whole");
    assert_eq!(admin.put(&at("y"), vec![7; 100_000]).expect("put").status, 201, "as much as there may be");
    // Nobody yet, who may say a code of some letters and no more.
    let code = format!("{{\"code\":\"{}\"}}", "c".repeat(1100));
    let json = [("Content-Type", "application/json")];
    let answer = http.send("POST", "/session", &json, code.as_bytes()).expect("an answer");
    assert_eq!(told(&answer), (413, "too-large".into()));
    served.passed();
}

#[test]
fn a_range_outside_of_the_value_is_said_to_be() {
    let served = Served::new();
    served.admin.put(&at("x"), "0123456789").expect("put");
    let get = |range: &str| served.admin.send("GET", &at("x"), &[("Range", range)], b"").expect("an answer");
    let outside = get("bytes=10-");
    assert_eq!(told(&outside), (416, "range-not-satisfiable".into()));
    assert_eq!(outside.header("content-range"), Some("bytes */10"));
    for odd in ["bytes=5-2", "bytes=x-y", "lines=1-2", "bytes=", "bytes=0-1,4-5"] {
        let whole = get(odd);
        assert_eq!((whole.status, whole.body.len()), (200, 10), "{odd}: ignored, as RFC 9110 has it");
    }
    served.passed();
}

#[test]
fn what_is_no_http_ends_its_own_connection_alone() {
    let served = Served::new();
    let long = format!("GET /stores HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for bytes in ["\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}", "GET /stores HTTP/1.1\r\n\r\n", &long] {
        let mut stream = served.nobody.connect().expect("a connection");
        let _refused = stream.write_all(bytes.as_bytes());
        let _ended = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _gone = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{bytes:.40}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(served.admin.get("/stores").expect("an answer").status, 200);
    served.passed();
}
