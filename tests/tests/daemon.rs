//! What commands say and do where a daemon runs already: flags that it can't take over, and one that hangs.

use std::path::Path;

use lattice_tests::fixture::{Cmd, Finished, Http, Machine, Peer, binary, mounts_at, needs};
use rustix::process::Signal;

const USAGE: i32 = 2;
const TIMED_OUT: i32 = 24;

fn bare() -> Peer {
    let peer = Peer::bare(&Machine::Loopback, "ada").expect("a node");
    peer.lattice(["init", "--store", "home"]).ok().expect("init");
    peer
}

fn run(peer: &Peer, args: &[&str]) -> Finished {
    peer.lattice(args).run().expect("it ends")
}

/// It ends with this code and says each of `words` on standard error.
#[track_caller]
fn fails(peer: &Peer, args: &[&str], code: i32, words: &[&str]) {
    let done = run(peer, args);
    assert_eq!(done.code(), code, "{args:?}: {}", done.stderr);
    for word in words {
        assert!(done.stderr.contains(word), "{args:?} doesn't say {word:?}: {}", done.stderr);
    }
}

#[test]
fn a_flag_that_a_running_daemon_cannot_take_over_is_refused_by_name() {
    let mut peer = bare();
    peer.serve().expect("a daemon");
    let pid = peer.pid().expect("it runs").to_string();
    let dir = peer.place("").to_str().expect("UTF-8").to_owned();
    for flag in [
        &["--listen", "127.0.0.1:7"][..],
        &["--relay", "public"],
        &["--relay", "https://relay.example"],
        &["--offline"],
        &["--dns"],
        &["--no-mdns=false"],
    ] {
        let named = flag[0].split('=').next().expect("a name");
        let words = [named, "lattice serve --stop", pid.as_str()];
        fails(&peer, &[&["serve"], flag].concat(), USAGE, &words);
        let mount = ["mount", "home", dir.as_str()];
        fails(&peer, &[&mount, flag].concat(), USAGE, &words);
    }
    assert_eq!(mounts_at(Path::new(&dir)).expect("the mount table"), 0, "nothing was mounted");
    // What it has may be said again.
    let same =
        run(&peer, &["serve", "--listen", "127.0.0.1", "--no-mdns", "--relay", "off", "--http", "off"]);
    assert_eq!(same.code(), 0, "{}", same.stderr);
    fails(&peer, &["serve", "--stop", "--offline"], USAGE, &["--offline"]);
    peer.passed();
}

#[test]
fn http_is_added_to_a_daemon_that_runs_without_it() {
    let mut peer = bare();
    peer.serve().expect("a daemon");
    fails(&peer, &["serve", "--http", "192.0.2.1:0", "--http-behind-proxy"], 1, &["192.0.2.1"]);
    fails(&peer, &["serve", "--http", "0.0.0.0:0"], 1, &["--tls-cert"]);
    let added = run(&peer, &["serve", "--http", "127.0.0.1:0"]);
    assert_eq!(added.code(), 0, "{}", added.stderr);
    let status = peer.json(["status"]).expect("status");
    let url = status["http"].as_str().expect("HTTP is served");
    assert!(added.stderr.contains(url), "{}", added.stderr);
    let http = Http::at(url).expect("an address");
    assert_eq!(http.get("/health/ready").expect("it answers").status, 200);
    assert!(peer.lattice(["web"]).ok().expect("a link").starts_with(url));
    // And stays as it is from there on.
    assert_eq!(run(&peer, &["serve", "--http", "127.0.0.1:0"]).code(), 0, "the same");
    fails(&peer, &["serve", "--http", "127.0.0.1:1"], USAGE, &["--http doesn't hold", "127.0.0.1:0"]);
    fails(&peer, &["serve", "--http", "off"], USAGE, &["--http doesn't hold"]);
    peer.stop().expect("it ends cleanly");
    peer.passed();
}

#[test]
fn addresses_that_cannot_be_had_keep_a_daemon_from_starting() {
    let mut peer = bare();
    fails(&peer, &["serve", "--listen", "badaddr"], USAGE, &["badaddr", "no IP address"]);
    for relay in ["relay.example", "http://relay.example", "https://", "ftp://relay.example"] {
        fails(&peer, &["serve", "--relay", relay], USAGE, &["relay", "https://"]);
    }
    // Of nobody (RFC 5737), so not of this machine.
    fails(&peer, &["serve", "--listen", "192.0.2.1"], 1, &["cannot listen on 192.0.2.1", "--listen"]);
    assert!(peer.json(["status"]).expect("status")["daemon_pid"].is_null(), "no daemon runs");
    // One in the file may be away for a while: the stores are here all the same.
    let config = peer.lattice(["paths", "config_file"]).ok().expect("a path");
    std::fs::create_dir_all(Path::new(config.trim()).parent().expect("a directory")).expect("made");
    std::fs::write(config.trim(), "[network]\nlisten = \"192.0.2.1\"\n").expect("a file");
    let home = peer.home();
    let serve = Cmd::new(binary("lattice").expect("it is built")).arg("serve").env("LATTICE_HOME", home);
    let done = serve.env("LATTICE_OFFLINE", "").env("LATTICE_NO_MDNS", "1").run().expect("it ends");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let status = peer.json(["status"]).expect("status");
    assert!(status["network"].as_str().is_some_and(|why| why.contains("192.0.2.1")), "{status}");
    peer.passed();
}

/// Stopped, as one that hangs is: its socket takes connections, and nobody answers.
#[test]
fn a_daemon_that_hangs_is_found_out_by_every_command() {
    if !needs(&[]) {
        return;
    }
    let mut peer = bare();
    peer.mount().expect("a mount");
    peer.write("f", "text").expect("a file");
    let bundle = peer.beside("bundle");
    let bundle = bundle.to_str().expect("UTF-8").to_owned();
    peer.lattice(["store", "export", "home", &bundle]).ok().expect("an export");
    let (file, dir) = (peer.place("f"), peer.beside("m2"));
    std::fs::create_dir(&dir).expect("a directory");
    let (file, dir) = (file.to_str().expect("UTF-8"), dir.to_str().expect("UTF-8"));
    let out = peer.beside("out");
    peer.signal(Signal::STOP).expect("it runs");
    for args in [
        &["status"][..],
        &["put", "home:other", "new"],
        &["peer", "ping"],
        &["log", "home"],
        &["store", "export", "home", out.to_str().expect("UTF-8")],
        &["store", "import", &bundle],
        &["mount", "home", dir],
        &["unmount", dir],
        &["sync"],
        &["fsck"],
        &["gc"],
        &["watch", "home"],
        &["get", file],
        &["history", file],
    ] {
        let done = peer.lattice(["--timeout", "1"]).args(args).deadline(20).run().expect("it ends by itself");
        assert_eq!(done.code(), TIMED_OUT, "{args:?}: {}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains("1 s"), "{args:?}: {}", done.stderr);
    }
    let doctor = peer.lattice(["--timeout", "1", "doctor"]).deadline(20).run().expect("it ends by itself");
    assert_eq!(doctor.code(), 1, "{}", doctor.stdout);
    assert!(doctor.stdout.contains("no answer within 1 s"), "{}", doctor.stdout);
    // What it was asked meanwhile it may still do: but not leave a mount behind.
    std::fs::remove_dir(dir).expect("nothing is mounted there");
    peer.signal(Signal::CONT).expect("it runs");
    assert_eq!(std::fs::read(file).expect("it goes on"), b"text");
    peer.passed();
}
