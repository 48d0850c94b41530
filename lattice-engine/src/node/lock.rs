//! One process per data directory: an flock, which the kernel drops with the process, beside the pid for the message.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::{NodeError, Result};

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

impl Lock {
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let failed = |e| NodeError::io(format!("cannot lock {}", path.display()))(e);
        // A read-only directory can be read all the same: the lock file is there from before.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .or_else(|e| if path.exists() { File::open(&path) } else { Err(e) })
            .map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(NodeError::Locked { dir: dir.into(), pid: pid.trim().parse().unwrap_or(0) });
        }
        // For the message only, so a read-only directory is no reason to stop.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}
