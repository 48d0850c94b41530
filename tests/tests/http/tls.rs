//! Where it may listen, and with what.

use lattice_tests::fixture::{Cmd, Machine, Peer, have};

#[test]
fn where_others_can_read_along_it_takes_tls_or_a_proxy() {
    let mut peer = Peer::bare(&Machine::Loopback, "A").expect("a scratch directory");
    peer.lattice(["init"]).ok().expect("initialised");
    let refused = peer.lattice(["serve", "--http", "0.0.0.0:0"]).run().expect("it runs");
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--tls-cert") && refused.stderr.contains("--http-behind-proxy"),
        "{}",
        refused.stderr
    );
    let missing = ["serve", "--http", "0.0.0.0:0", "--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"];
    let refused = peer.lattice(missing).run().expect("it runs");
    assert!(refused.code() == 1 && refused.stderr.contains("/nowhere/c"), "{}", refused.stderr);
    peer.serve_with(&["--http", "0.0.0.0:0", "--http-behind-proxy"]).expect("served");
    let status = peer.json(["status"]).expect("a status");
    assert!(status["http"].as_str().expect("a URL").starts_with("http://127.0.0.1:"), "{status}");
    peer.passed();
}

#[test]
fn a_certificate_in_files_makes_it_https() {
    if !have("openssl") || !have("curl") {
        println!("skipped: openssl or curl is not installed");
        return;
    }
    let mut peer = Peer::bare(&Machine::Loopback, "A").expect("a scratch directory");
    peer.lattice(["init", "--store", "home"]).ok().expect("initialised");
    let (cert, key) = (peer.beside("cert.pem"), peer.beside("key.pem"));
    let (cert, key) = (cert.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    make(cert, key);
    peer.serve_with(&[
        "--http",
        "127.0.0.1:0",
        "--http-host",
        "nas.example",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ])
    .expect("served");
    let status = peer.json(["status"]).expect("a status");
    let url = status["http"].as_str().expect("a URL").to_owned();
    assert!(url.starts_with("https://nas.example:"), "{url}");
    let port = url.rsplit(':').next().expect("a port");
    let token = peer.token(&["--scope", "rw"]).expect("a token");
    let curl = |url: &str| {
        let resolve = format!("nas.example:{port}:127.0.0.1");
        Cmd::new("curl")
            .args(["-sSf", "--cacert", cert, "--resolve", &resolve, "-u", &token, url])
            .run()
            .expect("it runs")
    };
    let answer = curl(&format!("{url}/stores"));
    assert!(answer.code() == 0 && answer.stdout.contains("home"), "{}", answer.stderr);
    assert_ne!(curl(&format!("{}/stores", url.replace("https", "http"))).code(), 0, "no plain HTTP there");
    // Renewed, a file after the other: the next connection is shown the new one.
    let before = std::fs::read(cert).expect("read");
    make(&format!("{cert}.new"), &format!("{key}.new"));
    std::fs::rename(format!("{cert}.new"), cert).expect("renamed");
    assert_ne!(curl(&format!("{url}/stores")).code(), 0, "still the old one, without the new key");
    std::fs::rename(format!("{key}.new"), key).expect("renamed");
    assert_ne!(std::fs::read(cert).expect("read"), before);
    let answer = curl(&format!("{url}/stores"));
    assert!(answer.code() == 0 && answer.stdout.contains("home"), "{}", answer.stderr);
    peer.passed();
}

/// A certificate for `nas.example`, and its key.
fn make(cert: &str, key: &str) {
    let made =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let of = ["-subj", "/CN=nas.example", "-addext", "subjectAltName=DNS:nas.example", "-keyout", key];
    Cmd::new("openssl").args(made).args(of).args(["-out", cert]).ok().expect("a certificate");
}
