//! Unix sockets at paths of any length: `sun_path` holds 107 bytes, so a longer one is reached through a descriptor of
//! its directory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// Bytes of a path that fit in `sun_path` with its end.
const FITS: usize = 107;

/// A path that fits, and what keeps it valid.
fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().as_bytes().len() <= FITS {
        return Ok((path.into(), None));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((path, Some(dir)))
}

pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _dir) = short(path)?;
    UnixStream::connect(short).await
}

/// Listens at `path`, which must not exist; its mode is 0600 from the start where the directory is private.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let (short, _dir) = short(path)?;
    let listener = UnixListener::bind(short)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_path_is_reached_all_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().expect("tempdir");
        let dir = tmp.path().join("d".repeat(150));
        std::fs::create_dir(&dir).expect("made");
        let path = dir.join("s");
        let listener = bind(&path).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (client, server) = tokio::join!(connect(&path), listener.accept());
        client.expect("connected");
        server.expect("accepted");
    }
}
