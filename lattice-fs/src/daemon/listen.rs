//! The socket: only this user and root get in, by the credentials that the kernel vouches for.

use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DaemonError, Result};
use crate::http::problem::{Code, Problem};
use crate::paths::{make_own_dir, make_private_dir};
use crate::socket;

/// Listens at the first of these places that can be written. `None` where none can: what is mounted is served all the same,
/// but other commands don't find this process.
pub async fn bind_where_possible(places: Vec<PathBuf>) -> Result<Option<(UnixListener, PathBuf)>> {
    for (n, path) in places.into_iter().enumerate() {
        match bind(&path, n > 0).await {
            Err(DaemonError::Io { source, .. }) if cannot_write(&source) => {
                tracing::info!("there can't be a socket at {}: {source}", path.display());
            }
            bound => return bound.map(|listener| Some((listener, path))),
        }
    }
    tracing::warn!("no socket can be made anywhere, so no other command reaches this one");
    Ok(None)
}

fn cannot_write(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Listens at `path`. A socket that nobody answers on is left from a process that was killed, and is cleared. `shared`:
/// others may write above its directory.
async fn bind(path: &Path, shared: bool) -> Result<UnixListener> {
    let dir = path.parent().unwrap_or(path);
    let made = if shared { make_own_dir(dir) } else { make_private_dir(dir) };
    made.map_err(|source| DaemonError::Io { what: "cannot make", path: dir.into(), source })?;
    let failed = |what| move |source| DaemonError::Io { what, path: path.into(), source };
    match socket::connect(path).await {
        Ok(_) => return Err(DaemonError::SocketTaken(path.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("cleared the stale socket {}", path.display());
            std::fs::remove_file(path).map_err(failed("cannot clear the stale socket"))?;
        }
        Err(e) => return Err(failed("cannot probe the socket")(e)),
    }
    socket::bind(path).map_err(failed("cannot listen at"))
}

/// Accepts until told to stop; then connections end when their answer is out.
pub async fn serve(listener: UnixListener, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = admit(&stream, &router);
                tasks.spawn(connection(stream, router, stop.clone()));
            }
            Err(e) => {
                tracing::warn!("a connection couldn't be accepted: {e}");
                // Out of descriptors, most likely: let some be closed.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// The router for those who may; for others one that says no.
fn admit(stream: &UnixStream, router: &Router) -> Router {
    let us = rustix::process::getuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == us || peer.uid() == 0 => router.clone(),
        peer => {
            let who = peer.map_or_else(|e| e.to_string(), |p| format!("uid {}", p.uid()));
            tracing::warn!("refused {who} at the socket");
            let detail = format!("{who} may not use this daemon: it belongs to uid {us}");
            Router::new().fallback(async move || Problem::new(Code::NotAuthorised, detail))
        }
    }
}

async fn connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!("a connection ended: {e}");
    }
}
