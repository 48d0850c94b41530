//! The daemon as a service: what a manager that speaks sd_notify(3) hears, and units that systemd accepts.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lattice_tests::fixture::{Cmd, Scratch, binary, have, wait_for_exit};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

fn lattice(scratch: &Scratch, words: &[&str]) -> Cmd {
    Cmd::new(binary("lattice").expect("it is built"))
        .args(words)
        .env("LATTICE_HOME", scratch.join("home"))
        .env("XDG_CONFIG_HOME", scratch.join("config"))
}

/// A manager that listens: its socket, and the daemon that it started.
struct Manager {
    heard: UnixDatagram,
    daemon: Child,
}

impl Manager {
    fn start(scratch: &Scratch, watchdog: Duration) -> Self {
        let path = scratch.join("notify");
        let heard = UnixDatagram::bind(&path).expect("a socket");
        heard.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let daemon = Command::new(binary("lattice").expect("it is built"))
            .args(["serve", "--foreground", "--offline"])
            .env("LATTICE_HOME", scratch.join("home"))
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon");
        Self { heard, daemon }
    }

    /// The next message that says `what`.
    fn hears(&self, what: &str) {
        let (mut buffer, until) = ([0; 4096], Instant::now() + PATIENCE);
        while Instant::now() < until {
            let n = self.heard.recv(&mut buffer).unwrap_or_else(|e| panic!("no {what}: {e}"));
            if String::from_utf8_lossy(&buffer[..n]).lines().any(|line| line == what) {
                return;
            }
        }
        panic!("no {what} within {PATIENCE:?}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ended = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

#[test]
fn a_manager_hears_that_it_is_ready_alive_and_stopping() {
    let scratch = Scratch::new().expect("a directory");
    lattice(&scratch, &["init", "--store", "home"]).ok().expect("init");
    let mut manager = Manager::start(&scratch, Duration::from_millis(200));
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    let pid = Pid::from_raw(manager.daemon.id().cast_signed()).expect("a process id");
    kill_process(pid, Signal::TERM).expect("SIGTERM");
    manager.hears("STOPPING=1");
    let ended = wait_for_exit(&mut manager.daemon, PATIENCE).expect("a child");
    assert!(ended.expect("it ends").success(), "{ended:?}");
}

#[test]
fn a_unit_is_written_that_systemd_accepts_and_removed() {
    let scratch = Scratch::new().expect("a directory");
    let unit = scratch.join("config/systemd/user/lattice.service");
    let at = scratch.join("a dir with 50% $");
    let at = at.to_str().expect("UTF-8");
    lattice(&scratch, &["service", "install", "home", at, "--", "--allow-other"]).ok().expect("install");
    let text = std::fs::read_to_string(&unit).expect("the unit");
    assert!(text.contains("mount --foreground \"--allow-other\" \"--\" \"home\""), "{text}");
    assert_eq!(
        lattice(&scratch, &["service", "show", "home", at, "--", "--allow-other"]).ok().expect("show"),
        text
    );
    if have("systemd-analyze") {
        let path = unit.to_str().expect("UTF-8");
        let said =
            Cmd::new("systemd-analyze").args(["verify", "--user", "--man=no", path]).run().expect("it ends");
        assert!(!said.stderr.contains("lattice.service"), "{}", said.stderr);
    }
    lattice(&scratch, &["service", "remove"]).ok().expect("remove");
    assert!(!unit.exists());
    assert_eq!(lattice(&scratch, &["service", "remove"]).run().expect("it ends").code(), 20);
}

/// A `systemctl` that writes down what it is told, and whether a daemon runs while it starts one.
#[test]
fn a_daemon_that_runs_by_hand_makes_way_for_the_service() {
    let scratch = Scratch::new().expect("a directory");
    lattice(&scratch, &["init", "--store", "home"]).ok().expect("init");
    lattice(&scratch, &["serve", "--offline"]).ok().expect("a daemon");
    let by_hand = status(&scratch)["daemon_pid"].as_u64().expect("it runs");
    let (bin, said) = (scratch.join("bin"), scratch.join("said"));
    std::fs::create_dir(&bin).expect("a directory");
    let install = |systemctl: &str| {
        let tool = bin.join("systemctl");
        std::fs::write(&tool, systemctl).expect("a script");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
        let lattice = lattice(&scratch, &["service", "install", "--now"]).env("PATH", path);
        lattice
            .env("SAID", &said)
            .env("LATTICE", binary("lattice").expect("it is built"))
            .run()
            .expect("it ends")
    };
    // Where systemd can't be reached nothing is started, so nothing is stopped.
    let alone = install("#!/bin/sh\nexit 1\n");
    assert_eq!(
        (alone.code(), status(&scratch)["daemon_pid"].as_u64()),
        (0, Some(by_hand)),
        "{}",
        alone.stderr
    );
    let script = "#!/bin/sh\necho \"$*\" >>\"$SAID\"\ncase \"$*\" in *enable*) \"$LATTICE\" --json status >>\"$SAID\";; esac\n";
    let done = install(script);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let said = std::fs::read_to_string(&said).expect("it was called");
    let status: Value = serde_json::from_str(said.lines().last().expect("a status")).expect("JSON");
    assert!(said.contains("--user enable --now lattice.service") && status["daemon_pid"].is_null(), "{said}");
    let pid = by_hand.to_string();
    assert!(done.stderr.contains(&pid) && done.stderr.contains("was stopped"), "{}", done.stderr);
}

fn status(scratch: &Scratch) -> Value {
    let said = lattice(scratch, &["--json", "status"]).ok().expect("a status");
    serde_json::from_str(&said).expect("JSON")
}

#[test]
fn what_would_fail_at_the_next_boot_is_refused_now() {
    let scratch = Scratch::new().expect("a directory");
    for (words, says) in [
        (&["service", "install", "--", "--no-such-flag"][..], "--no-such-flag"),
        (&["service", "show", "--system", "--as", "nobody-of-this-name"], "no user"),
        (&["service", "install", "/a\nExecStart=/bin/false"], "control characters"),
    ] {
        let done = lattice(&scratch, words).run().expect("it ends");
        assert!(done.code() != 0 && done.stderr.contains(says), "{words:?}: {}", done.stderr);
    }
    assert!(!scratch.join("config").exists(), "nothing was written");
}
