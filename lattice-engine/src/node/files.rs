//! The few files of a data directory that are not a store's.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access};

use crate::disk::{self, Disk};
use crate::id::StoreId;

use super::error::{NodeError, Result};

/// A directory for its owner only; one that is there is narrowed.
pub(super) fn make_private_dir(dir: &Path) -> Result<()> {
    let failed = |e| NodeError::io(format!("cannot make the data directory {}", dir.display()))(e);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// Whether that is how a read-only file system, or one that isn't ours to write, says no.
pub(super) fn is_denial(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Whether files can be made in all of these directories, as far as the kernel tells before one tries.
pub(super) fn can_write(dirs: &[&Path]) -> bool {
    let denied = |dir: &&Path| {
        let asked = access(*dir, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
        asked.is_err_and(|e| is_denial(&e))
    };
    !dirs.iter().any(denied)
}

/// Writes a whole file: after a crash it is there with all its bytes, or not at all.
pub(super) fn write_durably(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    disk::replace(disk, path, bytes).map_err(NodeError::io(format!("cannot write {}", path.display())))
}

/// Copies all of `input` to a file without a name in `dir`, to be read more than once. It goes when it is dropped.
///
/// # Errors
/// The input breaks off; there is no room.
pub(super) fn spool(dir: &Path, input: &mut dyn Read) -> Result<File> {
    let failed = || {
        NodeError::io(format!(
            "cannot keep the bundle in {} while it is checked; nothing was changed",
            dir.display()
        ))
    };
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| NodeError::Refused(format!("no random numbers: {e}")))?;
    let path = dir.join(format!("import-{:016x}", u64::from_le_bytes(random)));
    let mut file =
        File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed())?;
    fs::remove_file(&path).map_err(failed())?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let broke_off = |e| NodeError::io("the bundle can't be read to its end; nothing was changed")(e);
        match input.read(&mut buffer).map_err(broke_off)? {
            0 => break,
            n => file.write_all(&buffer[..n]).map_err(failed())?,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(failed())?;
    Ok(file)
}

pub(super) fn read_root(path: &Path) -> Result<StoreId> {
    let text = fs::read_to_string(path).map_err(NodeError::io(format!("cannot read {}", path.display())))?;
    text.trim().parse().map_err(|e| {
        NodeError::Refused(format!(
            "{} should name the root store, but {e}: put the file back from a backup",
            path.display()
        ))
    })
}
