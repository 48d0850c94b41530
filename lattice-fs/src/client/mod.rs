//! The API as a command uses it: HTTP over the daemon's socket, or to the same router in this process when no daemon
//! runs. A command can't tell the two apart. Bodies are streamed both ways.

mod alive;
mod error;
mod lines;
mod request;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use lattice_engine::node::{Node, NodeError};

pub use error::{ClientError, Result};
pub use lines::{Lines, SseEvent};
pub use request::{Request, Response};

use alive::Alive;

use crate::http::problem::blocking;
use crate::http::{self, App};
use crate::paths::{Paths, own_dir};
use crate::patience::{POLL, Patience};
use crate::socket;

/// A way to the router.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    timeout: Option<Duration>,
}

#[derive(Debug)]
enum Transport {
    Socket(PathBuf),
    InProcess { router: Router, node: Node },
}

impl Client {
    /// The daemon, if one runs.
    pub async fn daemon(paths: &Paths, timeout: Option<Duration>) -> Result<Option<Self>> {
        for (n, socket) in paths.sockets().into_iter().enumerate() {
            // Where others may write it could be anybody's.
            if n > 0 && socket.parent().is_none_or(|dir| own_dir(dir).is_err()) {
                continue;
            }
            match socket::connect(&socket).await {
                Ok(_) => return Ok(Some(Self { transport: Transport::Socket(socket), timeout })),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
                Err(source) => return Err(ClientError::Unreachable { socket, source }),
            }
        }
        Ok(None)
    }

    /// The daemon, or the data directory itself. Another command that has it open is waited for.
    pub async fn open(paths: &Paths, timeout: Option<Duration>) -> Result<Self> {
        let mut patience = Patience::new(Instant::now());
        loop {
            if let Some(client) = Self::daemon(paths, timeout).await? {
                return Ok(client);
            }
            match open_node(&paths.data).await? {
                Ok(node) => {
                    let router = http::local(App::in_process(node.clone()));
                    return Ok(Self { transport: Transport::InProcess { router, node }, timeout: None });
                }
                Err(NodeError::Locked { pid, .. }) if patience.goes_on(pid, Instant::now()) => {
                    tokio::time::sleep(POLL).await;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A client of this router, for tests.
    pub fn in_process(node: Node) -> Self {
        let router = http::local(App::in_process(node.clone()));
        Self { transport: Transport::InProcess { router, node }, timeout: None }
    }

    /// The daemon that is to be heard of while it is waited for.
    fn alive(&self) -> Option<Alive> {
        let Transport::Socket(socket) = &self.transport else { return None };
        self.timeout.map(|limit| Alive { socket: socket.clone(), limit })
    }

    /// Whether a daemon answers.
    pub fn is_daemon(&self) -> bool {
        matches!(self.transport, Transport::Socket(_))
    }

    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::GET, path.into())
    }

    pub fn head(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::HEAD, path.into())
    }

    pub fn put(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::PUT, path.into())
    }

    pub fn post(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::POST, path.into())
    }

    pub fn patch(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::PATCH, path.into())
    }

    pub fn delete(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self, axum::http::Method::DELETE, path.into())
    }

    /// Syncs and closes what this process has open. Without it the next start replays the log.
    pub async fn close(self) -> Result<()> {
        match self.transport {
            Transport::Socket(_) => Ok(()),
            Transport::InProcess { router, node } => {
                drop(router);
                Ok(blocking(move || Ok(node.close()?)).await?)
            }
        }
    }
}

async fn open_node(data: &Path) -> Result<std::result::Result<Node, NodeError>> {
    let data = data.to_owned();
    Ok(blocking(move || Ok(Node::open(&data))).await?)
}

#[cfg(test)]
mod tests;
