//! One process per data directory: an flock, which the kernel drops with the process, beside the pid for the message.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{NodeError, Result};
use super::files::is_denial;

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    #[expect(dead_code, reason = "holds the lock")]
    file: File,
    writable: bool,
}

impl Lock {
    /// Takes the lock, by reading alone where the directory can't be written.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        match opened {
            Ok(mut file) => {
                if !try_lock(&file, &path)? {
                    let mut pid = String::new();
                    let _ = file.read_to_string(&mut pid);
                    return Err(NodeError::Locked { dir: dir.into(), pid: pid.trim().parse().unwrap_or(0) });
                }
                // For the message only: a full disk is no reason to stop.
                let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                Ok(Self { file, writable: true })
            }
            Err(e) if is_denial(&e) => Self::take_reading(dir),
            Err(e) => Err(failed(&path)(e)),
        }
    }

    /// Takes the lock without writing anything; who holds it can't be told then. A directory that was copied without its
    /// lock file stands for it.
    pub fn take_reading(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => File::open(dir),
            opened => opened,
        };
        let file = file.map_err(failed(&path))?;
        if try_lock(&file, &path)? {
            Ok(Self { file, writable: false })
        } else {
            Err(NodeError::Locked { dir: dir.into(), pid: 0 })
        }
    }

    pub fn writable(&self) -> bool {
        self.writable
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> NodeError + use<> {
    NodeError::io(format!("cannot lock {}", path.display()))
}

/// False: another process has it.
fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(failed(path)(e.into())),
    }
}
