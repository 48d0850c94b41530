//! `…/history/{key}` and `…/entries`: what happened, to one key or to a store.

use std::collections::VecDeque;

use axum::Json;
use axum::http::Uri;
use lattice_engine::store::{Cursor, Event, Handle};
use serde::Deserialize;

use super::caller::Caller;
use super::describe;
use super::extract::{AtKey, InStore, Query, query_bytes};
use super::model::{EntryDoc, EntryList, History};
use super::problem::{Code, Problem, Result, blocking};

/// Entries read at once; and in one answer at most.
const BATCH: usize = 1000;
const MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
pub struct HistoryQuery {
    limit: Option<usize>,
}

pub async fn of_key(
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<HistoryQuery>,
) -> Result<Json<History>> {
    blocking(move || {
        let versions = store.history(&key, q.limit.unwrap_or(MAX).clamp(1, MAX))?;
        if versions.is_empty() && store.get(&key)?.is_some_and(|r| r.below.children > 0) {
            let detail = format!(
                "{key} is a directory that is there because something is below it, and has no versions of its own: `lattice \
                 log STORE:{key}/` shows what happened below it"
            );
            return Err(Problem::new(Code::IsADirectory, detail));
        }
        if versions.is_empty() {
            return Err(Problem::new(Code::NotFound, format!("{key}: no such key, and there never was one")));
        }
        let versions = versions.iter().map(describe::version).collect();
        Ok(Json(History { key: (&key).into(), versions }))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct EntriesQuery {
    /// After this cursor; from the beginning without.
    since: Option<String>,
    limit: Option<usize>,
    /// The last ones instead of the first.
    #[serde(default)]
    newest: bool,
}

/// Entries in arrival order; with `?prefix=`, their operations on keys that begin with these bytes.
pub async fn entries(
    caller: Caller,
    InStore(store): InStore,
    Query(q): Query<EntriesQuery>,
    uri: Uri,
) -> Result<Json<EntryList>> {
    let since = q.since.as_deref().map(parse_cursor).transpose()?.unwrap_or_default();
    let limit = q.limit.unwrap_or(BATCH).clamp(1, MAX);
    let prefix = query_bytes(&uri, "prefix").unwrap_or_default();
    blocking(move || {
        let show = |event: &Event| describe::entry(event, &prefix, &caller);
        let page =
            if q.newest { newest(&store, since, limit, &show) } else { oldest(&store, since, limit, &show) };
        Ok(Json(page?))
    })
    .await
}

pub fn parse_cursor(text: &str) -> Result<Cursor> {
    text.parse().map_err(|_| {
        let detail = format!("{text:?} is not a cursor: 0.0 is the beginning, and every entry has its own");
        Problem::new(Code::BadCursor, detail)
    })
}

/// What is shown of an entry; `None`: nothing.
type Show<'a> = dyn Fn(&Event) -> Option<EntryDoc> + 'a;

fn oldest(store: &Handle, mut since: Cursor, limit: usize, show: &Show<'_>) -> Result<EntryList> {
    let mut entries: Vec<EntryDoc> = Vec::new();
    loop {
        let batch = store.entries(since, BATCH)?;
        for event in &batch {
            if entries.len() == limit {
                return Ok(EntryList { entries, cursor: Some(since.to_string()) });
            }
            since = event.cursor;
            entries.extend(show(event));
        }
        if batch.len() < BATCH {
            return Ok(EntryList { entries, cursor: None });
        }
    }
}

/// The last `limit`, newest first. Reads all that came since: the log has no way back.
fn newest(store: &Handle, mut since: Cursor, limit: usize, show: &Show<'_>) -> Result<EntryList> {
    let mut last: VecDeque<EntryDoc> = VecDeque::new();
    loop {
        let batch = store.entries(since, BATCH)?;
        for doc in batch.iter().filter_map(show) {
            if last.len() == limit {
                last.pop_front();
            }
            last.push_back(doc);
        }
        match batch.last() {
            Some(event) if batch.len() == BATCH => since = event.cursor,
            _ => return Ok(EntryList { entries: last.into_iter().rev().collect(), cursor: None }),
        }
    }
}
