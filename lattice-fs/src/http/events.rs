//! `…/events`: what happens in a store, as Server-Sent Events. An event's id is its cursor: a reader that comes back
//! with `Last-Event-ID` (or `?since=`) misses nothing. Where that can't be kept, a `gap` event says so; and where a change of
//! the members has changed what is shown, of which no entry tells.
//!
//! A stream costs a task and no thread: each reads the log for itself, a page at a time, when its store's [`Bell`] rings. A
//! slow reader holds back nobody but itself, and a stream ends when the token or the session that it was opened with does.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use lattice_engine::store::{Cursor, Event as StoreEvent, Handle};
use serde::Deserialize;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

use super::app::App;
use super::bells::Bell;
use super::caller::{Caller, Who};
use super::describe;
use super::extract::{InStore, Query, query_bytes};
use super::history::parse_cursor;
use super::problem::{Code, Problem, Result, blocking};

/// A comment this often keeps what is between from closing an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events under way to one reader.
const DEPTH: usize = 64;
/// Entries read at a time.
const PAGE: usize = 256;

#[derive(Debug, Deserialize)]
pub struct EventsQuery {
    /// After this cursor; `0.0` is the beginning; from now on without.
    since: Option<String>,
}

type Sent = std::result::Result<Event, Infallible>;

pub async fn stream(
    State(app): State<App>,
    caller: Caller,
    InStore(store): InStore,
    Query(q): Query<EventsQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Sent>>> {
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let since = last.or(q.since).filter(|s| !s.is_empty());
    let cursor = since.as_deref().map(parse_cursor).transpose()?;
    let prefix = query_bytes(&uri, "prefix").unwrap_or_default();
    let slot = match caller.is_local() {
        true => None,
        false => Some(app.control.streams.clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::Busy, "there are too many event streams: close some, or try again later")
        })?),
    };
    let (bell, log) = (app.control.bells.of(&store)?, store.clone());
    let (at, anew, gap) = blocking(move || Ok(open(&log, cursor))).await?;
    let (tx, rx) = mpsc::channel(DEPTH);
    let feed = Feed { app, store, caller, prefix, at, anew, tx };
    tokio::spawn(async move {
        feed.run(bell, gap).await;
        drop(slot);
    });
    Ok(Sse::new(ReceiverStream::new(rx)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

const MADE_ANEW: &str = "members were revoked or added, and entries count no more or count again: what is shown may differ \
                         from what events have told";

/// Where to begin: at the cursor; where the log has no such place, now. How often the state was made anew by then, and why
/// the reader doesn't know all.
fn open(store: &Handle, cursor: Option<Cursor>) -> (Cursor, u64, Option<String>) {
    let anew = store.made_anew();
    let now = store.watch(None).cursor();
    let Some(cursor) = cursor else { return (now, anew, None) };
    if cursor.is_beyond(&now) {
        return (now, anew, Some(format!("the cursor {cursor} is beyond the log's end at {now}")));
    }
    if let Err(e) = store.entries(cursor, 1) {
        return (now, anew, Some(e.to_string()));
    }
    let gap = (!cursor.agrees(&now)).then(|| MADE_ANEW.to_owned());
    (Cursor { left_out: now.left_out, ..cursor }, anew, gap)
}

struct Feed {
    app: App,
    store: Handle,
    caller: Caller,
    prefix: Vec<u8>,
    /// After the last entry that was looked at.
    at: Cursor,
    /// How often the state had been made anew when the reader was last told.
    anew: u64,
    tx: Sender<Sent>,
}

/// Why a stream is over.
struct Over;

impl Feed {
    async fn run(mut self, mut bell: Bell, gap: Option<String>) {
        if let Some(why) = gap
            && self.gap(&why).await.is_err()
        {
            return;
        }
        let stop = self.app.control.stop.clone();
        loop {
            let went_on = tokio::select! {
                went_on = self.catch_up() => went_on,
                () = stop.cancelled() => Err(Over),
            };
            if went_on.is_err() {
                return;
            }
            let rang = tokio::select! {
                rang = bell.rung() => rang,
                // Nothing new; but who listens may not be let in any more.
                () = tokio::time::sleep(HEARTBEAT) => true,
                () = self.tx.closed() => false,
                () = stop.cancelled() => false,
            };
            if !rang {
                return;
            }
        }
    }

    /// Sends all that is there.
    async fn catch_up(&mut self) -> std::result::Result<(), Over> {
        loop {
            let (app, store, caller) = (self.app.clone(), self.store.clone(), self.caller.clone());
            let (at, known) = (self.at, self.anew);
            let page = blocking(move || {
                if !holds(&app, &caller)? {
                    return Err(Problem::new(Code::Unauthenticated, "the token or the session has ended"));
                }
                let page = store.entries(at, PAGE)?;
                // Behind it: what has come by other members isn't sent before the gap.
                let anew = store.made_anew();
                let left_out = if anew == known { at.left_out } else { store.watch(None).cursor().left_out };
                Ok((page, anew, left_out))
            });
            let (page, anew, left_out) = match page.await {
                Ok(found) => found,
                Err(problem) => {
                    tracing::info!("an event stream ended: {problem}");
                    self.send(Event::default().event("error").json_data(&problem).unwrap_or_default())
                        .await?;
                    return Err(Over);
                }
            };
            if std::mem::replace(&mut self.anew, anew) != anew {
                self.at.left_out = left_out;
                self.gap(MADE_ANEW).await?;
            }
            let whole = page.len() < PAGE;
            for event in page {
                self.at = event.cursor;
                self.tell(&event).await?;
            }
            if whole {
                return Ok(());
            }
        }
    }

    /// With the cursor at which it goes on: who comes back with that isn't told again.
    async fn gap(&self, why: &str) -> std::result::Result<(), Over> {
        let data = serde_json::json!({ "reason": why }).to_string();
        self.send(Event::default().event("gap").id(self.at.to_string()).data(data)).await
    }

    async fn tell(&self, event: &StoreEvent) -> std::result::Result<(), Over> {
        let Some(doc) = describe::entry(event, &self.prefix, &self.caller) else { return Ok(()) };
        match Event::default().event("entry").id(doc.cursor.clone()).json_data(&doc) {
            Ok(event) => self.send(event).await,
            Err(e) => {
                tracing::warn!("an event can't be written as JSON: {e}");
                Ok(())
            }
        }
    }

    async fn send(&self, event: Event) -> std::result::Result<(), Over> {
        self.tx.send(Ok(event)).await.map_err(|_| Over)
    }
}

/// Whether the caller would still be let in.
fn holds(app: &App, caller: &Caller) -> Result<bool> {
    match caller.who() {
        Who::Token(id) => Ok(app.node.token_holds(&id)?),
        Who::Session(id) => {
            Ok(app.control.web.get().is_some_and(|web| web.sessions.holds(&id, Instant::now())))
        }
        Who::Local => Ok(true),
    }
}
