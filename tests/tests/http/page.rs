//! The web page's way in, and what a browser is told of it.

use serde_json::json;

use lattice_tests::fixture::{Answer, Http};

use crate::events::Stream;
use crate::served::{Served, at};

/// Signs in by a new link; gives the cookie and the CSRF token.
fn sign_in(served: &Served) -> (String, String) {
    let link = served.peer.json(["web"]).expect("a link");
    let url = link["url"].as_str().expect("a URL");
    let (page, code) = url.split_once('#').expect("a code behind the #");
    assert_eq!(page, format!("http://{}/signin", served.nobody.at));
    let answer = served.nobody.post("/session", &json!({ "code": code })).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let again = served.nobody.post("/session", &json!({ "code": code })).expect("an answer");
    assert_eq!(
        (again.status, again.problem().expect("a problem")),
        (401, "unauthenticated".into()),
        "used up"
    );
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    (pair, answer.json().expect("JSON")["csrf"].as_str().expect("a token").to_owned())
}

fn send(http: &Http, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http.send(method, path, headers, b"").expect("an answer")
}

#[test]
fn a_link_signs_one_browser_in_and_its_cookie_alone_changes_nothing() {
    let served = Served::new();
    let (cookie, csrf) = sign_in(&served);
    let with = |method: &str, path: &str, more: &[(&str, &str)]| {
        send(&served.nobody, method, path, &[&[("Cookie", cookie.as_str())], more].concat())
    };
    assert_eq!(with("GET", "/v1/session", &[]).json().expect("JSON")["csrf"], csrf.as_str());
    assert_eq!(with("GET", "/status", &[]).status, 200);
    let refused = with("PUT", &at("x"), &[]);
    assert_eq!((refused.status, refused.problem().expect("a problem")), (403, "csrf".into()));
    assert_eq!(with("PUT", &at("x"), &[("X-Lattice-CSRF", "wrong")]).status, 403);
    assert_eq!(with("PUT", &at("x"), &[("X-Lattice-CSRF", &csrf)]).status, 201);
    assert_eq!(with("GET", &at("x"), &[("Sec-Fetch-Site", "same-site")]).status, 403, "another port's page");
    assert_eq!(with("GET", &at("x"), &[("Sec-Fetch-Site", "same-origin")]).status, 200);
    let foreign = with("GET", &at("x"), &[("Origin", "http://localhost:1")]);
    assert_eq!((foreign.status, foreign.problem().expect("a problem")), (403, "foreign-origin".into()));
    assert_eq!(with("POST", "/shutdown", &[("X-Lattice-CSRF", &csrf)]).status, 403, "local alone");
    assert_eq!(with("DELETE", "/session", &[("X-Lattice-CSRF", &csrf)]).status, 204);
    assert_eq!(with("GET", "/session", &[]).status, 401);
    assert!(!served.peer.log().contains(&csrf) && !served.peer.log().contains(&cookie[20..]));
    served.passed();
}

#[test]
fn an_event_stream_ends_with_its_session() {
    let served = Served::new();
    let (cookie, csrf) = sign_in(&served);
    let mut stream = Stream::open(&served.nobody, &[("Cookie", &cookie)]);
    served.admin.put(&at("a"), "1").expect("put");
    assert_eq!(stream.next().expect("an event").0, "entry");
    let signed_in = [("Cookie", cookie.as_str()), ("X-Lattice-CSRF", &csrf)];
    assert_eq!(send(&served.nobody, "DELETE", "/session", &signed_in).status, 204);
    served.admin.put(&at("secret"), "1").expect("put");
    let (event, _, data) = stream.next().expect("its end is told");
    assert!(event == "error" && !data.contains("secret"), "{event} {data}");
    assert_eq!(stream.next(), None);
    served.passed();
}

#[test]
fn a_browser_that_was_led_astray_gets_nothing() {
    let served = Served::new();
    let whom = served.admin.as_whom.clone().expect("a token");
    for host in ["evil.example", "evil.example:4780", "localhost.evil.example", "192.0.2.1"] {
        for path in ["/", "/stores", "/health/live", "/session"] {
            let answer = send(&served.nobody, "GET", path, &[("Host", host), ("Authorization", &whom)]);
            assert_eq!(
                (answer.status, answer.problem().expect("a problem")),
                (421, "wrong-host".into()),
                "{host} {path}"
            );
        }
    }
    let origin = [("Origin", "https://evil.example"), ("Authorization", whom.as_str())];
    let answer = send(&served.nobody, "PUT", &at("x"), &origin);
    assert_eq!((answer.status, answer.problem().expect("a problem")), (403, "foreign-origin".into()));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let preflight = send(&served.nobody, "OPTIONS", &at("x"), &[("Origin", "https://evil.example")]);
    assert_eq!(preflight.status, 403);
    assert_eq!(served.admin.get(&at("x")).expect("an answer").status, 404);
    served.passed();
}

#[test]
fn an_origin_that_was_let_in_may_use_a_token() {
    let served = Served::with(&["--http-origin", "https://app.example", "--http-host", "nas.example"]);
    let whom = served.admin.as_whom.clone().expect("a token");
    let origin = ("Origin", "https://app.example");
    let preflight = send(&served.nobody, "OPTIONS", &at("x"), &[origin]);
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (204, Some("https://app.example"))
    );
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    let answer =
        send(&served.nobody, "PUT", &at("x"), &[origin, ("Authorization", &whom), ("Host", "nas.example")]);
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (201, Some("https://app.example"))
    );
    assert_eq!(send(&served.nobody, "GET", &at("x"), &[origin]).status, 401, "a token all the same");
    served.passed();
}

#[test]
fn the_page_is_served_to_everybody_and_runs_nothing_but_itself() {
    let served = Served::new();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/signin", "text/html; charset=utf-8"),
        ("/signin.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = served.nobody.get(path).expect("an answer");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let csp = answer.header("content-security-policy").expect("a policy");
        assert!(csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let tag = served.nobody.get("/").expect("an answer").header("etag").expect("a tag").to_owned();
    assert_eq!(send(&served.nobody, "GET", "/", &[("If-None-Match", &tag)]).status, 304);
    for (path, word) in [("/health/live", "live"), ("/v1/health/ready", "ready")] {
        assert_eq!(served.nobody.get(path).expect("an answer").json().expect("JSON")["status"], word);
    }
    // Somebody's file is not a part of it.
    served.admin.put(&at("evil.html"), "<script>alert(1)</script>").expect("put");
    let value = served.admin.get(&at("evil.html")).expect("got");
    assert_eq!(value.header("content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(value.header("x-content-type-options"), Some("nosniff"));
    served.passed();
}

#[test]
fn metrics_are_told_to_who_may_see_the_node() {
    let served = Served::new();
    served.admin.put(&at("x"), "1").expect("put");
    assert_eq!(served.nobody.get("/metrics").expect("an answer").status, 401);
    assert_eq!(served.with_token(&["--store", "home"]).get("/metrics").expect("an answer").status, 403);
    let text = served.with_token(&[]).get("/metrics").expect("an answer").text();
    let id = served.admin.get("/stores/home").expect("shown").json().expect("JSON")["id"].to_string();
    for line in [format!("lattice_store_live_keys{{store={id},name=\"home\"}} 1"), "lattice_mounts 0".into()]
    {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("lattice_http_answers_total{class=\"2xx\"}"), "{text}");
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(name.starts_with("lattice_") && value.parse::<u64>().is_ok(), "{line}");
    }
    served.passed();
}
