//! The watcher's way to the kernel's caches.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Notifier};

use crate::ops::Kernel;

#[derive(Debug)]
pub struct Caches(pub Notifier);

impl Kernel for Caches {
    fn forget_entry(&self, parent: u64, name: &[u8]) {
        report(self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name)));
    }

    fn forget_inode(&self, ino: u64, data: bool) {
        // A negative offset means attributes only; length 0 means to the end.
        let offset = if data { 0 } else { -1 };
        report(self.0.inval_inode(INodeNo(ino), offset, 0));
    }
}

/// What the kernel doesn't know needs no invalidation; a mount that ends has no caches.
fn report(result: std::io::Result<()>) {
    if let Err(e) = result
        && !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTCONN | libc::ENODEV | libc::EPERM))
    {
        tracing::warn!(cause = %e, "the kernel's cache could not be invalidated");
    }
}
