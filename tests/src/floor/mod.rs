//! The floor: a filesystem in memory that does nothing but answer, with exactly the kernel options
//! that the mount uses. What the bench measures on it is what FUSE alone costs, so the difference
//! to the mount is what storing costs. Hard links and device nodes are refused, as in the mount.

mod data;
mod ops;
mod tree;

use std::io;
use std::path::Path;

use fuser::{Config, MountOption, SessionACL};

pub use ops::Floor;

/// How the floor is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that read requests; each has a descriptor of its own when there are several.
    pub threads: usize,
    /// Let other users in (the kernel still checks permissions).
    pub allow_other: bool,
}

/// Mounts an empty floor on `dir` and serves it until it is unmounted.
///
/// # Errors
/// What mount(2) or fusermount3 said, or the first failed read from the device.
pub fn serve(dir: &Path, options: Options) -> io::Result<()> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("floor".into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    if options.allow_other {
        config.acl = SessionACL::All;
    }
    config.n_threads = Some(options.threads);
    config.clone_fd = options.threads > 1;
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    fuser::mount(Floor::new(uid, gid), dir, &config)
}
