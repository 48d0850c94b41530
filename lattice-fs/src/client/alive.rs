//! Whether the daemon still answers while something is waited for that takes as long as it takes: an upload, an export, a
//! mount. Work is never cut short by a clock; a daemon that hangs is found out by asking it something small beside it.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};

use super::request::over_socket;
use super::{ClientError, Result};

/// Between two questions, at most.
const PAUSE: Duration = Duration::from_secs(5);

/// The daemon at a socket, and how long it may be silent.
#[derive(Debug, Clone)]
pub(super) struct Alive {
    pub socket: PathBuf,
    pub limit: Duration,
}

impl Alive {
    /// What `work` comes to, or that the daemon has hung meanwhile.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            silent = self.silence() => Err(silent),
        }
    }

    /// Ends when the daemon has been silent for so long.
    async fn silence(&self) -> ClientError {
        let pause = PAUSE.min(self.limit / 2);
        loop {
            tokio::time::sleep(pause).await;
            // Whatever it says, it lives; and where it is gone, what is waited for says so.
            if tokio::time::timeout(self.limit - pause, self.ask()).await.is_err() {
                return ClientError::TimedOut { seconds: self.limit.as_secs() };
            }
        }
    }

    async fn ask(&self) -> Result<()> {
        let mut request = axum::http::Request::new(Body::empty());
        *request.uri_mut() = axum::http::Uri::from_static("/health/live");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("lattice"));
        over_socket(&self.socket, request).await.map(drop)
    }
}

/// As [`Alive::during`]; in this process there is nobody to be silent.
pub(super) async fn during<T>(alive: Option<&Alive>, work: impl Future<Output = T>) -> Result<T> {
    match alive {
        Some(alive) => alive.during(work).await,
        None => Ok(work.await),
    }
}
