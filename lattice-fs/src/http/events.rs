//! `…/events`: what happens in a store, as Server-Sent Events. An event's id is its cursor: a reader that comes back
//! with `Last-Event-ID` (or `?since=`) misses nothing. Where that can't be kept, a `gap` event says so.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use lattice_engine::store::{Cursor, Handle, Watch};
use serde::Deserialize;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::caller::Caller;
use super::describe;
use super::extract::{InStore, Query, query_bytes};
use super::history::parse_cursor;
use super::problem::{Code, Problem, Result, blocking};

/// A comment this often keeps what is between from closing an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a watcher notices that its reader has gone.
const POLL: Duration = Duration::from_millis(500);
/// Events under way; a slow reader holds its own watcher back, and nobody else.
const DEPTH: usize = 64;

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
    let (tx, rx) = mpsc::channel(DEPTH);
    let (watch, gap) = blocking(move || Ok(open(&store, cursor))).await?;
    let stop = app.control.stop.clone();
    let feed = Feed { watch, prefix, caller, tx, stop };
    std::thread::Builder::new()
        .name("lattice-events".into())
        .spawn(move || feed.run(gap))
        .map_err(|e| Problem::new(Code::Internal, format!("no thread for a watcher: {e}")))?;
    Ok(Sse::new(ReceiverStream::new(rx)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// A watch from the cursor on; where the log has no such place, from now on, and why.
fn open(store: &Handle, cursor: Option<Cursor>) -> (Watch, Option<String>) {
    let from_now = store.watch(None);
    let Some(cursor) = cursor else { return (from_now, None) };
    if cursor > from_now.cursor() {
        let why = format!("the cursor {cursor} is beyond the log's end at {}", from_now.cursor());
        return (from_now, Some(why));
    }
    match store.entries(cursor, 1) {
        Ok(_) => (store.watch(Some(cursor)), None),
        Err(e) => (from_now, Some(e.to_string())),
    }
}

struct Feed {
    watch: Watch,
    prefix: Vec<u8>,
    caller: Caller,
    tx: Sender<Sent>,
    stop: CancellationToken,
}

impl Feed {
    fn run(mut self, gap: Option<String>) {
        if let Some(why) = gap {
            self.send(Event::default().event("gap").data(serde_json::json!({ "reason": why }).to_string()));
        }
        while !self.tx.is_closed() && !self.stop.is_cancelled() {
            match self.watch.next(POLL) {
                Ok(Some(event)) => {
                    let Some(doc) = describe::entry(&event, &self.prefix, &self.caller) else { continue };
                    let event = Event::default().event("entry").id(doc.cursor.clone()).json_data(&doc);
                    match event {
                        Ok(event) => self.send(event),
                        Err(e) => tracing::warn!("an event can't be written as JSON: {e}"),
                    }
                }
                Ok(None) if self.watch.closed() => break,
                Ok(None) => {}
                Err(e) => {
                    let problem = Problem::from(e);
                    tracing::warn!("a watch ended: {problem}");
                    self.send(Event::default().event("error").json_data(&problem).unwrap_or_default());
                    break;
                }
            }
        }
    }

    fn send(&self, event: Event) {
        // A failed send means that the reader has gone, which the loop sees next.
        let _ = self.tx.blocking_send(Ok(event));
    }
}
