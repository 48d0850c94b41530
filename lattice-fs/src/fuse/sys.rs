//! mount(2) and umount(2), and fusermount3 for those who may not call them.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fuser::{Config, MountOption, SessionACL};
use rustix::mount::{MountFlags, UnmountFlags};

use super::{FS_TYPE, Mounted};

const DEVICE: &str = "/dev/fuse";

/// Why a directory can't be mounted on, or not unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("{dir} does not exist: make it first (mkdir -p {dir})", dir = .0.display())]
    Missing(PathBuf),
    #[error("{dir} is not a directory: give one to mount on", dir = .0.display())]
    NotADirectory(PathBuf),
    #[error("{dir} is not empty: what is in it would be hidden; give an empty directory", dir = .0.display())]
    NotEmpty(PathBuf),
    #[error("{dir} is a mount point already ({source_name}, type {fs_type}): unmount it first", dir = .dir.display())]
    Mounted { dir: PathBuf, source_name: String, fs_type: String },
    #[error(
        "{DEVICE} is missing: load the kernel's FUSE module (modprobe fuse); in a container, pass the device in"
    )]
    NoDevice,
    #[error("{DEVICE} can't be opened: {0}. It needs mode 0666, or run as root")]
    Device(io::Error),
    #[error(
        "fusermount3 is missing, which mounts for users who aren't root: install it (Debian, Ubuntu: apt install fuse3), or run as root"
    )]
    NoFusermount,
    #[error("fusermount3 refused: {0}")]
    Fusermount(String),
    #[error("--allow-other needs the line user_allow_other in /etc/fuse.conf, or root")]
    AllowOther,
    #[error("{dir} is in use: close what is open in it (lsof +f -- {dir}) and try again", dir = .0.display())]
    Busy(PathBuf),
    #[error("{dir} is not mounted", dir = .0.display())]
    NotMounted(PathBuf),
    #[error("cannot {what} {dir}: {source}", dir = .dir.display())]
    Io { what: &'static str, dir: PathBuf, source: io::Error },
    /// Unmounted, but some file could not be saved.
    #[error("not everything could be saved before unmounting {dir}: see the log", dir = .0.display())]
    Unsaved(PathBuf),
}

/// Names the operation and the directory of an I/O error.
pub(super) fn io_on<'a, E: Into<io::Error>>(
    what: &'static str,
    dir: &'a Path,
) -> impl FnOnce(E) -> MountError + 'a {
    move |e| MountError::Io { what, dir: dir.to_path_buf(), source: e.into() }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn open_device() -> Result<File, MountError> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => MountError::NoDevice,
        _ => MountError::Device(e),
    })
}

/// As root: so that /proc/mounts shows the type `fuse.lattice`, which fuser's own mount drops.
pub(super) fn mount(
    dir: &Path,
    source: &str,
    allow_other: bool,
    read_only: bool,
) -> Result<OwnedFd, MountError> {
    let device = open_device()?;
    let mode = dir.metadata().map_err(io_on("read", dir))?.mode();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut options = format!(
        "fd={},rootmode={:o},user_id={uid},group_id={gid},default_permissions",
        device.as_raw_fd(),
        mode & libc::S_IFMT
    );
    if allow_other {
        options.push_str(",allow_other");
    }
    let options = CString::new(options).map_err(|e| io_on("mount", dir)(io::Error::from(e)))?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, read_only);
    rustix::mount::mount(source, dir, FS_TYPE, flags, options.as_c_str()).map_err(io_on("mount on", dir))?;
    Ok(device.into())
}

/// What fuser needs to mount by fusermount3.
pub(super) fn user_config(source: &str, allow_other: bool, read_only: bool) -> Config {
    let mut config = Config::default();
    // A comma would end the option.
    let name = source.replace('\\', "\\\\").replace(',', "\\,");
    config.mount_options = vec![
        MountOption::FSName(name),
        MountOption::Subtype("lattice".into()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    if read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = acl(allow_other);
    config
}

pub(super) fn acl(allow_other: bool) -> SessionACL {
    if allow_other { SessionACL::All } else { SessionACL::Owner }
}

/// fusermount3 speaks through its exit and its standard error only.
pub(super) fn user_error(error: io::Error) -> MountError {
    match error.to_string() {
        text if text.contains("user_allow_other") => MountError::AllowOther,
        text => MountError::Fusermount(text.trim().to_owned()),
    }
}

pub(super) fn has_fusermount() -> bool {
    Command::new("fusermount3").arg("-V").output().is_ok_and(|o| o.status.success())
}

/// Detaches a mount. `lazy`: also while it is in use, and then nobody new gets in.
pub(super) fn unmount(dir: &Path, lazy: bool) -> Result<(), MountError> {
    if is_root() {
        let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        return rustix::mount::unmount(dir, flags | UnmountFlags::NOFOLLOW).map_err(|e| match e {
            rustix::io::Errno::BUSY => MountError::Busy(dir.to_path_buf()),
            rustix::io::Errno::INVAL => MountError::NotMounted(dir.to_path_buf()),
            e => io_on("unmount", dir)(e),
        });
    }
    // Not with -q: without words there is no telling why.
    let how = if lazy { "-uz" } else { "-u" };
    let output = Command::new("fusermount3").env("LC_ALL", "C").arg(how).arg("--").arg(dir).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => match String::from_utf8_lossy(&output.stderr) {
            text if text.contains("busy") => Err(MountError::Busy(dir.to_path_buf())),
            text if text.contains("not found in") => Err(MountError::NotMounted(dir.to_path_buf())),
            text => Err(MountError::Fusermount(text.trim().to_owned())),
        },
        Err(_) => Err(MountError::NoFusermount),
    }
}

/// Ends a mount that is in use whatever its users do: their calls fail from here on.
pub(super) fn abort(dir: &Path, mounted: Option<&Mounted>) {
    if let Some(minor) = mounted.and_then(|m| m.device.split(':').nth(1)) {
        // Needs root or the mount's owner; without it the detached mount ends with the process.
        let _ = std::fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
    }
    tracing::warn!(dir = %dir.display(), "the mount was in use and has been cut off");
}
