//! The topic of one store: says what this node writes to members that it isn't connected to, and does what is heard. The
//! topic's name depends on who the members are, so it is left for another when they change.
//!
//! It refuses to be a burden: what is written while a hint is on its way makes one hint, and is in full in the sessions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh_gossip::api::{Event as Heard, GossipReceiver, GossipSender, JoinOptions};
use iroh_gossip::proto::TopicId;
use tokio_stream::StreamExt;

use super::super::local::Local;
use super::super::{Shared, exchange};
use super::{Hints, keys};
use crate::id::NodeId;
use crate::identity::random_bytes;
use crate::sync::gossip::{self, Hint};
use crate::sync::schedule::Event;
use crate::sync::{Mark, Range, Received, SharedTips, TipsDigest};

/// Between two hints of one store.
const PAUSE: Duration = Duration::from_millis(50);
/// Peers are asked because of hints so often at most, and where one differs, after so long.
const ASK: Duration = Duration::from_secs(1);
/// Events that wait. A subscriber that is slower is closed, and subscribes again.
const WAITING: usize = 64;
/// Before that.
const AGAIN: Duration = Duration::from_secs(1);

/// Until the store is no longer exchanged.
pub(in super::super) async fn run(shared: Arc<Shared>, local: Arc<Local>) {
    tokio::select! {
        () = local.stop.cancelled() => {}
        () = follow_members(&shared, &local) => {}
    }
}

async fn follow_members(shared: &Arc<Shared>, local: &Arc<Local>) {
    let mut members = shared.gate.watch();
    loop {
        let id = topic_id(shared, local, &members.borrow_and_update());
        let options =
            JoinOptions { bootstrap: keys(shared.hints.lines.linked()), subscription_capacity: WAITING };
        let mut joined = shared.hints.joined.subscribe();
        if let Ok(topic) = shared.hints.gossip.subscribe_with_opts(id, options).await {
            let (to, from) = topic.split();
            let mut topic = Topic::new(shared, local, to);
            let changed = tokio::select! {
                changed = members.changed() => changed.is_ok(),
                () = topic.run(from, &mut joined) => false,
            };
            if changed {
                continue;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn topic_id(shared: &Shared, local: &Local, others: &BTreeSet<NodeId>) -> TopicId {
    let mut all = others.clone();
    all.insert(shared.me);
    TopicId::from_bytes(gossip::topic(&local.handle.genesis(), &gossip::members_digest(&all)))
}

struct Topic<'a> {
    shared: &'a Arc<Shared>,
    local: &'a Arc<Local>,
    to: GossipSender,
    /// Of our own chain, what was last told of.
    told: u64,
    /// Whom to ask, when, unless this node holds that by then.
    ask: Option<(Instant, NodeId, TipsDigest)>,
    asked: Instant,
}

impl<'a> Topic<'a> {
    fn new(shared: &'a Arc<Shared>, local: &'a Arc<Local>, to: GossipSender) -> Self {
        let told = local.tips.borrow().seq(&shared.me);
        Self { shared, local, to, told, ask: None, asked: Instant::now() }
    }

    /// Until its events end.
    async fn run(&mut self, mut from: GossipReceiver, joined: &mut tokio::sync::broadcast::Receiver<NodeId>) {
        let mut tips = self.local.tips.subscribe();
        let mut rested = Instant::now();
        loop {
            let tell = async {
                tokio::time::sleep_until(rested.into()).await;
                tips.changed().await
            };
            let ask = self.ask.map(|(at, ..)| at);
            tokio::select! {
                event = from.next() => match event {
                    Some(Ok(Heard::Received(message))) => {
                        let by = NodeId(*message.delivered_from.as_bytes());
                        self.hear(message.content, by).await;
                    }
                    Some(Ok(Heard::NeighborUp(_) | Heard::NeighborDown(_))) => {}
                    // It was too slow; what was missed comes by the sessions.
                    Some(Ok(Heard::Lagged) | Err(_)) | None => return,
                },
                peer = joined.recv() => {
                    let peers = match peer {
                        Ok(peer) => keys([peer]),
                        Err(_) => keys(self.shared.hints.lines.linked()),
                    };
                    if self.to.join_peers(peers.into_iter().collect()).await.is_err() {
                        return;
                    }
                }
                changed = tell => {
                    if changed.is_err() {
                        return;
                    }
                    rested = Instant::now() + PAUSE;
                    let tips = tips.borrow_and_update().clone();
                    self.tell(&tips).await;
                }
                () = exchange::sleep_until(ask) => self.ask_now(),
            }
        }
    }

    /// Says what this node has written, if there is anybody who doesn't hear it otherwise.
    async fn tell(&mut self, tips: &SharedTips) {
        let Some(mark) = tips.get(&self.shared.me).filter(|mark| mark.seq > self.told) else { return };
        self.told = mark.seq;
        let linked = self.shared.hints.lines.linked();
        // Without a connection there is nobody to tell.
        if linked.is_empty() || self.shared.gate.members().is_subset(&linked) {
            return;
        }
        let Some(hint) = self.hint(tips.clone(), mark).await else { return };
        if self.to.broadcast(hint).await.is_ok() {
            count(self.shared, |hints| &hints.sent);
        }
    }

    async fn hint(&self, tips: SharedTips, mark: Mark) -> Option<Bytes> {
        let (handle, me) = (self.local.handle.clone(), self.shared.me);
        let nonce = random_bytes::<8>().ok().map(u64::from_le_bytes)?;
        let read = tokio::task::spawn_blocking(move || {
            let range = Range { author: me, from: mark.seq, to: mark.seq };
            let entry = handle.range(&[range], gossip::MAX_ENTRY).unwrap_or_default().pop();
            Hint::new(handle.id(), &tips, (me, mark), entry, nonce).encode()
        });
        read.await.ok()
    }

    async fn hear(&mut self, message: Bytes, by: NodeId) {
        let Some(hint) = Hint::decode(message) else { return };
        count(self.shared, |hints| &hints.heard);
        let direct = |author| self.local.sessions.lock().contains_key(author);
        // Ours, or it comes by its author's own session.
        if hint.author == self.shared.me || direct(&hint.author) {
            return;
        }
        let now = Instant::now();
        match hint.heard(&self.local.handle.id(), &self.local.handle.published()) {
            gossip::Heard::Nothing => {}
            gossip::Heard::Take(entry) => {
                let local = self.local.clone();
                let kept = tokio::task::spawn_blocking(move || exchange::receive(&local, vec![entry], by));
                if kept.await.is_ok_and(|results| results.contains(&Received::New)) {
                    count(self.shared, |hints| &hints.taken);
                }
            }
            gossip::Heard::Ask => {
                let at = now.max(self.asked + ASK);
                self.ask = Some((at, by, hint.digest));
            }
            gossip::Heard::Differs => self.ask = self.ask.or(Some((now + ASK, by, hint.digest))),
        }
    }

    /// Unless what the hint spoke of has come meanwhile.
    fn ask_now(&mut self) {
        let Some((_, peer, digest)) = self.ask.take() else { return };
        if self.local.handle.published().digest() != digest {
            self.asked = Instant::now();
            self.shared.told(Event::Mismatch(peer));
        }
    }
}

fn count(shared: &Shared, which: impl Fn(&Hints) -> &std::sync::atomic::AtomicU64) {
    which(&shared.hints).fetch_add(1, Ordering::Relaxed);
}
