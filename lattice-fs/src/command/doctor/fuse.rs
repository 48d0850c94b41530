//! What the kernel and the system offer to a mount.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{Finding, fail, ok, warn};
use crate::command::mount::{Behind, behind};
use crate::mounts::kernel_mounts;

/// The first kernel with FUSE passthrough.
const PASSTHROUGH: (u32, u32) = (6, 9);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn device() -> Finding {
    match std::fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => ok("fuse", "/dev/fuse opens"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fail(
            "fuse",
            "/dev/fuse is missing",
            "load it: modprobe fuse; in a container start it with --device /dev/fuse",
        ),
        Err(e) => {
            fail("fuse", format!("/dev/fuse: {e}"), "make it readable and writable: chmod 666 /dev/fuse")
        }
    }
}

pub fn helper() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found: Option<PathBuf> =
        std::env::split_paths(&path).map(|d| d.join("fusermount3")).find(|p| p.is_file());
    match (found, is_root()) {
        (_, true) => ok("fusermount3", "not needed by root"),
        (Some(p), false) if std::fs::metadata(&p).is_ok_and(|m| m.mode() & 0o4000 != 0 && m.uid() == 0) => {
            ok("fusermount3", p.display().to_string())
        }
        (Some(p), false) => {
            let advice = "it must be: chown root, chmod u+s; or reinstall fuse3";
            fail("fusermount3", format!("{} is not set-uid root", p.display()), advice)
        }
        (None, false) => fail("fusermount3", "not in PATH", "install it: apt install fuse3"),
    }
}

pub fn passthrough() -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let advice = "large files go through the daemon: slower, and right all the same";
    match version(&release) {
        Some(v) if v < PASSTHROUGH => warn(
            "passthrough",
            format!("kernel {release} is older than {}.{}", PASSTHROUGH.0, PASSTHROUGH.1),
            advice,
        ),
        Some(_) if built_without(&release) => {
            warn("passthrough", format!("kernel {release} was built without CONFIG_FUSE_PASSTHROUGH"), advice)
        }
        Some(_) if !is_root() => warn("passthrough", "only root's mounts have it", advice),
        Some(_) => ok("passthrough", format!("kernel {release} has it")),
        None => warn("passthrough", format!("kernel {release}: its version can't be read"), advice),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// By the kernel's published configuration, where there is one.
fn built_without(release: &str) -> bool {
    let config = std::fs::read_to_string(format!("/boot/config-{release}"));
    config.is_ok_and(|text| !text.lines().any(|l| l == "CONFIG_FUSE_PASSTHROUGH=y"))
}

pub fn allow_other() -> Finding {
    let conf = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if is_root() || conf.lines().any(|l| l.trim() == "user_allow_other") {
        return ok("allow-other", "possible");
    }
    ok("allow-other", "not possible; `mount --allow-other` needs user_allow_other in /etc/fuse.conf")
}

/// Mounts of ours without a process behind them, or with one that doesn't answer.
pub fn stale_mounts() -> Vec<Finding> {
    let mounts = kernel_mounts();
    let finding = |dir: &PathBuf| {
        let at = dir.display();
        match behind(dir) {
            Behind::Live => None,
            Behind::Dead => {
                let advice = format!("lattice unmount {at}, or lattice mount {at} again");
                Some(fail("mounts", format!("{at} is dead"), advice))
            }
            Behind::Silent => {
                let advice =
                    "see the daemon's log (`lattice paths`); kill it if it is stuck, then mount again";
                Some(fail("mounts", format!("{at} doesn't answer"), advice))
            }
        }
    };
    let found: Vec<Finding> = mounts.iter().filter_map(finding).collect();
    if found.is_empty() { vec![ok("mounts", format!("{} live, none dead", mounts.len()))] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read() {
        assert_eq!(version("6.18.5-amd64"), Some((6, 18)));
        assert_eq!(version("5.4-rc1"), Some((5, 4)));
        assert_eq!(version("weird"), None);
    }
}
