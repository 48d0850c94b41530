//! One connection to one member, and its control stream: who is at the other end, whether it still answers, which stores
//! it has open, where it has reached others. Refuses a peer of another mesh and one that speaks a later protocol only.
//!
//! QUIC's own keep-alives show that packets pass; the pings here show that the program at the other end is well, and
//! give the round trip that `peer ping` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::{FrameError, NetError, Result};
use super::{Shared, code, frame};
use crate::id::{NodeId, StoreId};
use crate::wire::v1;
use crate::wire::v1::control_frame::Kind as Control;
use crate::wire::v1::stream_open::Kind as Open;

/// The protocol that this program speaks.
pub(super) const VERSION: u32 = 1;
/// How long the other side may take with its hello.
const HELLO: Duration = Duration::from_secs(5);
/// How often a peer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A peer that answers nothing for so long is given up: dialling anew finds out faster than waiting does.
const STALE: Duration = Duration::from_secs(8);
/// Frames of the control stream: a list of 4000 stores fits.
const MAX_CONTROL: usize = 72 << 10;
const MAX_STORES: usize = 4000;
/// First frames of streams.
pub(super) const MAX_OPEN: usize = 128;
/// Control frames under way.
const QUEUE: usize = 64;
/// Above the streams that carry data.
const PRIORITY: i32 = 10;

/// A connection whose other end has said hello.
#[derive(Debug)]
pub(super) struct Link {
    pub peer: NodeId,
    pub conn: Connection,
    /// By us.
    pub dialled: bool,
    pub since: Instant,
    /// Of the peer's process.
    pub instance: u64,
    /// What the peer calls itself.
    pub name: String,
    pub stop: CancellationToken,
    /// What the peer has open.
    pub theirs: watch::Sender<BTreeSet<StoreId>>,
    /// All that the peer had of the root store when the connection began is here.
    pub root_is_caught_up: watch::Sender<bool>,
    /// Counts the times that every session of the connection was told to ask whether both hold the same.
    pub check: watch::Sender<u64>,
    control: mpsc::Sender<Control>,
    /// Microseconds; 0: not known yet.
    rtt: AtomicU64,
    heard: Mutex<Instant>,
    pings: Mutex<BTreeMap<u64, Waiting>>,
    nonce: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    sent: Instant,
    tell: Option<oneshot::Sender<Duration>>,
}

/// The control stream of a connection that is being greeted.
#[derive(Debug)]
pub(super) struct Greeted {
    pub link: Arc<Link>,
    send: SendStream,
    recv: RecvStream,
    queue: mpsc::Receiver<Control>,
}

/// Says hello and hears the other's.
pub(super) async fn greet(shared: &Shared, conn: Connection, dialled: bool) -> Result<Greeted> {
    let peer = NodeId(*conn.remote_id().as_bytes());
    let seconds = HELLO.as_secs();
    let hello = tokio::time::timeout(HELLO, exchange(shared, &conn, peer, dialled));
    let (send, recv, hello) = hello.await.map_err(|_| NetError::NoAnswer { peer, seconds })??;
    let theirs = StoreId::from_slice(&hello.root_store);
    let theirs = theirs.ok_or_else(|| NetError::protocol(peer, "its hello names no store"))?;
    if theirs != shared.node.root().id() {
        return Err(NetError::OtherMesh { peer, theirs });
    }
    if hello.version < VERSION {
        return Err(NetError::protocol(peer, format!("version {}, ours is {VERSION}", hello.version)));
    }
    let (control, queue) = mpsc::channel(QUEUE);
    let link = Arc::new(Link {
        peer,
        conn,
        dialled,
        since: Instant::now(),
        instance: hello.instance,
        name: hello.name.chars().filter(|c| !c.is_control()).take(64).collect(),
        stop: shared.stop.child_token(),
        theirs: watch::Sender::new(BTreeSet::new()),
        root_is_caught_up: watch::Sender::new(false),
        check: watch::Sender::new(0),
        control,
        rtt: AtomicU64::new(0),
        heard: Mutex::new(Instant::now()),
        pings: Mutex::default(),
        nonce: AtomicU64::new(1),
    });
    Ok(Greeted { link, send, recv, queue })
}

async fn exchange(
    shared: &Shared,
    conn: &Connection,
    peer: NodeId,
    dialled: bool,
) -> Result<(SendStream, RecvStream, v1::PeerHello)> {
    let lost = |e: &dyn std::fmt::Display| NetError::lost(peer, e);
    let (mut send, mut recv) = if dialled {
        let (mut send, recv) = conn.open_bi().await.map_err(|e| lost(&e))?;
        let open = v1::StreamOpen { kind: Some(Open::Control(v1::ControlOpen {})) };
        frame::write(&mut send, &open).await.map_err(|e| lost(&e))?;
        (send, recv)
    } else {
        let (send, mut recv) = conn.accept_bi().await.map_err(|e| lost(&e))?;
        let open: v1::StreamOpen = frame::read(&mut recv, MAX_OPEN).await.map_err(|e| lost(&e))?;
        if !matches!(open.kind, Some(Open::Control(_))) {
            return Err(NetError::protocol(peer, "its first stream is not the control stream"));
        }
        (send, recv)
    };
    // A closed stream has no priority, and is found out right below.
    let _ = send.set_priority(PRIORITY);
    let hello = v1::PeerHello {
        version: VERSION,
        root_store: shared.node.root().id().as_bytes().to_vec().into(),
        name: shared.config.name.clone(),
        instance: shared.instance,
    };
    let ours = v1::ControlFrame { kind: Some(Control::Hello(hello)) };
    frame::write(&mut send, &ours).await.map_err(|e| lost(&e))?;
    let theirs: v1::ControlFrame = frame::read(&mut recv, MAX_CONTROL).await.map_err(|e| lost(&e))?;
    match theirs.kind {
        Some(Control::Hello(hello)) => Ok((send, recv, hello)),
        _ => Err(NetError::protocol(peer, "it didn't say hello")),
    }
}

impl Greeted {
    /// Serves the control stream until the connection ends; says why it did.
    pub async fn run(self, shared: &Arc<Shared>) -> NetError {
        let Self { link, mut send, mut recv, mut queue } = self;
        let peer = link.peer;
        link.say(Control::Known(shared.known_addresses(&peer)));
        let mut stores = shared.stores.watch();
        link.say(Control::Stores(open_stores(stores.borrow_and_update().keys())));
        let write = async {
            while let Some(kind) = queue.recv().await {
                if let Err(e) = frame::write(&mut send, &v1::ControlFrame { kind: Some(kind) }).await {
                    return NetError::lost(peer, e);
                }
            }
            NetError::lost(peer, "its control stream has no writer")
        };
        let read = async {
            loop {
                match frame::read::<v1::ControlFrame>(&mut recv, MAX_CONTROL).await {
                    Ok(frame) => {
                        if let Err(e) = link.hear(shared, frame) {
                            return e;
                        }
                    }
                    Err(FrameError::Stream(why)) => return NetError::lost(peer, why),
                    Err(e) => return NetError::protocol(peer, e),
                }
            }
        };
        let tell = async {
            while stores.changed().await.is_ok() {
                link.say(Control::Stores(open_stores(stores.borrow_and_update().keys())));
            }
            std::future::pending::<NetError>().await
        };
        tokio::select! {
            e = write => e,
            e = read => e,
            e = tell => e,
            e = link.keep_asking() => e,
            e = link.conn.closed() => NetError::lost(peer, e),
            () = link.stop.cancelled() => NetError::lost(peer, "closed here"),
        }
    }
}

fn open_stores<'a>(ids: impl Iterator<Item = &'a StoreId>) -> v1::OpenStores {
    v1::OpenStores { stores: ids.take(MAX_STORES).map(|id| id.as_bytes().to_vec().into()).collect() }
}

impl Link {
    /// Queues a control frame. A peer that takes none of 64 is found stale by its pings.
    pub fn say(&self, kind: Control) {
        if self.control.try_send(kind).is_err() {
            tracing::debug!(peer = %self.peer.short(), "its control queue is full");
        }
    }

    fn hear(&self, shared: &Shared, frame: v1::ControlFrame) -> Result<()> {
        *self.heard.lock() = Instant::now();
        match frame.kind {
            Some(Control::Ping(ping)) => self.say(Control::Pong(ping)),
            Some(Control::Pong(pong)) => self.answered(pong.nonce),
            Some(Control::Stores(list)) => {
                let ids =
                    list.stores.iter().map(|id| StoreId::from_slice(id)).collect::<Option<BTreeSet<_>>>();
                let ids = ids.ok_or_else(|| NetError::protocol(self.peer, "a store's id of odd length"))?;
                self.theirs.send_if_modified(|theirs| {
                    let changed = *theirs != ids;
                    *theirs = ids;
                    changed
                });
            }
            Some(Control::Known(known)) => shared.hear_addresses(known),
            Some(Control::Hello(_)) => return Err(NetError::protocol(self.peer, "it said hello twice")),
            // A later version's: nothing that we need to understand.
            None => {}
        }
        Ok(())
    }

    fn answered(&self, nonce: u64) {
        let Some(waiting) = self.pings.lock().remove(&nonce) else { return };
        let rtt = waiting.sent.elapsed();
        self.rtt.store(rtt.as_micros() as u64 + 1, Ordering::Relaxed);
        if let Some(tell) = waiting.tell {
            // Who asked may have given up.
            let _ = tell.send(rtt);
        }
    }

    /// The last round trip that was measured.
    pub fn rtt(&self) -> Option<Duration> {
        Some(self.rtt.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }

    /// The address that packets go to.
    pub fn path(&self) -> Option<String> {
        let paths = self.conn.paths();
        let selected = paths.iter().find(|p| p.is_selected())?;
        Some(super::book::Address::of(selected.remote_addr())?.to_string())
    }

    /// Time since it last said anything.
    pub fn silent(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    fn send_ping(&self, tell: Option<oneshot::Sender<Duration>>) {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let mut pings = self.pings.lock();
        while pings.len() >= QUEUE {
            pings.pop_first();
        }
        pings.insert(nonce, Waiting { sent: Instant::now(), tell });
        drop(pings);
        self.say(Control::Ping(v1::Ping { nonce }));
    }

    /// One round trip, now.
    pub async fn ping(&self, patience: Duration) -> Result<Duration> {
        let (tell, told) = oneshot::channel();
        self.send_ping(Some(tell));
        let no_answer = NetError::NoAnswer { peer: self.peer, seconds: patience.as_secs() };
        match tokio::time::timeout(patience, told).await {
            Ok(Ok(rtt)) => Ok(rtt),
            _ => Err(no_answer),
        }
    }

    /// Pings until the peer has been silent for too long.
    async fn keep_asking(&self) -> NetError {
        let mut last = Instant::now();
        loop {
            self.send_ping(None);
            tokio::time::sleep(PING_EVERY).await;
            // A process that was stopped has heard nothing because of itself: it asks once more before it judges.
            let stopped = last.elapsed() > PING_EVERY * 2;
            last = Instant::now();
            if stopped {
                *self.heard.lock() = last;
            }
            if self.silent() > STALE {
                let why = format!("it has said nothing for {} s", self.silent().as_secs());
                self.close(code::STALE, &why);
                return NetError::lost(self.peer, why);
            }
        }
    }

    pub fn close(&self, code: VarInt, why: &str) {
        self.conn.close(code, why.as_bytes());
        self.stop.cancel();
    }
}
