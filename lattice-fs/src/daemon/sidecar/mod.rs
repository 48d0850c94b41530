//! HTTP for those who have no mount: the API over TCP, for whoever has a token. On this machine alone unless told otherwise,
//! and then only with TLS, or with word that a reverse proxy does it.
//!
//! It refuses to wait: for a header, for the next bytes of a body, for a reader that has stopped to read, and for more
//! connections than there are descriptors for.

mod connection;
mod paced;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DaemonError, Result};
use crate::http::guard::Guard;
use crate::http::origin::Origins;
use crate::http::problem::{Code, Problem};
use crate::http::settings::HttpSettings;
use crate::http::{App, Failures, Front, Sessions, Web};
use tls::Tls;

/// How the sidecar is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: SocketAddr,
    pub origins: Origins,
    pub tls: Option<TlsFiles>,
    /// Somebody before us does TLS: plain HTTP also where others could read along.
    pub behind_proxy: bool,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the chain from the server's own certificate on.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What one client may take, and all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// Bytes of one request's body.
    pub body: u64,
    /// For a request's header, and for a connection without a request.
    pub header: Duration,
    /// For the next bytes, in either direction.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            body: 64 << 30,
            header: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

impl From<&Config> for HttpSettings {
    fn from(c: &Config) -> Self {
        Self {
            listen: c.listen,
            hosts: c.origins.hosts.clone(),
            origins: c.origins.allowed.clone(),
            behind_proxy: c.behind_proxy,
            tls_cert: c.tls.as_ref().map(|tls| tls.cert.clone()),
            tls_key: c.tls.as_ref().map(|tls| tls.key.clone()),
            max_body: c.limits.body,
        }
    }
}

impl From<HttpSettings> for Config {
    fn from(s: HttpSettings) -> Self {
        Self {
            listen: s.listen,
            origins: Origins { hosts: s.hosts, allowed: s.origins },
            tls: s.tls_cert.zip(s.tls_key).map(|(cert, key)| TlsFiles { cert, key }),
            behind_proxy: s.behind_proxy,
            limits: Limits { body: s.max_body, ..Limits::default() },
        }
    }
}

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub struct Sidecar {
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<Tls>,
    config: Config,
}

impl Sidecar {
    /// Reads the certificate and binds.
    ///
    /// # Errors
    /// What is wrong with the files or the address; an address that others could read along on.
    pub async fn bind(config: Config) -> Result<Self> {
        let at = config.listen;
        if config.tls.is_none() && !config.behind_proxy && !at.ip().is_loopback() {
            return Err(DaemonError::Problem(Box::new(Problem::new(
                Code::Refused,
                format!(
                    "{at} can be reached by others, who could read tokens on their way: give --tls-cert and --tls-key, or \
                     --http-behind-proxy where a reverse proxy does TLS"
                ),
            ))));
        }
        let tls = match &config.tls {
            None => None,
            Some(files) => Some(Tls::of(files.clone())?),
        };
        let failed = |source| DaemonError::Listen { at, source };
        let listener = TcpListener::bind(at).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local, tls, config })
    }

    /// Where to find it: by a name of its own where a certificate is shown for one, else by an address of this machine.
    pub fn url(&self) -> String {
        let (port, name) = (self.local.port(), self.config.origins.hosts.first());
        match (&self.tls, name) {
            (Some(_), Some(name)) => format!("https://{name}:{port}"),
            (tls, _) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                let ip = match self.local.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
                format!("{scheme}://{}", SocketAddr::new(ip, port))
            }
        }
    }

    /// What the API has to know of it.
    pub fn web(&self) -> Web {
        let sessions = Sessions::new(self.local.port(), self.tls.is_some());
        Web { url: self.url(), sessions, settings: (&self.config).into() }
    }

    /// Serves until told to stop.
    pub async fn serve(self, app: App, stop: CancellationToken, tasks: TaskTracker) {
        let guard = Guard {
            app,
            local: self.local.ip(),
            tls: self.tls.is_some(),
            origins: self.config.origins.clone(),
            failures: Failures::default(),
        };
        let serving = Arc::new(Serving {
            front: Front::new(Arc::new(guard)),
            tls: self.tls,
            limits: self.config.limits.clone(),
            stop: stop.clone(),
        });
        let room = Room::new(self.config.limits.connections);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("a connection couldn't be accepted: {e}");
                    // Out of descriptors, most likely: let some be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!(%from, "a connection has gone: {e}");
                continue;
            }
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = room.place() => place,
            };
            let serving = serving.clone();
            tasks.spawn(async move {
                match place {
                    Place::Served(_slot) => connection::serve(&serving, stream, from).await,
                    Place::TurnedAway(_slot) => connection::turn_away(&serving, stream, from).await,
                }
            });
        }
    }
}

/// What every connection needs.
#[derive(Debug)]
struct Serving {
    front: Front,
    tls: Option<Tls>,
    limits: Limits,
    stop: CancellationToken,
}

/// Connections that are told at once that there are too many. More wait to be accepted.
const TURNED_AWAY: usize = 64;

/// How many connections there may be.
struct Room {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

/// What becomes of a connection, as long as it holds its place.
enum Place {
    Served(OwnedSemaphorePermit),
    TurnedAway(OwnedSemaphorePermit),
}

impl Room {
    fn new(connections: usize) -> Self {
        Self {
            served: Arc::new(Semaphore::new(as_many(connections))),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
        }
    }

    /// For the next connection, whatever is free first.
    async fn place(&self) -> Place {
        tokio::select! {
            biased;
            // INVARIANT: nobody closes a semaphore, so both give a place in the end.
            Ok(slot) = self.served.clone().acquire_owned() => Place::Served(slot),
            Ok(slot) = self.turned_away.clone().acquire_owned() => Place::TurnedAway(slot),
            else => std::future::pending().await,
        }
    }
}

/// As many as are asked for, as far as descriptors go: half of them are left to the stores.
fn as_many(asked: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || (limit.current.is_some() && limit.maximum.is_none()) {
        let wider = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, wider) {
            tracing::debug!("the limit of open files stays: {e}");
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    asked.min(usize::try_from(descriptors / 2).unwrap_or(usize::MAX)).max(16)
}

/// An error as the client's end of a connection sees it.
fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what.to_owned())
}
