//! One stream per store and peer, for as long as both have the store: it drives a [`Session`]. The session decides, this
//! moves bytes: frames between stream and session, entries between session and store, on threads that may block.
//!
//! The node with the lower id opens all streams between two nodes, so no two are ever opened for one store. The root store
//! goes first: it says who the members are, and so whose entries in the others count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{RecvStream, SendStream};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::error::{NetError, Result};
use super::link::Link;
use super::local::{Held, Local};
use super::reopen::Reopen;
use super::{Shared, chunks, frame, publish};
use crate::id::{NodeId, StoreId};
use crate::sync::{Announced, Config, Frame, FrameError, Input, MAX_FRAME, Output, Received, Session};
use crate::wire::v1;
use crate::wire::v1::stream_open::Kind as Open;

/// Frames read and not yet dealt with.
const READ_AHEAD: usize = 4;

/// Opens a stream for every store that both have, where it is ours to open, until the connection ends.
pub(super) async fn keep_open(shared: Arc<Shared>, link: Arc<Link>) {
    if shared.me > link.peer {
        return;
    }
    let mut opener = Opener { shared, link, running: JoinSet::new(), streams: Reopen::default() };
    let stop = opener.link.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = opener.run() => {}
    }
}

/// What `keep_open` knows.
struct Opener {
    shared: Arc<Shared>,
    link: Arc<Link>,
    /// Gives the store, and how long its stream lasted.
    running: JoinSet<(StoreId, Duration)>,
    streams: Reopen,
}

impl Opener {
    async fn run(&mut self) {
        let mut ours = self.shared.stores.watch();
        let mut theirs = self.link.theirs.subscribe();
        let mut first = self.link.root_is_caught_up.subscribe();
        loop {
            let both: Vec<Arc<Local>> = {
                let theirs = theirs.borrow_and_update();
                let root_done = *first.borrow_and_update();
                let may = |l: &&Arc<Local>| theirs.contains(&l.handle.id()) && (l.is_root || root_done);
                ours.borrow_and_update().values().filter(may).cloned().collect()
            };
            both.iter().for_each(|local| self.open(local));
            let next = self.streams.next(both.iter().map(|local| local.handle.id()));
            tokio::select! {
                _ = ours.changed() => {}
                _ = theirs.changed() => {}
                _ = first.changed() => {}
                () = sleep_until(next) => {}
                Some(ended) = self.running.join_next() => self.ended(ended),
            }
        }
    }

    fn open(&mut self, local: &Arc<Local>) {
        let id = local.handle.id();
        if !self.streams.begin(id, Instant::now()) {
            return;
        }
        let (shared, link, local) = (self.shared.clone(), self.link.clone(), local.clone());
        self.running.spawn(async move {
            let began = Instant::now();
            if let Err(e) = open(&shared, &link, &local).await {
                tracing::debug!(peer = %link.peer.short(), store = %id, "its stream ended: {e}");
            }
            (id, began.elapsed())
        });
    }

    fn ended(&mut self, ended: std::result::Result<(StoreId, Duration), tokio::task::JoinError>) {
        match ended {
            Ok((id, lasted)) => self.streams.ended(id, lasted, Instant::now()),
            // Which store it was isn't told; the connection is made anew, and with it every stream.
            Err(e) => {
                tracing::error!(peer = %self.link.peer.short(), "a store's stream broke: {e}");
                self.link.close(super::code::CLOSED, "an error here");
            }
        }
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn open(shared: &Arc<Shared>, link: &Arc<Link>, local: &Arc<Local>) -> Result<()> {
    let lost = |e: &dyn std::fmt::Display| NetError::lost(link.peer, e);
    let (mut send, recv) = link.conn.open_bi().await.map_err(|e| lost(&e))?;
    let open = v1::StreamOpen {
        kind: Some(Open::Store(v1::StoreOpen {
            store: Bytes::copy_from_slice(local.handle.id().as_bytes()),
            genesis: Bytes::copy_from_slice(local.handle.genesis().as_bytes()),
        })),
    };
    frame::write(&mut send, &open).await.map_err(|e| lost(&e))?;
    drive(shared, link, local, send, recv).await
}

/// A stream that the peer has opened for a store.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    store: StoreId,
    send: SendStream,
    recv: RecvStream,
) -> Result<()> {
    if shared.me < link.peer {
        return Err(NetError::protocol(link.peer, "it opened a store's stream, which is ours to open"));
    }
    // Not open here (any more): dropping the stream says so, and it is tried again later.
    let Some(local) = shared.stores.get(&store) else { return Ok(()) };
    drive(shared, link, &local, send, recv).await
}

async fn drive(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    local: &Arc<Local>,
    send: SendStream,
    recv: RecvStream,
) -> Result<()> {
    let fresh = local.clone();
    blocking(move || publish::publish(&fresh)).await?;
    let tips = local.tips.subscribe();
    let mut whole = local.whole.subscribe();
    whole.mark_changed();
    let mut forks = local.forks.subscribe();
    // Those that are known already are told as well.
    forks.mark_changed();
    let config = Config {
        store: local.handle.id(),
        genesis: local.handle.genesis(),
        node: shared.me,
        peer: link.peer,
    };
    let session = Arc::new(Mutex::new(Session::new(config, tips.borrow().clone())));
    local.sessions.lock().insert(link.peer, session.clone());
    let (work, done) = mpsc::unbounded_channel();
    let (out, queue) = mpsc::unbounded_channel();
    let (frames, read) = mpsc::channel(READ_AHEAD);
    let written = Arc::new(Notify::new());
    let driver = Driver { shared, link, local, session: session.clone(), work, out };
    let ended = tokio::select! {
        e = write(send, queue, written.clone()) => Err(NetError::lost(link.peer, e)),
        e = read_frames(recv, frames) => Err(NetError::lost(link.peer, e)),
        e = chunks::fetch(shared, link, local), if !local.is_root => Err(e),
        ended = driver.run(Events { read, done, tips, whole, forks, written, ask: local.ask.subscribe(), check: link.check.subscribe() }) => ended,
        () = local.stop.cancelled() => Ok(()),
    };
    // Another stream may have taken its place.
    let mut sessions = local.sessions.lock();
    if sessions.get(&link.peer).is_some_and(|s| Arc::ptr_eq(s, &session)) {
        sessions.remove(&link.peer);
        local.mesh.lock().left(link.peer);
    }
    drop(sessions);
    local.held.lock().insert(link.peer, Held::by(&session.lock()));
    local.progressed();
    ended
}

/// What a driver waits for.
struct Events {
    read: mpsc::Receiver<std::result::Result<Frame, FrameError>>,
    done: mpsc::UnboundedReceiver<Input>,
    tips: watch::Receiver<crate::sync::SharedTips>,
    whole: watch::Receiver<Option<u64>>,
    forks: watch::Receiver<crate::sync::SharedForks>,
    written: Arc<Notify>,
    /// All peers are to be asked, and this one.
    ask: watch::Receiver<u64>,
    check: watch::Receiver<u64>,
}

struct Driver<'a> {
    shared: &'a Arc<Shared>,
    link: &'a Arc<Link>,
    local: &'a Arc<Local>,
    session: Arc<Mutex<Session>>,
    /// Results of blocking work. Few are under way: the session sees to that.
    work: mpsc::UnboundedSender<Input>,
    /// Frames to write. As few: the session waits until they are written.
    out: mpsc::UnboundedSender<Bytes>,
}

impl Driver<'_> {
    async fn run(self, mut events: Events) -> Result<()> {
        let mut timer = None;
        let mut next = Some(Input::Opened);
        loop {
            let input = match next.take() {
                Some(input) => input,
                None => self.wait(&mut events, timer).await?,
            };
            if let Input::Timer = input {
                timer = None;
            }
            let outputs = {
                let mut session = self.session.lock();
                session.handle(input, self.shared.now(), &mut self.local.mesh.lock())
            };
            for output in outputs {
                match output {
                    Output::SetTimer(at) => timer = Some(self.shared.instant(at)),
                    Output::Close(reason) => return Err(NetError::protocol(self.link.peer, reason)),
                    output => self.act(output),
                }
            }
            self.local.progressed();
        }
    }

    async fn wait(&self, events: &mut Events, timer: Option<Instant>) -> Result<Input> {
        let over = || NetError::lost(self.link.peer, "the store's stream is over");
        Ok(tokio::select! {
            Some(input) = events.done.recv() => input,
            changed = events.tips.changed() => {
                changed.map_err(|_| over())?;
                Input::Published(events.tips.borrow_and_update().clone())
            }
            // Its sender lives in `local`.
            Ok(whole) = next_whole(&mut events.whole) => Input::Whole(whole),
            changed = events.forks.changed() => {
                changed.map_err(|_| over())?;
                Input::Forks(events.forks.borrow_and_update().clone())
            }
            frame = events.read.recv() => match frame.ok_or_else(over)? {
                Ok(frame) => Input::Frame(frame),
                Err(e) => Input::BadFrame(e),
            },
            () = events.written.notified() => Input::Writable,
            () = sleep_until(timer) => Input::Timer,
            Ok(()) = events.ask.changed() => Input::Check,
            Ok(()) = events.check.changed() => Input::Check,
        })
    }

    fn act(&self, output: Output) {
        let (work, handle, peer) = (self.work.clone(), self.local.handle.clone(), self.link.peer);
        match output {
            // Who writes has ended, and so will this.
            Output::Send(frame) => drop(self.out.send(frame.encode())),
            Output::Range { request, ranges, max_bytes } => self.shared.block(move || {
                let entries = handle.range(&ranges, max_bytes).unwrap_or_else(|e| {
                    tracing::warn!(store = %handle.id(), "entries for a peer can't be read: {e}");
                    Vec::new()
                });
                drop(work.send(Input::Ranged { request, entries }));
            }),
            Output::Fetch { request, entries } => self.shared.block(move || {
                let entries = handle.fetch(&entries, MAX_FRAME / 2).unwrap_or_default();
                drop(work.send(Input::Ranged { request, entries }));
            }),
            Output::Chain { request, author, of, from, max_bytes } => self.shared.block(move || {
                let entries = handle.chain(&author, of, from, max_bytes).unwrap_or_default();
                drop(work.send(Input::Ranged { request, entries }));
            }),
            Output::Receive { batch, entries } => {
                let local = self.local.clone();
                self.shared.block(move || {
                    let results = receive(&local, entries, peer);
                    drop(work.send(Input::Received { batch, results, durable: handle.published() }));
                });
            }
            Output::Forked(proof) => {
                let local = self.local.clone();
                self.shared.block(move || {
                    if let Err(e) = handle.receive_fork((*proof).clone()) {
                        tracing::warn!(peer = %peer.short(), "it tells of a fork that is none: {e}");
                    }
                    publish::tell(&local);
                });
            }
            Output::CaughtUp => {
                tracing::debug!(peer = %peer.short(), store = %self.local.handle.id(), "caught up");
                if self.local.is_root {
                    self.link.root_is_caught_up.send_replace(true);
                }
            }
            Output::SetTimer(_) | Output::Close(_) => {}
        }
    }
}

/// Up to where content is here, each time that it is more.
async fn next_whole(
    whole: &mut watch::Receiver<Option<u64>>,
) -> std::result::Result<u64, watch::error::RecvError> {
    loop {
        whole.changed().await?;
        if let Some(generation) = *whole.borrow_and_update() {
            return Ok(generation);
        }
    }
}

/// Keeps what a peer sent, durably. Where this node's own disk fails, nothing was taken, and it may be asked for again.
pub(super) fn receive(local: &Local, entries: Vec<v1::SignedEntry>, from: NodeId) -> Vec<Received> {
    let count = entries.len();
    let received = local.handle.receive(entries, from).and_then(|results| {
        local.handle.publish()?;
        Ok(results)
    });
    publish::tell(local);
    received.unwrap_or_else(|e| {
        tracing::warn!(store = %local.handle.id(), "entries of {} could not be kept: {e}", from.short());
        vec![Received::Full; count]
    })
}

/// Writes what is queued, and says each time that nothing is left.
async fn write(
    mut to: SendStream,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    written: Arc<Notify>,
) -> String {
    while let Some(bytes) = queue.recv().await {
        if let Err(e) = to.write_chunk(bytes).await {
            return e.to_string();
        }
        if queue.is_empty() {
            written.notify_one();
        }
    }
    std::future::pending().await
}

/// Reads frames until there is none; the last thing that the driver gets is why a frame is none.
async fn read_frames(
    mut from: RecvStream,
    to: mpsc::Sender<std::result::Result<Frame, FrameError>>,
) -> String {
    loop {
        let read = match read_frame(&mut from).await {
            Ok(read) => read,
            Err(lost) => return lost,
        };
        let bad = read.is_err();
        if to.send(read).await.is_err() || bad {
            // The driver closes what has a bad frame.
            return std::future::pending().await;
        }
    }
}

/// One frame; `Err`: the stream has ended.
async fn read_frame(
    from: &mut RecvStream,
) -> std::result::Result<std::result::Result<Frame, FrameError>, String> {
    let mut head = [0u8; 5];
    for n in 0..head.len() {
        from.read_exact(&mut head[n..=n]).await.map_err(|e| e.to_string())?;
        let announced = match Announced::read(&head[..=n]) {
            Err(e) => return Ok(Err(e)),
            Ok(None) => continue,
            Ok(Some(announced)) => announced,
        };
        let mut body = BytesMut::zeroed(announced.len);
        // The first byte, which tells the kind, has been read with the length.
        body[0] = head[n];
        from.read_exact(&mut body[1..]).await.map_err(|e| e.to_string())?;
        return Ok(Frame::decode(body.freeze()));
    }
    Ok(Err(FrameError::BadLength))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NetError::Stopping)
}
