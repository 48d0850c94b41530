//! What commands say and do where a daemon runs already: one that hangs.

use lattice_tests::fixture::{Machine, Peer, needs};
use rustix::process::Signal;

const TIMED_OUT: i32 = 24;

fn bare() -> Peer {
    let peer = Peer::bare(&Machine::Loopback, "ada").expect("a node");
    peer.lattice(["init", "--store", "home"]).ok().expect("init");
    peer
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
        &["put", "home:f", "new"],
        &["peer", "ping"],
        &["log", "home"],
        &["store", "export", "home", out.to_str().expect("UTF-8")],
        &["store", "import", &bundle],
        &["mount", "home", dir],
        &["unmount", "--all"],
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
    peer.signal(Signal::CONT).expect("it runs");
    assert_eq!(std::fs::read(file).expect("it goes on"), b"text");
    peer.passed();
}
