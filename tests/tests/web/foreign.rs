//! Pages of others get nothing: not by bending their name to our address (DNS rebinding), not by asking across sites, and
//! not by showing us in a frame. Nor does anybody without a session.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::browsers;
use crate::site::Site;

/// Serves an empty page, to whatever is asked, until the test ends. Each connection has its own thread: a browser also opens
/// some that it doesn't use yet, and the page mustn't wait behind them.
fn foreign() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || empty_page(&stream));
        }
    });
    at
}

fn empty_page(mut stream: &TcpStream) {
    let header = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let _lines = header.count();
    // A browser that has gone needs no answer.
    let _sent = stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 25\r\nConnection: close\r\n\r\n\
          <!doctype html><h1>x</h1>",
    );
}

/// Asks by script, and says what came of it: what could be read, or that nothing could.
fn ask(site: &Site, url: &str, init: &str) -> String {
    let js = format!(
        "fetch('{url}', {init}).then((r) => r.text().then((t) => r.status + ' ' + t), (e) => 'nothing: ' + e.name)"
    );
    site.page.eval(&js).expect("asked").as_str().expect("an answer").to_owned()
}

#[test]
fn a_page_that_bends_its_name_to_ours_gets_nothing() {
    if !browsers() {
        return;
    }
    let site = Site::start_where(&[("evil.example", "127.0.0.1")]).expect("a page");
    let port = site.url.rsplit(':').next().expect("a port");
    let evil = format!("http://evil.example:{port}");
    site.page.open(&format!("{evil}/")).expect("an answer");
    assert!(!site.page.text().expect("read").contains("Sign in"), "not even the page");
    for path in ["/", "/v1/stores", "/v1/session", "/v1/peers", "/health/ready", "/metrics"] {
        let got = ask(&site, &format!("{evil}{path}"), "{ credentials: 'include' }");
        assert!(got.starts_with("421 ") && !got.contains(&site.store), "{path}: {got}");
    }
    site.page.open("about:blank").expect("away");
    site.page.complaints();
    site.end();
}

#[test]
fn another_sites_page_reads_nothing_and_changes_nothing() {
    if !browsers() {
        return;
    }
    let site = Site::start_where(&[("other.example", "127.0.0.1")]).expect("a page");
    site.laptop.write("kept", "as it was").expect("written");
    let port = foreign().port();
    // The first is of another site; the second shares our address, so the browser sends it our cookie.
    for origin in [format!("http://other.example:{port}"), format!("http://127.0.0.1:{port}")] {
        site.page.open(&origin).expect("the foreign page");
        for path in
            ["/v1/stores".to_owned(), format!("/v1/stores/{}/keys/kept", site.store), "/v1/session".into()]
        {
            let got = ask(&site, &format!("{}{path}", site.url), "{ credentials: 'include' }");
            assert!(got.starts_with("nothing"), "{origin} reads {path}: {got}");
        }
        for (method, path, mode) in [
            ("POST", "/v1/stores", "no-cors"),
            ("POST", "/v1/invites", "no-cors"),
            ("PUT", &format!("/v1/stores/{}/keys/kept", site.store), "cors"),
            ("DELETE", &format!("/v1/stores/{}/keys/kept", site.store), "cors"),
        ] {
            let init = format!(
                "{{ method: '{method}', mode: '{mode}', credentials: 'include', \
                 body: {} }}",
                if method == "DELETE" { "undefined" } else { "'{\"name\":\"theirs\"}'" }
            );
            let got = ask(&site, &format!("{}{path}", site.url), &init);
            assert!(got.starts_with("nothing") || got == "0 ", "{origin} {method} {path}: {got}");
        }
        let framed = format!(
            "new Promise((done) => {{ const f = document.createElement('iframe'); f.onload = () => \
             {{ try {{ done(f.contentDocument ? 'read' : 'closed') }} catch {{ done('closed') }} }}; f.src = '{}/'; \
             document.body.append(f); }})",
            site.url
        );
        assert_eq!(site.page.eval(&framed).expect("framed"), "closed", "{origin}");
        // What a script tag, an image or a stylesheet would take without asking.
        let taken = format!(
            "new Promise((done) => {{ const s = document.createElement('script'); s.onload = () => done('ran'); \
             s.onerror = () => done('refused'); s.src = '{}/v1/stores'; document.body.append(s); }})",
            site.url
        );
        assert_eq!(site.page.eval(&taken).expect("asked"), "refused", "{origin}");
    }
    let stores = site.laptop.json(["store", "list"]).expect("stores");
    assert_eq!(stores["stores"].as_array().map(Vec::len), Some(1), "none was made: {stores}");
    assert_eq!(std::fs::read(site.laptop.place("kept")).expect("read"), b"as it was");
    site.page.open("about:blank").expect("away");
    site.page.complaints();
    site.end();
}

#[test]
fn without_a_session_there_is_nothing_but_the_way_to_sign_in() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let other = site.browser.page(true).expect("a page without a session");
    other.open(&format!("{}/#/store/{}/files/", site.url, site.store)).expect("the page");
    other.shows("lattice web").expect("it says how to sign in");
    let got = other.eval("fetch('/v1/stores').then((r) => r.status)").expect("asked");
    assert_eq!(got, 401);
    // The link that signed the first page in is used up.
    let again = site.laptop.lattice(["web"]).ok().expect("another link");
    let link = again.split_whitespace().find(|word| word.starts_with("http")).expect("a link");
    other.open(link).expect("used");
    other.shows("Overview").expect("signed in");
    let third = site.browser.page(true).expect("a third page");
    third.open(link).expect("used again");
    assert!(!third.text().expect("read").contains("Overview"), "a link works once");
    third.open(&site.url).expect("the page");
    third.shows("lattice web").expect("it isn't signed in");
    site.end();
}
