//! A revocation by a machine that hadn't seen what the revoked one wrote last: what a third shows of that is taken back, also
//! from its kernel's caches.

use crate::daemon::{eventually, names};
use crate::two;

#[test]
fn a_file_whose_version_counts_no_more_reads_anew_on_a_third_machine() {
    let Some((a, b)) = two() else { return };
    let c = a.invite().expect("a third machine");
    c.write("plan", "first").expect("written");
    for machine in [&a, &b] {
        machine.reads("plan", "first").expect("read");
    }
    a.stop().expect("stopped");
    c.write("plan", "second, and longer").expect("written");
    c.write("late", "x").expect("written");
    b.reads("plan", "second, and longer").expect("read");
    b.reads("late", "x").expect("read");
    let keys = || {
        let text = std::fs::read_to_string(b.path(".lattice/status")).expect("a status");
        let line = text.lines().find(|l| l.starts_with("keys ")).expect("a line").to_owned();
        let status = b.json(&["status"]).expect("status");
        (line.split_whitespace().nth(1).map(str::to_owned), status["stores"][0]["open"]["live_keys"].as_u64())
    };
    assert_eq!(keys(), (Some("2".into()), Some(2)));
    let revoked = c.json(&["status"]).expect("status")["node"].as_str().expect("an id").to_owned();
    // Without a daemon, which would take in what it lacks first.
    a.lattice(["peer", "revoke", &revoked]).ok().expect("revoked");
    a.mounts().expect("mounted again");
    b.reads("plan", "first").expect("read anew");
    eventually("the end of a name", || names(b.path("").as_path()) == ["plan"]).expect("it goes");
    assert!(!b.path("late").exists());
    assert_eq!(keys(), (Some("1".into()), Some(1)));
}
