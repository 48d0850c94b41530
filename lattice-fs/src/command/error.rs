//! What a command fails with, and the exit code that says so: one place for both.

use std::path::PathBuf;

use crate::client::ClientError;
use crate::http::problem::{Code, Problem};
use crate::mounts::MountError;
use crate::paths::PathsError;

/// Exit codes; see `lattice help`.
pub mod exit {
    pub const ERROR: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const PARTLY: u8 = 3;
    pub const NOT_INITIALISED: u8 = 10;
    pub const LOCKED: u8 = 11;
    pub const NOT_AUTHORISED: u8 = 12;
    pub const NOT_FOUND: u8 = 20;
    pub const PRECONDITION: u8 = 21;
    pub const CONFLICTS: u8 = 22;
    pub const UNREACHABLE: u8 = 23;
    pub const TIMED_OUT: u8 = 24;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Paths(#[from] PathsError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("{0}")]
    Usage(String),
    #[error("{path} can't be {done}: {source}", path = path.display())]
    File { path: PathBuf, done: &'static str, source: std::io::Error },
    #[error("writing to the output failed: {0}")]
    Output(std::io::Error),
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    NotFound(String),
    /// Some of it was done.
    #[error("{0}")]
    Partly(String),
    /// `conflicts --exit-code` found some; they have been printed.
    #[error("{0} in conflict: `lattice resolve` settles it")]
    Conflicts(usize),
    #[error("{0}")]
    TimedOut(String),
    #[error("{0}")]
    NotAuthorised(String),
    /// A line of a script failed, and has said why.
    #[error("line {line} failed: what comes after it was not run")]
    Stopped { line: u64, code: u8 },
    /// What the daemon's start failed with, as it said itself.
    #[error("{message}")]
    Daemon { message: String, code: u8 },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The reader of our output has gone: nothing is wrong, and there is nobody to tell.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(e) => client_exit_code(e),
            Self::Usage(_) => exit::USAGE,
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::Partly(_) => exit::PARTLY,
            Self::Conflicts(_) => exit::CONFLICTS,
            Self::TimedOut(_) => exit::TIMED_OUT,
            Self::NotAuthorised(_) => exit::NOT_AUTHORISED,
            Self::Daemon { code, .. } | Self::Stopped { code, .. } => *code,
            Self::Mount(MountError::NotOurs(_)) => exit::NOT_FOUND,
            Self::Paths(_) | Self::Mount(_) | Self::File { .. } | Self::Output(_) | Self::Failed(_) => {
                exit::ERROR
            }
        }
    }

    /// The machine's word for it, for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Client(ClientError::Problem(p)) => p.code.as_str(),
            other => match other.exit_code() {
                exit::USAGE => "usage",
                exit::PARTLY => "partly-done",
                exit::NOT_INITIALISED => "not-initialised",
                exit::LOCKED => "locked",
                exit::PRECONDITION => "precondition-failed",
                exit::NOT_FOUND => "not-found",
                exit::CONFLICTS => "conflicts",
                exit::UNREACHABLE => "unreachable",
                exit::TIMED_OUT => "timed-out",
                exit::NOT_AUTHORISED => "not-authorised",
                _ => "error",
            },
        }
    }
}

fn client_exit_code(e: &ClientError) -> u8 {
    match e {
        ClientError::Problem(p) => problem_exit_code(p),
        ClientError::Unreachable { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            exit::NOT_AUTHORISED
        }
        ClientError::Unreachable { .. } | ClientError::BrokeOff(_) => exit::UNREACHABLE,
        ClientError::TimedOut { .. } => exit::TIMED_OUT,
        ClientError::Unexpected(_) => exit::ERROR,
    }
}

pub fn problem_exit_code(p: &Problem) -> u8 {
    match p.code {
        Code::BadKey | Code::BadName | Code::BadCursor | Code::BadVersion => exit::USAGE,
        Code::NotInitialised => exit::NOT_INITIALISED,
        Code::Locked => exit::LOCKED,
        Code::NotAuthorised => exit::NOT_AUTHORISED,
        Code::NoSuchStore | Code::NotFound | Code::NoSuchVersion | Code::NoSuchMount => exit::NOT_FOUND,
        Code::Precondition => exit::PRECONDITION,
        Code::NoSuchPeer => exit::NOT_FOUND,
        Code::TimedOut => exit::TIMED_OUT,
        Code::NoDaemon | Code::Stopping => exit::UNREACHABLE,
        _ => exit::ERROR,
    }
}

impl From<Problem> for Error {
    fn from(p: Problem) -> Self {
        Self::Client(p.into())
    }
}

impl From<std::io::Error> for Error {
    /// Output only: other I/O names its file.
    fn from(e: std::io::Error) -> Self {
        Self::Output(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let of = |code| Error::from(Problem::new(code, "")).exit_code();
        assert_eq!(of(Code::BadKey), 2);
        assert_eq!(of(Code::NotInitialised), 10);
        assert_eq!(of(Code::Locked), 11);
        assert_eq!(of(Code::NotAuthorised), 12);
        assert_eq!(of(Code::NoSuchStore), 20);
        assert_eq!(of(Code::Precondition), 21);
        assert_eq!(Error::Conflicts(1).exit_code(), 22);
        assert_eq!(Error::TimedOut(String::new()).exit_code(), 24);
        assert_eq!(of(Code::Damaged), 1);
    }
}
