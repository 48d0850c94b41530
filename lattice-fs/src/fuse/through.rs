//! FUSE passthrough: whether this mount has it, and the kernel's names for files that it reads by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{BackingId, InitFlags, KernelConfig};

use crate::ops::{Backing, Opened};

/// The files may lie on a filesystem that stands on the disk itself, and others may stand on this mount.
const STACK_DEPTH: u32 = 1;

/// Whether the kernel reads files by itself here. An upgrade: without it everything goes through the daemon.
#[derive(Debug)]
pub struct Through {
    wanted: bool,
    has: AtomicBool,
}

impl Through {
    pub fn new(wanted: bool) -> Self {
        Self { wanted, has: AtomicBool::new(false) }
    }

    /// At the handshake.
    pub fn ask(&self, config: &mut KernelConfig) {
        let offered = self.wanted
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(STACK_DEPTH).is_ok();
        self.has.store(offered, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.has.load(Ordering::Relaxed)
    }

    /// Where the kernel refuses for want of privilege or because of what the disk stands on, it isn't asked again.
    pub fn register(&self, open: impl FnOnce() -> io::Result<BackingId>) -> Option<Backing> {
        if !self.is_on() {
            return None;
        }
        match open() {
            Ok(id) => Some(Backing(Arc::new(id))),
            Err(e) => {
                if matches!(
                    e.raw_os_error(),
                    Some(libc::EPERM | libc::EOPNOTSUPP | libc::ELOOP | libc::EINVAL | libc::ENOTTY)
                ) {
                    self.has.store(false, Ordering::Relaxed);
                    tracing::info!(cause = %e, "no passthrough: large files are read through the daemon");
                }
                None
            }
        }
    }
}

/// The kernel's name for the file that an open was answered with.
pub fn backing(opened: &Opened) -> Option<&BackingId> {
    opened.through.as_ref().and_then(|b| b.0.downcast_ref())
}
