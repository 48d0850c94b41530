//! Chunks between two nodes, on streams of their own, so that a large file holds no entry up. Who asks names them by
//! hash and checks what comes by it; who answers reads them one after the other, in the order they were asked for, and checks
//! by hash what it hasn't checked before, and what is asked for again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream};
use prost::Message;
use tokio::sync::mpsc;

use super::buffers::Buffers;
use super::error::{FrameError, NetError, Result};
use super::link::Link;
use super::local::Local;
use super::{Shared, frame};
use crate::content::MAX_CHUNK_LEN;
use crate::id::{ChunkId, NodeId, StoreId};
use crate::wire::v1;
use crate::wire::v1::stream_open::Kind as Open;

/// Chunks asked for in one frame.
const PER_REQUEST: usize = 8;
/// Chunks asked for and not here yet, from one peer: less than a stream may carry unread. More makes it slower: what waits is no
/// longer in the CPU's cache when it is sent and stored (4.0 to 4.7 s for 1 GiB with 32, 5.1 to 5.7 with 128), and the two
/// sides take turns instead of working at the same time (both CPUs idle for 8 % of it with 24, for 10 % with 32).
const WINDOW: usize = 24;
/// Chunks that wait to be stored.
const QUEUE: usize = 8;
/// Chunks that are read at a time before they are sent: a thread is woken for so many, and not for each.
const READ: usize = 4;
/// Bytes that are stored by one write, where they have come by then.
const TOGETHER: usize = 1 << 20;
/// A peer that is there and doesn't give what it was asked for, because its disk hangs for one, is not waited for longer:
/// others may have it. Long enough for a chunk over a line of 10 KB/s.
const ANSWER: Duration = Duration::from_secs(30);
/// After a chunk that could not be kept.
const PAUSE: Duration = Duration::from_millis(500);
/// What a peer may ask for in one frame: some 30 names. Not bound to how many this program asks for.
const MAX_REQUEST: usize = 1024;
/// A chunk and its framing; the nodes of manifests are smaller.
const MAX_ANSWER: usize = MAX_CHUNK_LEN as usize + 128;
/// Below everything that says what there is.
const PRIORITY: i32 = -10;

/// What a peer asks for in one frame.
struct Asked {
    ids: Vec<ChunkId>,
    /// It has asked before, and what came wasn't what its name says, or nothing came.
    again: bool,
}

/// Answers what a peer asks for.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    store: StoreId,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<()> {
    let Some(local) = shared.stores.get(&store) else { return Ok(()) };
    // A closed stream has no priority, and is found out at the first write.
    let _ = send.set_priority(PRIORITY);
    let (asked, mut to_read) = mpsc::channel::<Asked>(1);
    let (read, mut answers) = mpsc::channel::<Vec<(ChunkId, Option<Bytes>)>>(1);
    shared.block(move || {
        let (content, buffers) = (local.handle.content(), Buffers::default());
        while let Some(Asked { ids, again }) = to_read.blocking_recv() {
            let get = |id: &ChunkId| match again {
                true => (*id, content.get_chunk(id).ok()),
                false => (*id, buffers.fill(|buf| content.read_chunk(id, buf)).ok()),
            };
            for some in ids.chunks(READ) {
                if read.blocking_send(some.iter().map(get).collect()).is_err() {
                    return;
                }
            }
        }
    });
    let take = async {
        loop {
            let request: v1::ChunkRequest = match frame::read(&mut recv, MAX_REQUEST).await {
                Ok(request) => request,
                Err(FrameError::Ended) => return Ok(()),
                Err(e) => return Err(NetError::lost(link.peer, e)),
            };
            let ids: Option<_> = request.ids.iter().map(|id| ChunkId::from_slice(id)).collect();
            let ids = ids.ok_or_else(|| NetError::protocol(link.peer, "a chunk's name of odd length"))?;
            if asked.send(Asked { ids, again: request.again }).await.is_err() {
                return Ok(());
            }
        }
    };
    let give = async {
        while let Some(some) = answers.recv().await {
            for (id, bytes) in some {
                answer(&mut send, id, bytes).await.map_err(|e| NetError::lost(link.peer, e))?;
            }
        }
        Ok(())
    };
    tokio::select! {
        done = take => done,
        done = give => done,
    }
}

/// The data is written as it is, behind the fields before it: no copy.
async fn answer(send: &mut SendStream, id: ChunkId, bytes: Option<Bytes>) -> Result<(), FrameError> {
    let stream = |e: iroh::endpoint::WriteError| FrameError::Stream(e.to_string());
    let id = Bytes::copy_from_slice(id.as_bytes());
    let Some(bytes) = bytes else {
        return frame::write(send, &v1::ChunkAnswer { id, absent: true, data: Bytes::new() }).await;
    };
    let fields = v1::ChunkAnswer { id, absent: false, data: Bytes::new() }.encode_to_vec();
    let mut head = Vec::with_capacity(64);
    let data_head = 1 + prost::length_delimiter_len(bytes.len());
    varint(fields.len() + data_head + bytes.len(), &mut head);
    head.extend_from_slice(&fields);
    head.push(3 << 3 | 2);
    varint(bytes.len(), &mut head);
    send.write_chunk(head.into()).await.map_err(stream)?;
    send.write_chunk(bytes).await.map_err(stream)
}

fn varint(mut n: usize, to: &mut Vec<u8>) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

/// Fetches what is wanted of a store from one peer, for as long as both have it.
pub(super) async fn fetch(shared: &Arc<Shared>, link: &Arc<Link>, local: &Arc<Local>) -> NetError {
    loop {
        let chunks = local.wanted.next(link.peer, PER_REQUEST).await.into();
        let mut asked = Asking { local, peer: link.peer, chunks };
        if let Err(e) = fetch_from(shared, link, local, &mut asked.chunks).await {
            return e;
        }
    }
}

/// Chunks asked of a peer that have not come. However the asking ends, also by being dropped in the middle when the
/// connection is lost elsewhere first, somebody else may be asked then.
struct Asking<'a> {
    local: &'a Local,
    peer: NodeId,
    chunks: VecDeque<ChunkId>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.local.wanted.put_back(self.peer, self.chunks.make_contiguous(), false);
    }
}

/// Asks for what is in `asked` and what else is wanted; ends well when nothing is left to ask for.
async fn fetch_from(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    local: &Arc<Local>,
    asked: &mut VecDeque<ChunkId>,
) -> Result<()> {
    let lost = |e: &dyn std::fmt::Display| NetError::lost(link.peer, e);
    let (mut send, mut recv) = link.conn.open_bi().await.map_err(|e| lost(&e))?;
    let store = Bytes::copy_from_slice(local.handle.id().as_bytes());
    let open = v1::StreamOpen { kind: Some(Open::Chunks(v1::ChunksOpen { store })) };
    frame::write(&mut send, &open).await.map_err(|e| lost(&e))?;
    request(&mut send, local, link.peer, asked.make_contiguous()).await.map_err(|e| lost(&e))?;
    let keep = keeper(shared, link, local);
    while let Some(id) = asked.front().copied() {
        let answer = tokio::time::timeout(ANSWER, frame::read(&mut recv, MAX_ANSWER)).await;
        let Ok(answer) = answer else {
            local.wanted.put_back(link.peer, asked.make_contiguous(), true);
            asked.clear();
            return Err(lost(&"it doesn't answer for the chunks that it was asked for"));
        };
        let answer: v1::ChunkAnswer = answer.map_err(|e| lost(&e))?;
        if answer.id[..] != id.as_bytes()[..] {
            return Err(NetError::protocol(link.peer, "it answers with a chunk that it was not asked for"));
        }
        if answer.absent {
            asked.pop_front();
            local.wanted.lacks(link.peer, &id);
        } else if keep.send((id, answer.data)).await.is_ok() {
            asked.pop_front();
        } else {
            return Err(NetError::Stopping);
        }
        if asked.len() <= WINDOW - PER_REQUEST {
            let more = local.wanted.take(link.peer, PER_REQUEST);
            if !more.is_empty() {
                asked.extend(&more);
                request(&mut send, local, link.peer, &more).await.map_err(|e| lost(&e))?;
            }
        }
    }
    // Nobody is left to tell, if that fails.
    let _ = send.finish();
    Ok(())
}

async fn request(
    send: &mut SendStream,
    local: &Local,
    peer: NodeId,
    ids: &[ChunkId],
) -> Result<(), FrameError> {
    let again = local.wanted.asked_in_vain(peer, ids);
    let ids = ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect();
    frame::write(send, &v1::ChunkRequest { ids, again }).await
}

/// Stores what comes, on a thread that may block.
fn keeper(shared: &Arc<Shared>, link: &Arc<Link>, local: &Arc<Local>) -> mpsc::Sender<(ChunkId, Bytes)> {
    let (keep, mut kept) = mpsc::channel::<(ChunkId, Bytes)>(QUEUE);
    let (local, peer) = (local.clone(), link.peer);
    shared.block(move || {
        while let Some(first) = kept.blocking_recv() {
            let (mut chunks, mut bytes) = (vec![first], 0);
            while bytes < TOGETHER
                && let Ok(next) = kept.try_recv()
            {
                bytes += next.1.len();
                chunks.push(next);
            }
            store_all(&local, peer, &chunks);
        }
    });
    keep
}

fn store_all(local: &Local, peer: NodeId, chunks: &[(ChunkId, Bytes)]) {
    let stored = local.handle.content().put_chunks(chunks.iter().map(|(id, bytes)| (id, &bytes[..])));
    let lacking: Vec<ChunkId> = match &stored {
        Ok(refused) => refused.iter().map(|(id, _)| *id).collect(),
        Err(_) => chunks.iter().map(|(id, _)| *id).collect(),
    };
    local.wanted.got(chunks.iter().map(|(id, _)| id).filter(|id| !lacking.contains(id)));
    if let Some(why) = stored.as_ref().map_or_else(Some, |refused| refused.first().map(|(_, why)| why)) {
        tracing::warn!(peer = %peer.short(), chunks = lacking.len(), "chunks were not kept: {why}");
        local.wanted.put_back(peer, &lacking, true);
        // A disk that is full now is most likely full in a moment.
        std::thread::sleep(PAUSE);
    }
}
