//! Keeping a peer connected: a task per member that dials while there is no connection, whoever ended it. Each attempt
//! is short and each peer has its own, so one that never answers delays nobody. An attempt is dropped and made anew when
//! an address was learnt, the machine woke, or the network changed.
//!
//! Trap: while a connection to a peer lives, iroh sends new dials along its old path. So a dial begins only when the old
//! connection is closed and gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iroh::endpoint::Connection;

use super::error::{NetError, Result};
use super::peers::{Backoff, Peer};
use super::{ALPN, Shared, peer};

/// A silent address would keep a dial for half a minute.
const ATTEMPT: Duration = Duration::from_secs(3);
/// A connection that lasted so long was a good one: the next dial follows at once.
const GOOD: Duration = Duration::from_secs(5);

/// Until the peer is no longer a member, or the network stops.
pub(super) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    tokio::select! {
        () = peer.stop.cancelled() => {}
        () = keep_dialling(&shared, &peer) => {}
    }
}

async fn keep_dialling(shared: &Arc<Shared>, peer: &Arc<Peer>) {
    let mut linked = peer.watch();
    let mut backoff = Backoff::new(Instant::now());
    loop {
        // The sender lives in `peer`.
        let _ = linked.wait_for(Option::is_none).await;
        let dialled = tokio::select! {
            _ = linked.wait_for(Option::is_some) => {
                backoff = Backoff::new(Instant::now());
                continue;
            }
            () = peer.poke.notified() => continue,
            dialled = dial(shared, peer) => dialled,
        };
        let began = Instant::now();
        let ended = match dialled {
            Ok(conn) => peer::run(shared.clone(), conn, true).await,
            Err(e) => e,
        };
        if began.elapsed() > GOOD {
            backoff = Backoff::new(Instant::now());
        }
        tracing::debug!(peer = %peer.id.short(), "{ended}");
        peer.record.lock().last_error = Some(ended.to_string());
        shared.stores.all().values().for_each(|local| local.progressed());
        let pause = backoff.next(Instant::now());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = peer.poke.notified() => {}
            _ = linked.wait_for(Option::is_some) => {}
        }
    }
}

async fn dial(shared: &Shared, peer: &Peer) -> Result<Connection> {
    let failed = |why: String| NetError::Connect { peer: peer.id, why };
    let addr = shared.book.endpoint_addr(&peer.id).ok_or_else(|| failed("its id is no key".into()))?;
    let connecting = shared.endpoint.connect(addr, ALPN);
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) => {
            shared.told.hear_error(&peer.id, &e);
            Err(failed(super::endpoint::why(&e)))
        }
        Err(_) => Err(failed(format!("no answer within {} s", ATTEMPT.as_secs()))),
    }
}
