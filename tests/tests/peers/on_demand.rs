//! A store that is on demand on one machine: what is pinned is fetched, the rest when it is read, and who waits in vain can
//! be interrupted.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lattice_tests::fixture::needs;
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::daemon::{Machine, eventually};
use super::two;

const PIN: &str = "user.lattice.pin";
/// How soon a reader that gets a signal must be back. Without it, it would wait for half a minute.
const BACK: Duration = Duration::from_secs(3);

fn noise(len: u32, seed: u32) -> Vec<u8> {
    (0..len).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Bytes of the store's files that are here, and all of them.
fn here(machine: &Machine) -> Option<(u64, u64)> {
    let shown = machine.json(&["store", "show", "home"]).ok()?;
    let here = &shown["open"]["here"];
    Some((here["here"].as_u64()?, here["bytes"].as_u64()?))
}

fn pin_of(machine: &Machine, path: &str) -> Result<String, Errno> {
    let mut value = [0; 256];
    let n = getxattr(machine.path(path), PIN, &mut value[..])?;
    Ok(String::from_utf8_lossy(&value[..n]).into_owned())
}

#[test]
fn what_is_pinned_comes_and_the_rest_when_it_is_read() {
    let Some((a, b)) = two() else { return };
    let set = b.lattice(["store", "policy", "home", "on-demand"]).ok().expect("a policy");
    assert!(set.starts_with("on-demand; 0 B of 0 B here"), "{set}");
    std::fs::create_dir(a.path("keep")).expect("a directory");
    eventually("the directory", || b.path("keep").is_dir()).expect("it comes");
    assert_eq!(pin_of(&b, "keep"), Err(Errno::NODATA));
    setxattr(b.path("keep"), PIN, b"1", XattrFlags::empty()).expect("pinned");
    assert_eq!(pin_of(&b, "keep").as_deref(), Ok("pinned"));
    assert_eq!(setxattr(b.path("keep"), PIN, b"maybe", XattrFlags::empty()), Err(Errno::INVAL));
    let (large, pinned) = (noise(24 << 20, 1), noise(3 << 20, 2));
    a.write("large", &large).expect("written");
    a.write("keep/pinned", &pinned).expect("written");
    let all = (large.len() + pinned.len()) as u64;
    eventually("what is pinned", || here(&b) == Some((pinned.len() as u64, all))).expect("and nothing else");
    assert_eq!(pin_of(&b, "keep/pinned").as_deref(), Ok("by keep"));
    assert_eq!(pin_of(&a, "keep/pinned"), Err(Errno::NODATA), "a pin is this node's alone");
    // A part of it.
    let mut some = vec![0; 4096];
    let mut file = std::fs::File::open(b.path("large")).expect("opened");
    file.read_exact(&mut some).expect("read");
    assert!(some == large[..4096]);
    let (now, _) = here(&b).expect("counted");
    assert!(now > pinned.len() as u64 && now < all, "{now} of {all} for a read of 4096");
    // All of it; and the other way, when it is pinned itself.
    assert!(std::fs::read(b.path("large")).expect("read") == large);
    assert_eq!(here(&b), Some((all, all)));
    let other = noise(4 << 20, 3);
    a.write("other", &other).expect("written");
    eventually("the name", || b.path("other").exists()).expect("it comes");
    setxattr(b.path("other"), PIN, b"1", XattrFlags::empty()).expect("pinned");
    let all = all + other.len() as u64;
    eventually("what is pinned later", || here(&b) == Some((all, all))).expect("it comes");
    assert_eq!(removexattr(b.path("keep"), PIN), Ok(()));
    assert_eq!(removexattr(b.path("keep"), PIN), Err(Errno::NODATA));
    let shown = b.lattice(["store", "policy", "home"]).ok().expect("shown");
    assert!(shown.contains("on-demand, 1 pin;") && shown.contains("pin other"), "{shown}");
    assert!(a.lattice(["status", "home"]).ok().expect("shown").contains("eager"));
    b.lattice(["gc"]).ok().expect("collected");
    let refused = b.try_lattice(&["store", "policy", "home", "lazy"]).expect("it runs");
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
}

#[test]
fn a_signal_ends_the_wait_for_bytes_that_do_not_come() {
    if !needs(&["perl"]) {
        return;
    }
    let Some((a, b)) = two() else { return };
    b.lattice(["store", "policy", "home", "on-demand"]).ok().expect("a policy");
    a.write("large", noise(24 << 20, 1)).expect("written");
    eventually("the name", || b.path("large").exists()).expect("it comes");
    let daemon = a.pid().expect("a daemon");
    kill_process(daemon, Signal::STOP).expect("stopped");
    // A signal with a handler: the read fails with EINTR. One without: the program ends. (Not INT: what a shell runs behind
    // itself ignores it.)
    let script = r#"$SIG{USR1} = sub { }; open(my $f, "<", $ARGV[0]) or die "open: $!";
        $| = 1; print "open\n"; my $n = sysread($f, my $b, 4096); print defined $n ? "read $n" : "failed: $!";"#;
    for (signal, says) in [(Signal::USR1, Some("failed: Interrupted system call")), (Signal::TERM, None)] {
        let mut command = Command::new("perl");
        command.args(["-e", script]).arg(b.path("large")).stdout(Stdio::piped());
        let mut reader = command.spawn().expect("a reader");
        let mut output = reader.stdout.take().expect("its output");
        let mut line = [0; 5];
        output.read_exact(&mut line).expect("it has opened");
        let pid = Pid::from_child(&reader);
        // It sleeps in its read, where no signal is looked at, before it is sent one.
        eventually("the read", || {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['D', 'S']))
        })
        .expect("it waits");
        let began = Instant::now();
        kill_process(pid, signal).expect("sent");
        let mut said = String::new();
        output.read_to_string(&mut said).expect("what it says");
        let ended = reader.wait().expect("its end");
        assert!(began.elapsed() < BACK, "{:?} after {signal:?}", began.elapsed());
        match says {
            Some(says) => assert_eq!(said.trim(), says),
            None => assert!(!ended.success() && said.trim().is_empty(), "{said:?}"),
        }
        println!("back {:?} after {signal:?}", began.elapsed());
    }
    kill_process(daemon, Signal::CONT).expect("it goes on");
    b.reads("large", noise(24 << 20, 1)).expect("the bytes come after all");
}
