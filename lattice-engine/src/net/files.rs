//! Small files that only this node has: its port, its peers' last addresses. Losing one costs a search, nothing else.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Replaces a file as a whole. Not synced: what a power loss takes is found again.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let temp = path.with_extension("new");
    let mut file =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(bytes)?;
    std::fs::rename(&temp, path)
}
