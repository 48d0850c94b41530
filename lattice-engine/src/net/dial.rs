//! Dialling a peer when the schedule says so: a task per member. Each attempt is short and each peer has its own, so one that
//! never answers delays nobody. An attempt is dropped and made anew when the schedule says so meanwhile: an address was
//! learnt, the machine woke, or the network changed.
//!
//! Trap: while a connection to a peer lives, iroh sends new dials along its old path. So a dial begins only when the old
//! connection is closed and gone.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;

use super::error::{NetError, Result};
use super::peers::Peer;
use super::{ALPN, Shared, peer};
use crate::sync::schedule::Event;

/// A silent address would keep a dial for half a minute.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Until the peer is no longer a member, or the network stops.
pub(super) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    tokio::select! {
        () = peer.stop.cancelled() => {}
        () = keep_dialling(&shared, &peer) => {}
    }
}

async fn keep_dialling(shared: &Arc<Shared>, peer: &Arc<Peer>) {
    let mut linked = peer.watch();
    loop {
        peer.dial.notified().await;
        let dialled = loop {
            // It has called meanwhile, or does so while it is dialled. The watch's sender lives in `peer`.
            tokio::select! {
                _ = linked.wait_for(Option::is_some) => break None,
                () = peer.dial.notified() => {}
                dialled = dial(shared, peer) => break Some(dialled),
            }
        };
        let ended = match dialled {
            None => continue,
            Some(Ok(conn)) => peer::run(shared.clone(), conn, true).await,
            Some(Err(e)) => {
                shared.told(Event::Failed(peer.id));
                e
            }
        };
        tracing::debug!(peer = %peer.id.short(), "{ended}");
        peer.record.lock().last_error = Some(ended.to_string());
        shared.stores.all().values().for_each(|local| local.progressed());
    }
}

async fn dial(shared: &Shared, peer: &Peer) -> Result<Connection> {
    let failed = |why: String| NetError::Connect { peer: peer.id, why };
    let addr = shared.book.endpoint_addr(&peer.id).ok_or_else(|| failed("its id is no key".into()))?;
    let connecting = shared.endpoint.connect(addr, ALPN);
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) => {
            shared.revoked.hear_error(&peer.id, &e);
            Err(failed(super::endpoint::why(&e)))
        }
        Err(_) => Err(failed(format!("no answer within {} s", ATTEMPT.as_secs()))),
    }
}
