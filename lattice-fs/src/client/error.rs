//! Why a request came to nothing.

use std::path::PathBuf;

use crate::http::problem::Problem;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The router said no.
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("the daemon at {} can't be reached: {source}; `lattice doctor` says more", socket.display())]
    Unreachable { socket: PathBuf, source: std::io::Error },
    #[error("no answer from the daemon within {seconds} s; give it longer by --timeout, or see its log")]
    TimedOut { seconds: u64 },
    #[error("the connection broke off: {0}")]
    BrokeOff(String),
    #[error("the answer can't be understood: {0}; is the daemon of another version?")]
    Unexpected(String),
}

pub type Result<T> = std::result::Result<T, ClientError>;

impl<P: Into<Problem>> From<P> for ClientError {
    fn from(problem: P) -> Self {
        Self::Problem(Box::new(problem.into()))
    }
}
