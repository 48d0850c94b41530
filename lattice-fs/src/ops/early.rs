//! The bytes of a large file begin to go to the disk while it is cut and named: peers are told of what is durable alone, and
//! wait for both. A hint: nothing is promised, and no error is heard here, so that who syncs the file hears it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Worth a thread for so many bytes.
const FROM: u64 = 16 << 20;

/// Has the kernel begin to write a file of `size` bytes.
pub fn write_out(path: &Path, size: u64) {
    if size < FROM {
        return;
    }
    let Ok(file) = File::open(path) else { return };
    // It takes as long as the disk's queue is full.
    let started = std::thread::Builder::new().name("fs-early".into()).spawn(move || begin(&file));
    if let Err(e) = started {
        tracing::debug!("{} isn't written out early: {e}", path.display());
    }
}

/// `fdatasync` would wait for the disk, flush its cache, and take away an error that another descriptor's sync is to have.
#[allow(
    unsafe_code,
    reason = "sync_file_range(2) has no safe wrapper; the descriptor is borrowed, nothing else is passed"
)]
fn begin(file: &File) {
    // SAFETY: the descriptor is open for the whole call, which takes integers and touches no memory of ours.
    let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if begun != 0 {
        tracing::debug!("not written out early: {}", std::io::Error::last_os_error());
    }
}
