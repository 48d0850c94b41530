//! The mount: the only module that knows of fuser, `/dev/fuse` and mount(2). It decodes the kernel's requests, calls
//! `ops`, and replies; it keeps no state of files itself.

mod adapter;
mod check;
mod habits;
mod invalidate;
mod mount;
mod reply;
mod slow;
mod sys;
mod through;
mod waiter;
mod wanted;

pub use check::{Mounted, clear_dead_mount, mounts};
pub use mount::{Mount, MountOptions, Shown};
pub use sys::MountError;

/// The type that `/proc/mounts` shows.
pub const FS_TYPE: &str = "fuse.lattice";
