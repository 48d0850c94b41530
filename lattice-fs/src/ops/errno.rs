//! The one translation from what the engine says to what a system call returns. Exhaustive: a new engine error does
//! not compile until someone decides what a program should see. Every `EIO` leaves one warning with path, operation
//! and cause, because `EIO` alone tells nobody anything.

use std::io;

use lattice_engine::entry::EntryError;
use lattice_engine::key::{Key, KeyError};
use lattice_engine::store::StoreError;
pub use rustix::io::Errno;

pub type Result<T> = std::result::Result<T, Errno>;

/// The bytes are not here yet: `Fs::patiently` waits for them. The kernel never sees it.
pub const NOT_HERE: Errno = Errno::REMOTE;

/// The file is being read on its way into the store: `Fs::patiently` waits until it may be written. The kernel never sees it.
pub const FROZEN: Errno = Errno::ALREADY;

/// What a failed store operation looks like to the caller of `operation` on `key`.
pub fn of_store(operation: &'static str, key: &Key, error: &StoreError) -> Errno {
    match error.cause() {
        StoreError::NotFound(_) => Errno::NOENT,
        StoreError::Exists(_) => Errno::EXIST,
        StoreError::NotEmpty(_) => Errno::NOTEMPTY,
        StoreError::IsADirectory(_) => Errno::ISDIR,
        StoreError::NotADirectory(_) => Errno::NOTDIR,
        // Only a caller that named heads meets this, and it may read again and retry.
        StoreError::Precondition(_) => Errno::AGAIN,
        StoreError::TooMany(_) => Errno::XDEV,
        StoreError::IntoItself(_) => Errno::INVAL,
        StoreError::Key(_, e) => of_key(e),
        StoreError::ReadOnly { .. } => {
            tracing::warn!(path = %key, operation, cause = %error, "refused: read-only");
            Errno::ROFS
        }
        StoreError::NoSpace(_) => Errno::NOSPC,
        StoreError::Interrupted => Errno::INTR,
        StoreError::Refused(_) => {
            tracing::warn!(path = %key, operation, cause = %error, "refused");
            Errno::PERM
        }
        StoreError::Content(e) if e.absent().is_some() => NOT_HERE,
        // Over a limit of the format: the xattrs of one file, say.
        StoreError::Entry(EntryError::Limit { .. }) => Errno::NOSPC,
        StoreError::Io { .. }
        | StoreError::Log(_)
        | StoreError::State(_)
        | StoreError::Content(_)
        | StoreError::NotHere { .. }
        | StoreError::Entry(_)
        | StoreError::Shared(_) => match of_cause(error) {
            Errno::IO => eio(operation, &key.to_string(), error),
            errno => errno,
        },
    }
}

/// What the disk said, however deep it is wrapped.
fn of_cause(error: &StoreError) -> Errno {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error.cause());
    while let Some(e) = at {
        if let Some(e) = e.downcast_ref::<io::Error>() {
            return of_io(e);
        }
        at = e.source();
    }
    Errno::IO
}

/// What a name or path that can't be a key looks like.
pub fn of_key(error: &KeyError) -> Errno {
    match error {
        KeyError::LongSegment(_) | KeyError::LongKey(_) => Errno::NAMETOOLONG,
        KeyError::Reserved => Errno::PERM,
        KeyError::Empty | KeyError::EmptySegment | KeyError::Dots | KeyError::Nul => Errno::INVAL,
    }
}

/// The few conditions of the disk below that a program can act on; all else is `EIO`.
pub fn of_io(error: &io::Error) -> Errno {
    match Errno::from_io_error(error) {
        Some(
            e @ (Errno::NOSPC
            | Errno::DQUOT
            | Errno::ROFS
            | Errno::FBIG
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE),
        ) => e,
        _ => Errno::IO,
    }
}

/// `EIO`, with its reason in the log.
pub fn eio(operation: &'static str, path: &str, cause: &dyn std::fmt::Display) -> Errno {
    tracing::warn!(path, operation, %cause, "input/output error");
    Errno::IO
}

/// An error of the local disk while a file was staged there.
pub fn of_staging(operation: &'static str, path: &str, error: &io::Error) -> Errno {
    match of_io(error) {
        Errno::IO => eio(operation, path, error),
        errno => errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_enospc_wherever_it_shows() {
        let key = Key::parse(b"a").expect("a key");
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let wrapped = StoreError::Io { what: "append".into(), source: full() };
        assert_eq!(of_store("write", &key, &wrapped), Errno::NOSPC);
        assert_eq!(of_staging("write", "a", &full()), Errno::NOSPC);
    }

    #[test]
    fn names_that_are_too_long_say_so() {
        assert_eq!(of_key(&KeyError::LongSegment(300)), Errno::NAMETOOLONG);
        assert_eq!(of_key(&KeyError::LongKey(5000)), Errno::NAMETOOLONG);
    }
}
