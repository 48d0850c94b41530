//! The beginnings of stores that were declared elsewhere: asked of one connected peer after the other until one has it.
//! The root store names a genesis by its hash, so whoever sends it can't send another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::SendStream;

use super::error::{NetError, Result};
use super::link::Link;
use super::{Shared, frame};
use crate::entry::{Decoded, Entry, MAX_HEADER, MAX_PAYLOAD};
use crate::id::{EntryId, StoreId};
use crate::wire::v1;
use crate::wire::v1::stream_open::Kind as Open;

const PAUSE: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_secs(10);
const MAX_ENTRY: usize = MAX_HEADER + MAX_PAYLOAD + 128;

/// Takes over what the root store declares, and asks for what isn't here. Blocks.
pub(super) fn look(shared: &Arc<Shared>) {
    let waiting = match shared.node.follow_root() {
        Ok(waiting) => waiting,
        Err(e) => {
            tracing::warn!("the declared stores can't be read: {e}");
            return;
        }
    };
    for (store, genesis) in waiting {
        if shared.awaited.lock().insert(store) {
            let task = shared.clone();
            shared.spawn("genesis", async move {
                tokio::select! {
                    () = task.stop.cancelled() => {}
                    () = get(&task, store, genesis) => {}
                }
                task.awaited.lock().remove(&store);
            });
        }
    }
}

/// Until it is here, or no longer declared.
async fn get(shared: &Arc<Shared>, store: StoreId, genesis: EntryId) {
    while shared.node.is_waiting(&store) {
        for link in shared.peers.links() {
            let asked = tokio::time::timeout(ANSWER, ask(&link, store, genesis));
            let entry = match asked.await {
                Ok(Ok(entry)) => entry,
                Ok(Err(e)) => {
                    tracing::debug!(peer = %link.peer.short(), %store, "no genesis: {e}");
                    continue;
                }
                Err(_) => continue,
            };
            let node = shared.node.clone();
            let taken = tokio::task::spawn_blocking(move || node.take_genesis(&entry)).await;
            if let Ok(Err(e)) = taken {
                tracing::warn!(%store, "the store can't be made: {e}");
            } else {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(link: &Link, store: StoreId, genesis: EntryId) -> Result<Entry> {
    let lost = |e: &dyn std::fmt::Display| NetError::lost(link.peer, e);
    let bad = |e: &dyn std::fmt::Display| NetError::protocol(link.peer, e);
    let (mut send, mut recv) = link.conn.open_bi().await.map_err(|e| lost(&e))?;
    let store = Bytes::copy_from_slice(store.as_bytes());
    let open = v1::StreamOpen { kind: Some(Open::Genesis(v1::GenesisOpen { store })) };
    frame::write(&mut send, &open).await.map_err(|e| lost(&e))?;
    let signed: v1::SignedEntry = frame::read(&mut recv, MAX_ENTRY).await.map_err(|e| lost(&e))?;
    let entry = decode(signed).map_err(|e| bad(&e))?;
    if entry.id != genesis {
        return Err(bad(&"it sent another store's genesis"));
    }
    Ok(entry)
}

/// A genesis that was sent: well made, and signed by its author.
pub(super) fn decode(signed: v1::SignedEntry) -> Result<Entry, String> {
    let signature = signed.signature[..].try_into().map_err(|_| "it is not signed".to_owned())?;
    match Entry::decode(signed.header, signed.payload, Some(signature)).map_err(|e| e.to_string())? {
        Decoded::Known(entry) => {
            entry.verify().map_err(|e| e.to_string())?;
            Ok(entry)
        }
        Decoded::Unknown { why, .. } => Err(why.to_string()),
    }
}

/// Answers who asks for a store's genesis.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    store: StoreId,
    mut send: SendStream,
) -> Result<()> {
    let Some(local) = shared.stores.get(&store) else { return Ok(()) };
    let read = tokio::task::spawn_blocking(move || local.handle.genesis_entry()).await;
    let signed = read.map_err(|_| NetError::Stopping)??;
    frame::write(&mut send, &signed).await.map_err(|e| NetError::lost(link.peer, e))?;
    send.finish().map_err(|e| NetError::lost(link.peer, e))
}
