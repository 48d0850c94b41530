//! Connections that others make. Each is a task of its own, whose panic ends that connection and nothing else (iroh's
//! Router would close the endpoint). How many are being greeted at a time is bounded, and one that dawdles is dropped.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Incoming;
use tokio::sync::Semaphore;

use super::{ALPN, JOIN_ALPN, Shared, hints, join, peer};

/// Handshakes under way.
const MAX_HANDSHAKES: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Until the endpoint closes.
pub(super) async fn run(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let incoming = tokio::select! {
            () = shared.stop.cancelled() => return,
            incoming = shared.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let task = shared.clone();
        shared.spawn("incoming connection", async move {
            let conn = handshake(incoming).await;
            drop(permit);
            if let Some(conn) = conn {
                serve(task, conn).await;
            }
        });
    }
}

async fn handshake(incoming: Incoming) -> Option<iroh::endpoint::Connection> {
    let from = format!("{:?}", incoming.remote_addr());
    let accepting = match incoming.accept() {
        Ok(accepting) => accepting,
        Err(e) => {
            tracing::debug!(from, "not a connection: {e}");
            return None;
        }
    };
    match tokio::time::timeout(HANDSHAKE, accepting).await {
        Ok(Ok(conn)) => Some(conn),
        Ok(Err(e)) => {
            tracing::debug!(from, "no connection came of it: {e}");
            None
        }
        Err(_) => {
            tracing::debug!(from, "it didn't finish its handshake");
            None
        }
    }
}

/// Strangers never come here but by `lattice-join`: the hooks have closed theirs.
async fn serve(shared: Arc<Shared>, conn: iroh::endpoint::Connection) {
    let peer = crate::id::NodeId(*conn.remote_id().as_bytes());
    if conn.alpn() == ALPN && shared.gate.admits(&peer) {
        let ended = peer::run(shared, conn, false).await;
        tracing::debug!(peer = %peer.short(), "{ended}");
    } else if conn.alpn() == hints::ALPN && shared.gate.admits(&peer) {
        shared.hints.take(conn).await;
    } else if conn.alpn() == JOIN_ALPN {
        join::serve(&shared, conn, peer).await;
    }
}
