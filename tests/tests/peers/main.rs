//! Two and more daemons on one machine, each with a home and a mount of its own, on loopback: what a person at each of
//! them sees. Needs root and /dev/fuse; skips with a reason elsewhere.

mod daemon;
mod on_demand;
mod revoked;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::{Machine, eventually, names};
use lattice_tests::fixture::needs;

/// Saves that are timed.
const SAVES: usize = 200;
/// Machines that join one after the other.
const JOINS: usize = 100;

pub fn two() -> Option<(Machine, Machine)> {
    if !needs(&[]) {
        return None;
    }
    let a = Machine::founder().expect("a founder");
    let b = a.invite().expect("another machine");
    Some((a, b))
}

#[test]
fn an_edit_on_one_machine_is_read_on_the_other_within_milliseconds() {
    let Some((a, b)) = two() else { return };
    a.write("x", "hello").expect("written");
    b.reads("x", "hello").expect("read on the other");
    b.write("dir-less", "and back").expect("written");
    a.reads("dir-less", "and back").expect("read on the first");
    let mut took: Vec<Duration> = (0..SAVES)
        .map(|i| {
            let text = format!("{i}");
            let began = Instant::now();
            a.write("x", &text).expect("written");
            b.reads("x", &text).expect("read on the other");
            began.elapsed()
        })
        .collect();
    took.sort();
    let (p50, p99) = (took[SAVES / 2], took[SAVES * 99 / 100]);
    println!("save to read on the other machine: p50 {p50:?}, p99 {p99:?}, max {:?}", took[SAVES - 1]);
    // On a quiet machine 20 and 100 ms are the goal (`scripts/bench`); here only that it doesn't wait for a timer.
    assert!(p50 < Duration::from_millis(200), "p50 {p50:?}");
    let synced = a.lattice(["sync", "home", "--wait-peers", "1"]).ok().expect("synced");
    assert!(synced.contains("held by 1 of 1"), "{synced}");
    assert_eq!(a.json(&["sync", "home"]).expect("a line")["type"], "synced");
    let began = Instant::now();
    let many = a.try_lattice(&["sync", "home", "--wait-peers", "5"]).expect("it runs");
    assert!(many.code() == 1 && many.stderr.contains("there is one other"), "{}", many.stderr);
    assert!(began.elapsed() < Duration::from_secs(10), "at once, not after a minute: {:?}", began.elapsed());
}

/// They are cut into chunks, and so become entries, after their close has returned.
#[test]
fn a_sync_right_behind_the_close_of_a_large_file_takes_it_along() {
    let Some((a, b)) = two() else { return };
    let bytes: Vec<u8> = (0..30_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for name in ["one", "two", "three"] {
        a.write(name, &bytes).expect("written");
        a.lattice(["sync", "home", "--wait-peers", "1"]).ok().expect("synced");
        b.lattice(["ls", &format!("home:{name}")])
            .ok()
            .expect("its entry is there when the sync has returned");
    }
}

/// Entries travel ahead of the bytes. Who holds the entries only doesn't hold the file.
#[test]
fn a_peer_counts_when_it_has_the_bytes_of_large_files_too() {
    let Some((a, b)) = two() else { return };
    let bytes = |seed: u32| -> Vec<u8> {
        (0..30_000_000u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    };
    let wait = |patience: &str| {
        a.try_lattice(&["--timeout", patience, "sync", "home", "--wait-peers", "1"]).expect("it runs")
    };
    // One that fetches nothing by itself has the entry, and counts until then.
    b.lattice(["store", "policy", "home", "on-demand"]).ok().expect("a policy");
    a.write("small", "in its entry").expect("written");
    let small = wait("20");
    assert_eq!(small.code(), 0, "{}", small.stderr);
    a.write("large", bytes(1)).expect("written");
    eventually("the entry", || b.path("large").exists()).expect("it comes");
    let early = wait("1");
    assert_eq!(early.code(), 24, "{}", early.stdout);
    assert!(early.stderr.contains("0 of the 1 peers hold"), "{}", early.stderr);
    let mut synced = [0; 64];
    let mut of = |file: PathBuf| {
        let n = rustix::fs::getxattr(file, "user.lattice.synced", &mut synced[..]).expect("an xattr");
        String::from_utf8_lossy(&synced[..n]).into_owned()
    };
    assert_eq!((&of(a.path("small"))[..6], &of(a.path("large"))[..6]), ("2 of 2", "1 of 2"));
    assert_eq!(&of(b.path("large"))[..6], "1 of 2", "who has not its bytes doesn't count itself either");
    b.lattice(["store", "policy", "home", "eager"]).ok().expect("a policy");
    let late = wait("20");
    assert_eq!(late.code(), 0, "{}", late.stderr);
    // And now all at once: whoever has waited may close the lid.
    a.write("larger", bytes(2)).expect("written");
    let done = wait("20");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    a.kill().expect("killed");
    for (name, seed) in [("large", 1), ("larger", 2)] {
        assert!(std::fs::read(b.path(name)).expect("a read without its peer") == bytes(seed), "{name}");
    }
}

#[test]
fn large_files_and_trees_come_whole() {
    let Some((a, b)) = two() else { return };
    let bytes: Vec<u8> = (0..20_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    a.write("large", &bytes).expect("written");
    eventually("the name", || b.path("large").exists()).expect("it comes");
    assert!(std::fs::read(b.path("large")).expect("a read that waits") == bytes);
    std::fs::create_dir_all(a.path("tree/deep")).expect("directories");
    for i in 0..500 {
        a.write(&format!("tree/deep/{i}"), format!("file {i}")).expect("written");
    }
    b.reads("tree/deep/499", "file 499").expect("the last one");
    eventually("all of them", || names(&b.path("tree/deep")).len() == 500).expect("they come");
}

#[test]
fn what_both_edit_apart_is_a_conflict_on_both_and_one_resolves_it() {
    let Some((a, b)) = two() else { return };
    a.write("plan", "as it was").expect("written");
    b.reads("plan", "as it was").expect("read");
    for machine in [&a, &b] {
        machine.stop().expect("stopped");
        machine.mounts_offline().expect("mounted without a network");
    }
    a.write("plan", "as a has it").expect("written");
    b.write("plan", "as b has it").expect("written");
    for machine in [&a, &b] {
        machine.stop().expect("stopped");
        machine.mounts().expect("mounted");
    }
    // Beside "base", what both come from.
    let versions = |m: &Machine| {
        let names = names(&m.path(".lattice/conflicts/plan"));
        names.iter().filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).count()
    };
    for machine in [&a, &b] {
        eventually("two versions", || versions(machine) == 2).expect("a conflict");
        let conflicts = machine.lattice(["conflicts", "home"]).ok().expect("conflicts");
        assert!(conflicts.contains("plan"), "{conflicts}");
    }
    let shown = std::fs::read(a.path("plan")).expect("the winner");
    assert_eq!(shown, std::fs::read(b.path("plan")).expect("the winner"), "the same on both");
    let listed = b.json(&["conflicts", "home"]).expect("conflicts");
    let pick =
        listed["stores"][0]["conflicts"][0]["heads"][1]["entry"].as_str().expect("an entry").to_owned();
    b.lattice(["resolve", "home:plan", "--pick", &pick]).ok().expect("resolved");
    for machine in [&a, &b] {
        eventually("no conflict", || versions(machine) == 0).expect("resolved on both");
    }
    let now = std::fs::read(a.path("plan")).expect("the one that was picked");
    assert!(now != shown && now == std::fs::read(b.path("plan")).expect("the same"));
}

#[test]
fn a_killed_daemon_catches_up_when_it_is_back() {
    let Some((a, b)) = two() else { return };
    a.write("before", "1").expect("written");
    b.reads("before", "1").expect("read");
    b.kill().expect("killed");
    a.write("while-away", "2").expect("written");
    let began = Instant::now();
    b.mounts().expect("mounted again");
    b.reads("while-away", "2").expect("caught up");
    println!("killed and started again: level {:?} after the start", began.elapsed());
    b.write("back", "3").expect("written");
    a.reads("back", "3").expect("read");
    a.kill().expect("killed");
    b.write("other-way", "4").expect("written");
    a.mounts().expect("mounted again");
    a.reads("other-way", "4").expect("caught up");
}

#[test]
fn a_hundred_machines_join_one_after_the_other() {
    if !needs(&[]) {
        return;
    }
    let a = Machine::founder().expect("a founder");
    a.write("welcome", "to all").expect("written");
    let ticket = a.ticket(JOINS as u32).expect("a ticket");
    let mut took = Vec::new();
    for i in 0..JOINS {
        let b = Machine::bare().expect("a machine");
        let began = Instant::now();
        b.join(&ticket).unwrap_or_else(|e| panic!("join {i}: {e:#}"));
        took.push(began.elapsed());
        let got = b.lattice(["get", "home:welcome"]).ok().unwrap_or_else(|e| panic!("join {i}: {e:#}"));
        assert_eq!(got, "to all", "join {i}");
    }
    took.sort();
    println!("{JOINS} joins: p50 {:?}, max {:?}", took[JOINS / 2], took[JOINS - 1]);
    let late =
        Machine::bare().expect("a machine").lattice(["join", "-"]).input(ticket).run().expect("it runs");
    assert_eq!(late.code(), 12, "used up: {}", late.stderr);
}

#[test]
fn peers_are_listed_named_pinged_and_revoked() {
    let Some((a, b)) = two() else { return };
    let node = b.json(&["status"]).expect("status")["node"].as_str().expect("an id").to_owned();
    a.lattice(["peer", "name", &node[..8], "laptop"]).ok().expect("named");
    let us = a.json(&["status"]).expect("status")["node"].as_str().expect("an id").to_owned();
    let taken = a.try_lattice(&["peer", "name", &us, "laptop"]).expect("it runs");
    assert!(taken.code() == 1 && taken.stderr.contains("called \"laptop\" already"), "{}", taken.stderr);
    let listed = a.lattice(["peer", "list"]).ok().expect("a list");
    assert!(listed.contains("laptop") && listed.contains("connected"), "{listed}");
    // The name itself is an entry that the other has to get first.
    let mut pinged = String::new();
    let level = eventually("a level peer", || {
        pinged = a.lattice(["peer", "ping", "laptop"]).ok().expect("an answer");
        pinged.contains("level")
    });
    level.unwrap_or_else(|e| panic!("{e:#}: {pinged}"));
    assert!(pinged.contains("127.0.0.1"), "{pinged}");
    let nobody = a.try_lattice(&["peer", "ping", "nobody"]).expect("it runs");
    assert_eq!(nobody.code(), 20, "{}", nobody.stderr);
    a.write("x", "1").expect("written");
    b.reads("x", "1").expect("read");
    a.lattice(["peer", "revoke", "laptop"]).ok().expect("revoked");
    a.write("x", "2").expect("written");
    eventually("the end", || a.json(&["peer", "show", &node]).is_ok_and(|p| p["state"] == "revoked"))
        .expect("revoked");
    // Cut off before it could get the entry that says so, it is told by whoever cuts it off.
    let told = |args: &[&str]| {
        let done = b.try_lattice(args).expect("it runs");
        (done.code(), done.stdout + &done.stderr)
    };
    let knows = || told(&["peer", "list"]).1.contains("this node was revoked");
    eventually("the revoked node's knowing it", knows).expect("told");
    assert!(b.json(&["peer", "list"]).expect("JSON")["revoked"].is_string());
    for (args, code) in
        [(&["peer", "list"][..], 0), (&["status"], 0), (&["sync", "home"], 12), (&["peer", "ping"], 12)]
    {
        let (got, said) = told(args);
        assert!(got == code && said.contains("this node was revoked"), "{args:?}: {got}: {said}");
    }
    for args in [&["doctor"][..], &["status"], &["cat"]] {
        let said = match args {
            ["cat"] => std::fs::read_to_string(b.path(".lattice/status")).expect("a status"),
            args => told(args).1,
        };
        assert!(said.contains("this node was revoked") && said.contains("stays here"), "{args:?}: {said}");
        assert!(said.contains("join TICKET"), "{args:?} says what next: {said}");
    }
    assert!(told(&["status"]).1.contains("not shared"), "no store of its is just ok");
    b.write("late", "from the revoked").expect("it may write for itself");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_ne!(std::fs::read(b.path("x")).expect("its copy"), b"2", "the revoked gets nothing new");
        assert!(!a.path("late").exists(), "and what it writes doesn't count");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It knows it for good, without a network too.
    b.stop().expect("stopped");
    assert!(knows(), "{:?}", told(&["peer", "list"]));
}

#[test]
fn a_store_made_on_one_machine_appears_in_the_others_mount() {
    let Some((a, b)) = two() else { return };
    let all = b.path("../all");
    std::fs::create_dir(&all).expect("a directory");
    b.lattice(["mount"]).arg(&all).ok().expect("all stores mounted");
    a.lattice(["store", "create", "photos"]).ok().expect("created");
    eventually("the store", || all.join("photos").exists()).expect("it appears");
    a.lattice(["put", "photos:p", "1"]).ok().expect("put");
    eventually("its file", || std::fs::read(all.join("photos/p")).is_ok_and(|b| b == b"1"))
        .expect("it comes");
    a.lattice(["store", "rename", "photos", "pictures"]).ok().expect("renamed");
    eventually("its new name", || all.join("pictures/p").exists()).expect("it is renamed");
    a.lattice(["store", "delete", "pictures"]).ok().expect("deleted");
    eventually("its end", || !all.join("pictures").exists()).expect("it vanishes");
    b.lattice(["unmount"]).arg(&all).ok().expect("unmounted");
}

#[test]
fn joining_refuses_what_it_must() {
    let Some((a, b)) = two() else { return };
    let ticket = a.ticket(1).expect("a ticket");
    let stranger = Machine::founder().expect("another mesh");
    let elsewhere = stranger.ticket(1).expect("a ticket");
    let refused = |ticket: &str, says: &str| {
        let done = b.lattice(["join", "-"]).input(ticket).run().expect("it runs");
        assert!(done.code() == 1 && done.stderr.contains(says), "{}", done.stderr);
    };
    let refused_twice = || {
        refused(&ticket, "is a member of that mesh already, with 1 other");
        refused(&elsewhere, "is a member of a mesh already");
    };
    refused_twice();
    b.stop().expect("stopped");
    refused_twice();
    let alone = stranger.lattice(["join", "-"]).input(ticket.as_str()).run().expect("it runs");
    assert!(alone.code() == 1 && alone.stderr.contains("a daemon runs here already"), "{}", alone.stderr);
    let c = Machine::bare().expect("a machine");
    for (text, code) in [("nonsense", 2), (&ticket[..100], 2), ("", 2)] {
        let done = c.lattice(["join", "-"]).input(text).run().expect("it runs");
        assert_eq!(done.code(), code, "{text:?}: {}", done.stderr);
    }
    c.join(&ticket).expect("the ticket is still good");
}

/// The one that stays is dialling the one that has gone when it stops: nobody will ever answer that.
#[test]
fn stopping_leaves_no_error_in_the_log_whoever_is_there() {
    let Some((a, b)) = two() else { return };
    a.write("x", "1").expect("written");
    b.reads("x", "1").expect("read");
    for machine in [&b, &a] {
        machine.stop().expect("stopped");
        let log = machine.log();
        assert!(!log.contains("ERROR") && !log.contains("cut off"), "{log}");
    }
}
