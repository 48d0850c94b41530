//! A connection's whole life, from the hello to its end: its control stream, the streams that the peer opens, and one per
//! store that both have. All its tasks end with it.

use std::sync::Arc;

use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio_util::task::TaskTracker;

use super::error::{NetError, Result};
use super::link::{self, Greeted, Link, MAX_OPEN};
use super::peers::Peer;
use super::{Shared, chunks, code, exchange, frame, genesis, hints};
use crate::id::{NodeId, StoreId};
use crate::sync::schedule::Event;
use crate::wire::v1::StreamOpen;
use crate::wire::v1::stream_open::Kind as Open;

/// Runs a connection until it ends; says why it did.
pub(super) async fn run(shared: Arc<Shared>, conn: Connection, dialled: bool) -> NetError {
    let id = NodeId(*conn.remote_id().as_bytes());
    let (greeted, peer) = match admit(&shared, conn, dialled).await {
        Ok(admitted) => admitted,
        Err(e) => {
            // It may be connected in another way by now, which the schedule has been told.
            if dialled && shared.peers.get(&id).is_some_and(|p| p.link().is_none()) {
                shared.told(Event::Failed(id));
            }
            return e;
        }
    };
    let link = greeted.link.clone();
    shared.reached(&link);
    shared.revoked.forget(&id);
    shared.count_link(true);
    shared.hints.lines.link_up(id);
    shared.told(Event::Reached(id));
    tracing::info!(peer = %id.short(), dialled, "connected");
    let tasks = TaskTracker::new();
    guard(&tasks, &link, streams(shared.clone(), link.clone(), tasks.clone()));
    guard(&tasks, &link, exchange::keep_open(shared.clone(), link.clone()));
    guard(&tasks, &link, hints::keep(shared.clone(), link.clone()));
    let ended = greeted.run(&shared).await;
    shared.revoked.hear(&link.conn);
    link.close(code::CLOSED, &ended.to_string());
    peer.record.lock().seen_ms = Some(shared.now_ms());
    shared.count_link(false);
    shared.hints.lines.link_down(&id);
    peer.dismiss(&link);
    tasks.close();
    tasks.wait().await;
    if peer.link().is_none() {
        shared.told(Event::Lost(id));
    }
    tracing::info!(peer = %id.short(), "disconnected: {ended}");
    ended
}

/// The connection of a member, greeted, which is now the one that counts.
async fn admit(shared: &Arc<Shared>, conn: Connection, dialled: bool) -> Result<(Greeted, Arc<Peer>)> {
    let greeted = match link::greet(shared, conn.clone(), dialled).await {
        Ok(greeted) => greeted,
        Err(e) => {
            shared.revoked.hear(&conn);
            let code =
                if matches!(e, NetError::OtherMesh { .. }) { code::OTHER_MESH } else { code::PROTOCOL };
            conn.close(code, e.to_string().as_bytes());
            return Err(e);
        }
    };
    let link = &greeted.link;
    let Some(peer) = shared.peers.get(&link.peer) else {
        link.close(code::NOT_A_MEMBER, "not a member");
        return Err(NetError::NotAMember(link.peer));
    };
    if !peer.admit(&shared.me, link) {
        return Err(NetError::lost(link.peer, "both sides had dialled; the other connection stays"));
    }
    // Who was cut off since `get` found it: the gate is shut before links are looked for.
    if !shared.gate.admits(&link.peer) {
        peer.dismiss(link);
        link.close(code::NOT_A_MEMBER, "not a member");
        return Err(NetError::NotAMember(link.peer));
    }
    Ok((greeted, peer))
}

/// A task of a connection. Its panic ends the connection, which is then made anew.
fn guard(tasks: &TaskTracker, link: &Arc<Link>, task: impl Future<Output = ()> + Send + 'static) {
    let link = link.clone();
    tasks.spawn(async move {
        if tokio::spawn(task).await.is_err_and(|e| e.is_panic()) {
            tracing::error!(peer = %link.peer.short(), "a task of its connection panicked");
            link.close(code::CLOSED, "an error here");
        }
    });
}

/// Takes the streams that the peer opens.
async fn streams(shared: Arc<Shared>, link: Arc<Link>, tasks: TaskTracker) {
    loop {
        let stream = tokio::select! {
            () = link.stop.cancelled() => return,
            stream = link.conn.accept_bi() => stream,
        };
        let Ok((send, recv)) = stream else { return };
        let (shared, held) = (shared.clone(), link.clone());
        guard(&tasks, &link, async move {
            let link = held;
            let served = tokio::select! {
                () = link.stop.cancelled() => return,
                served = serve(&shared, &link, send, recv) => served,
            };
            if let Err(e) = served {
                tracing::debug!(peer = %link.peer.short(), "a stream ended: {e}");
            }
        });
    }
}

async fn serve(shared: &Arc<Shared>, link: &Arc<Link>, send: SendStream, mut recv: RecvStream) -> Result<()> {
    let lost = |e| NetError::lost(link.peer, e);
    let open: StreamOpen = frame::read(&mut recv, MAX_OPEN).await.map_err(lost)?;
    let store = |id: &[u8]| {
        StoreId::from_slice(id).ok_or_else(|| NetError::protocol(link.peer, "a store's id of odd length"))
    };
    match open.kind {
        Some(Open::Store(open)) => exchange::serve(shared, link, store(&open.store)?, send, recv).await,
        Some(Open::Chunks(open)) => chunks::serve(shared, link, store(&open.store)?, send, recv).await,
        Some(Open::Genesis(open)) => genesis::serve(shared, link, store(&open.store)?, send).await,
        Some(Open::Control(_)) => Err(NetError::protocol(link.peer, "it opened a second control stream")),
        // Of a later version: dropping both halves tells the peer that we don't take it.
        None => Ok(()),
    }
}
