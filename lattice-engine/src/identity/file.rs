//! The key file: one line, `lattice-key-v1 ` and the seed as 64 lower-case hex digits, mode 0600 in a directory of mode
//! 0700. Written beside its name, synced, then renamed onto it, so it is whole or absent, and never replaces a key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{Identity, RandomError, random_bytes};

const MAGIC: &str = "lattice-key-v1 ";
/// The whole file in bytes, with its newline.
const LEN: usize = MAGIC.len() + 64 + 1;

/// Why there is no usable key at a path.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("no key at {path}: run `lattice init`")]
    Missing { path: PathBuf },
    #[error("{path} is open to other users (mode {mode:04o}): run `chmod 600 {path}`")]
    Readable { path: PathBuf, mode: u32 },
    #[error(
        "{path} is not a lattice key (one line, `lattice-key-v1` and 64 hex digits): restore it from a backup"
    )]
    Malformed { path: PathBuf },
    #[error("can't {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// For `map_err`: an I/O error with what was tried on what.
fn on<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> KeyFileError + use<'a> {
    move |source| KeyFileError::Io { what, path: path.into(), source }
}

impl Identity {
    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let mut file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(KeyFileError::Missing { path: path.into() });
            }
            opened => opened.map_err(on("open", path))?,
        };
        let meta = file.metadata().map_err(on("read", path))?;
        let malformed = || KeyFileError::Malformed { path: path.into() };
        if !meta.is_file() || meta.len() != LEN as u64 {
            return Err(malformed());
        }
        let mode = meta.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Readable { path: path.into(), mode });
        }
        let mut text = Zeroizing::new([0; LEN]);
        file.read_exact(&mut *text).map_err(on("read", path))?;
        let hex = text.strip_prefix(MAGIC.as_bytes()).and_then(|t| t.strip_suffix(b"\n"));
        let mut seed = Zeroizing::new([0; 32]);
        match HEXLOWER.decode_mut(hex.ok_or_else(malformed)?, &mut *seed) {
            Ok(32) => Ok(Self::from_seed(*seed)),
            _ => Err(malformed()),
        }
    }

    /// Reads a key file, or makes one, with its directory, where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Missing { .. }) => create(path),
            loaded => loaded,
        }
    }
}

fn create(path: &Path) -> Result<Identity, KeyFileError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(on("create", dir))?;
    let seed = Zeroizing::new(random_bytes::<32>()?);
    let suffix = HEXLOWER.encode(&random_bytes::<8>()?);
    let temp = path.with_extension(format!("{suffix}.tmp"));
    let placed = write(&temp, &seed).map_err(on("write", &temp)).and_then(|()| place(&temp, path));
    if !matches!(placed, Ok(true)) {
        // Whatever went wrong is what the caller must hear; a leftover holds a key that nothing uses.
        let _ = std::fs::remove_file(&temp);
    }
    if !placed? {
        return Identity::load(path);
    }
    File::open(dir).and_then(|d| d.sync_all()).map_err(on("sync", dir))?;
    Ok(Identity::from_seed(*seed))
}

fn write(temp: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new([0; LEN]);
    text[..MAGIC.len()].copy_from_slice(MAGIC.as_bytes());
    HEXLOWER.encode_mut(seed, &mut text[MAGIC.len()..LEN - 1]);
    text[LEN - 1] = b'\n';
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp)?;
    file.write_all(&*text)?;
    file.sync_all()
}

/// Moves a new key onto its name; `false` if another process was first.
fn place(temp: &Path, path: &Path) -> Result<bool, KeyFileError> {
    match renameat_with(CWD, temp, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Some network file systems know only the plain rename; the data directory's lock keeps others out.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::rename(temp, path).map_err(on("create", path))?;
            Ok(true)
        }
        Err(e) => Err(on("create", path)(e.into())),
    }
}
