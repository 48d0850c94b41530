//! Mounting itself: in the background, twice, after a crash, through mount(8), by a user, and a
//! clean end.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use lattice_tests::fixture::{Cmd, Kind, MountOptions, Mounted, binary, mounts_at, wait_for_exit};

/// What others do shows in a mount at once, but not before their command returns: the kernel is told from a thread
/// of its own.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "after ten seconds still not: {what}");
        std::thread::yield_now();
    }
}

fn lattice_home() -> Option<Mounted> {
    super::lattice(&[])
}

#[test]
fn everything_is_there_after_a_new_mount() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    for (name, size) in [("empty", 0), ("inline", 4096), ("chunks", 5_000_000), ("one-more", 4097)] {
        fs::write(mounted.join(name), vec![b'x'; size]).expect("a file");
    }
    symlink("inline", mounted.join("link")).expect("a symlink");
    let inodes =
        |mounted: &Mounted| Cmd::bash(mounted.dir(), "stat -c '%n %i %s %a %Y' *").ok().expect("stat");
    let before = inodes(&mounted);
    mounted.remount().expect("a new mount");
    assert_eq!(inodes(&mounted), before, "inode numbers, sizes, modes and times");
    assert!(fs::read(mounted.join("chunks")).expect("read") == vec![b'x'; 5_000_000]);
}

#[test]
fn it_shows_as_what_it_is() {
    let Some(mounted) = lattice_home() else {
        return;
    };
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let dir = mounted.dir().to_string_lossy();
    let line = mounts.lines().find(|line| line.contains(&*dir)).expect("our mount");
    let fields: Vec<_> = line.split(' ').collect();
    assert_eq!((fields[0], fields[2]), ("lattice:home", "fuse.lattice"), "{line}");
    for option in ["nosuid", "nodev", "default_permissions"] {
        assert!(fields[3].split(',').any(|o| o == option), "{option}: {line}");
    }
}

#[test]
fn in_the_background_it_is_ready_when_the_command_returns() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    mounted.stop().expect("a clean stop");
    let dir = mounted.dir().to_str().expect("UTF-8").to_owned();
    mounted.lattice(["mount", "home", &dir]).ok().expect("mount in the background");
    assert_eq!(mounts_at(mounted.dir()).expect("mounts"), 1);
    fs::write(mounted.join("f"), "x").expect("it is ready");
    let listed = mounted.lattice(["mount"]).ok().expect("the list of mounts");
    assert!(listed.contains(&dir), "{listed}");
    mounted.lattice(["unmount", &dir]).ok().expect("unmount");
    assert_eq!(mounts_at(mounted.dir()).expect("mounts"), 0);
    mounted.mount().expect("a mount again");
    assert_eq!(fs::read(mounted.join("f")).expect("kept"), b"x");
}

#[test]
fn a_second_mount_goes_through_the_running_daemon() {
    let Some(mounted) = lattice_home() else {
        return;
    };
    let second = mounted.beside("second");
    fs::create_dir(&second).expect("a directory");
    let dir = second.to_str().expect("UTF-8");
    fs::write(mounted.join("f"), "seen").expect("a file");
    mounted.lattice(["store", "create", "other"]).ok().expect("another store");
    mounted.lattice(["mount", dir]).ok().expect("a mount of all stores");
    assert_eq!(fs::read(second.join("home/f")).expect("by the store's name"), b"seen");
    assert!(fs::symlink_metadata(second.join("home")).expect("stat").is_symlink());
    fs::write(second.join("other/g"), "2").expect("the other store");
    // The two mounts show each other's changes.
    fs::write(second.join("home/f"), "changed").expect("a change");
    eventually("a change", || fs::read(mounted.join("f")).is_ok_and(|bytes| bytes == b"changed"));
    fs::remove_file(mounted.join("f")).expect("rm");
    eventually("a removal", || !second.join("home/f").exists());
    assert!(fs::write(second.join("stray"), "x").is_err(), "the top is read-only");
    mounted.lattice(["unmount", dir]).ok().expect("unmount");
    assert_eq!(mounts_at(&second).expect("mounts"), 0);
}

#[test]
fn the_command_line_and_the_mount_see_each_other() {
    let Some(mounted) = lattice_home() else {
        return;
    };
    let big = vec![b'z'; 300_000];
    fs::write(mounted.beside("big"), &big).expect("a file on the disk");
    let at = format!("@{}", mounted.beside("big").display());
    assert!(!mounted.join("from-cli").exists(), "the kernel now remembers that it isn't there");
    mounted.lattice(["put", "home:from-cli", &at]).ok().expect("put");
    eventually("put", || fs::read(mounted.join("from-cli")).is_ok_and(|bytes| bytes == big));
    mounted.lattice(["put", "home:from-cli", "short"]).ok().expect("put again");
    eventually("put again", || fs::read(mounted.join("from-cli")).is_ok_and(|bytes| bytes == b"short"));
    fs::write(mounted.join("from-mount"), "hello").expect("a file");
    assert_eq!(mounted.lattice(["get", "home:from-mount"]).ok().expect("get"), "hello");
    mounted.lattice(["rm", "home:from-mount"]).ok().expect("rm");
    eventually("the mount shows it", || !mounted.join("from-mount").exists());
    let listed = mounted.lattice(["ls", "home:"]).ok().expect("ls");
    assert_eq!(listed.trim(), "from-cli");
}

#[test]
fn a_dead_mount_is_cleared_by_the_next_one() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    fs::write(mounted.join("f"), "kept").expect("a file");
    mounted.kill().expect("SIGKILL");
    let dead = fs::read(mounted.join("f")).expect_err("the mount is dead");
    assert_eq!(dead.raw_os_error(), Some(libc::ENOTCONN), "{dead}");
    let dir = mounted.dir().to_str().expect("UTF-8").to_owned();
    mounted.lattice(["mount", "home", &dir]).ok().expect("mount over the dead one");
    assert_eq!(mounts_at(mounted.dir()).expect("mounts"), 1, "the dead one is gone");
    assert_eq!(fs::read(mounted.join("f")).expect("read"), b"kept");
    mounted.lattice(["unmount", &dir]).ok().expect("unmount");
}

#[test]
fn sigterm_keeps_what_is_still_open() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    let mut open = fs::File::create(mounted.join("open")).expect("a file");
    std::io::Write::write_all(&mut open, b"not closed yet").expect("write");
    mounted.stop().expect("a stop with an open file");
    drop(open);
    mounted.detach();
    mounted.mount().expect("a new mount");
    assert_eq!(fs::read(mounted.join("open")).expect("read"), b"not closed yet");
}

#[test]
fn mount_helper_understands_mount_8() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    mounted.stop().expect("a clean stop");
    // mount(8) runs /sbin/mount.lattice SOURCE DIR [-o OPTIONS]: a link to the binary.
    let helper = mounted.beside("mount.lattice");
    symlink(binary("lattice").expect("the binary"), &helper).expect("a link");
    Cmd::new(&helper)
        .arg("lattice:home")
        .arg(mounted.dir())
        .args(["-o", "rw,allow_other"])
        .env("LATTICE_HOME", mounted.home())
        .ok()
        .expect("mount.lattice");
    fs::write(mounted.join("f"), "x").expect("a file");
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let dir = mounted.dir().to_string_lossy().into_owned();
    assert!(mounts.lines().any(|l| l.contains(&dir) && l.contains("allow_other")), "{mounts}");
    mounted.lattice(["unmount", &dir]).ok().expect("unmount");
}

#[test]
fn only_the_owner_gets_in_unless_others_are_allowed() {
    let Some(_) = super::lattice(&["setpriv"]) else {
        return;
    };
    let as_nobody = |mounted: &Mounted| {
        Cmd::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "ls"])
            .arg(mounted.dir())
            .run()
            .expect("ls as nobody")
    };
    let open = |mounted: &Mounted| {
        // The scratch directory above is private by default.
        let above = mounted.dir().parent().expect("a scratch directory");
        fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    };
    let mounted = Mounted::with(Kind::Lattice, MountOptions::default()).expect("a mount");
    open(&mounted);
    assert!(!as_nobody(&mounted).status.success(), "another user is kept out");
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let mounted = Mounted::with(Kind::Lattice, options).expect("a mount");
    open(&mounted);
    let listed = as_nobody(&mounted);
    assert!(listed.status.success(), "{}", listed.stderr);
}

/// A `lattice mount -f` beside a daemon that runs: killed whatever happens.
struct Attending(std::process::Child);

impl Attending {
    fn start(mounted: &Mounted, dir: &std::path::Path) -> Self {
        let mut command = std::process::Command::new(binary("lattice").expect("the binary"));
        command.args(["mount", "-f", "home"]).arg(dir).env("LATTICE_HOME", mounted.home());
        let attending = Self(command.env("LATTICE_OFFLINE", "1").spawn().expect("it runs"));
        eventually("the second mount", || mounts_at(dir).is_ok_and(|n| n == 1));
        attending
    }

    fn ends(mut self) -> std::process::ExitStatus {
        wait_for_exit(&mut self.0, Duration::from_secs(20)).expect("waited").expect("it ends")
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        // It has ended, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn in_the_foreground_beside_a_daemon_it_stays_until_its_mount_ends() {
    let Some(mounted) = lattice_home() else {
        return;
    };
    let second = mounted.beside("second");
    fs::create_dir(&second).expect("a directory");
    let dir = second.to_str().expect("UTF-8");
    let mut attending = Attending::start(&mounted, &second);
    fs::write(second.join("f"), "x").expect("it is the same store");
    assert_eq!(fs::read(mounted.join("f")).expect("read"), b"x");
    assert!(attending.0.try_wait().expect("asked").is_none(), "it stays");
    mounted.lattice(["unmount", dir]).ok().expect("unmounted by another command");
    assert!(attending.ends().success());
    let attending = Attending::start(&mounted, &second);
    let pid = rustix::process::Pid::from_child(&attending.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
    assert!(attending.ends().success());
    assert_eq!(mounts_at(&second).expect("mounts"), 0, "it took its mount along");
    assert_eq!(fs::read(mounted.join("f")).expect("the daemon works on"), b"x");
}

/// A daemon of `lattice serve`, which stays when nothing is mounted; stopped whatever happens.
struct Serving<'a>(&'a Mounted);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // Where it never ran there is nothing to stop.
        let _ = self.0.lattice(["serve", "--stop"]).run();
    }
}

#[test]
fn unmount_waits_for_no_daemon_that_stays() {
    let Some(mut mounted) = lattice_home() else {
        return;
    };
    mounted.stop().expect("a clean stop");
    let dir = mounted.dir().to_str().expect("UTF-8").to_owned();
    mounted.lattice(["serve"]).ok().expect("a daemon without a mount");
    let serving = Serving(&mounted);
    mounted.lattice(["mount", "home", &dir]).ok().expect("mounted by it");
    // A daemon that is about to end is waited for half a minute, and then it is an error.
    let done = mounted.lattice(["unmount", &dir]).succeed().expect("unmounted");
    assert!(done.took < Duration::from_secs(15), "it took {:?}", done.took);
    assert_eq!(mounts_at(mounted.dir()).expect("mounts"), 0);
    let status = mounted.lattice(["status"]).ok().expect("the daemon answers");
    assert!(status.contains("daemon ") && !status.contains("no daemon"), "{status}");
    drop(serving);
}
