//! Mounting as a user, through the setuid fusermount3. Here the tests run as root and `/dev/fuse` may be root's alone, so
//! they make a mount namespace with a device of its own and become somebody else in it: see `user.sh`.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use lattice_tests::fixture::{Cmd, Kind, Scratch, binary, needs};

/// What keeps the test from running here, if anything does.
fn hindrance() -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let helper: Option<PathBuf> =
        std::env::split_paths(&path).map(|d| d.join("fusermount3")).find(|p| p.is_file());
    let setuid =
        helper.and_then(|p| p.metadata().ok()).is_some_and(|m| m.uid() == 0 && m.mode() & 0o4000 != 0);
    if !setuid {
        return Some("fusermount3 is not set-uid root".into());
    }
    let probe = "mount -t tmpfs -o mode=755 tmpfs /mnt && mknod -m 666 /mnt/fuse c 10 229 && : <>/mnt/fuse";
    let done = Cmd::new("unshare").args(["-m", "--propagation", "private", "sh", "-c", probe]).run();
    match done {
        Ok(done) if done.status.success() => None,
        Ok(done) => Some(format!("no mount namespace with a FUSE device of its own: {}", done.stderr.trim())),
        Err(e) => Some(e.to_string()),
    }
}

#[test]
fn a_user_mounts_works_and_is_alone() {
    if Kind::chosen() != Kind::Lattice || !needs(&["unshare", "setpriv", "fusermount3", "git", "mount"]) {
        return;
    }
    if let Some(why) = hindrance() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this test, but {why}");
        eprintln!("skipped: {why}");
        return;
    }
    let scratch = Scratch::new().expect("a directory");
    let script = scratch.join("user.sh");
    std::fs::write(&script, include_str!("user.sh")).expect("the script");
    let said = Cmd::new("unshare")
        .args(["-m", "--propagation", "private", "bash", "-euo", "pipefail"])
        .arg(&script)
        .arg(binary("lattice").expect("the binary"))
        .deadline(120)
        .ok()
        .expect("every step");
    assert!(said.ends_with("done\n"), "{said}");
}
