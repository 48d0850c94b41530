//! `…/keys/{key}`: a key's bytes, streamed both ways.

use std::borrow::Cow;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use lattice_engine::entry::{Content, Value};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::merge::{FileAttrs, Record};
use lattice_engine::store::{Change, Cites, Expect, Handle, Reader};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::body::BUFFER;
use super::etag::{Condition, etag, not_modified};
use super::extract::{AtKey, InStore, Query};
use super::problem::{Code, Problem, Result, begin, blocking};
use super::range::{Asked, parse};
use super::writes::Write;
use super::{app::App, describe, mime, model::Written, upload, version};
use crate::view::Kind;
use crate::view::effective::{differing, is_dir, ranked_heads};

const LATTICE_ENTRY: HeaderName = HeaderName::from_static("lattice-entry");
const LATTICE_KIND: HeaderName = HeaderName::from_static("lattice-kind");
const LATTICE_HEADS: HeaderName = HeaderName::from_static("lattice-heads");
const LATTICE_CONFLICT: HeaderName = HeaderName::from_static("lattice-conflict");

/// Headers that an answer may have: room for them is made at once.
const MOST_HEADERS: usize = 16;
/// Keys that one recursive delete may remove: it is one transaction.
const MAX_REMOVED: usize = 50_000;

#[derive(Debug, Deserialize)]
pub struct GetQuery {
    /// An earlier or a losing version: its entry id or a unique prefix.
    version: Option<String>,
}

/// What is to be sent.
#[derive(Debug)]
struct Found {
    /// Quoted.
    tag: Bytes,
    bytes: Source,
    /// Those of the value, whatever part of it is sent.
    headers: HeaderMap,
}

#[derive(Debug)]
enum Source {
    /// The bytes of a small file, or where a symlink leads.
    Small(Bytes),
    /// To be opened: it may have to come from a peer.
    Large(Content),
}

impl Source {
    fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(content) => content.size(),
        }
    }
}

pub async fn get(
    State(app): State<App>,
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<GetQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let found = match q.version {
        None => shown(&store, &key, upload::record(&store, &key).await?)?,
        Some(id) => {
            let (store, key) = (store.clone(), key.clone());
            blocking(move || at_version(&store, &key, &id)).await?
        }
    };
    if not_modified(&headers, &found.tag) {
        return Ok(response(StatusCode::NOT_MODIFIED, found.headers, Body::empty()));
    }
    let size = found.bytes.size();
    let asked = headers
        .get(header::RANGE)
        .and_then(|v| v.to_str().ok())
        .filter(|_| if_range_holds(&headers, &found.tag));
    let (status, range) = match parse(asked, size) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => {
            let mut response =
                Problem::new(Code::BadRange, format!("the value has {size} bytes")).into_response();
            insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let mut out = found.headers;
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut out, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    let body = match found.bytes {
        _ if method == Method::HEAD => Body::empty(),
        Source::Small(bytes) => Body::from(bytes.slice(range.start as usize..range.end as usize)),
        Source::Large(content) => send(store, content, range, key, app.control.stop.clone()).await?,
    };
    Ok(response(status, out, body))
}

/// Made of its parts without a copy of the headers.
fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

fn shown(store: &Handle, key: &Key, record: Option<Arc<Record>>) -> Result<Found> {
    let (entry, node) = version::current(key, record.as_deref())?;
    let record = record.unwrap_or_default();
    let mut found = found(store, key, entry, &node.value, record.attrs.get(&node.file_id))?;
    if let [_, _, ..] = record.heads[..] {
        found.tag = etag(&record).unwrap_or_default().into();
        insert_bytes(&mut found.headers, header::ETAG, found.tag.clone());
    }
    conflict_headers(&mut found.headers, &record);
    Ok(found)
}

fn at_version(store: &Handle, key: &Key, id: &str) -> Result<Found> {
    let version = version::find(store, key, id)?;
    let entry = version.entry.id;
    let node = version::value(key, version)?;
    let record = store.get(key)?.unwrap_or_default();
    found(store, key, entry, &node.value, record.attrs.get(&node.file_id))
}

fn found(
    store: &Handle,
    key: &Key,
    entry: EntryId,
    value: &Value,
    attrs: Option<&FileAttrs>,
) -> Result<Found> {
    let kind = Kind::of(value);
    let (bytes, mime) = match value {
        Value::File(content) => {
            let bytes = match content {
                // What stands in an entry is here, and read while we are at it.
                Content::Inline(_) | Content::InLog(_) => {
                    let all = store.read(content).and_then(|reader| reader.read_all());
                    Source::Small(all.map_err(|e| named(key, e.into()))?)
                }
                Content::Chunks(_) | Content::Manifest { .. } => Source::Large(content.clone()),
            };
            (bytes, mime::of(key, attrs))
        }
        Value::Symlink(target) => (Source::Small(target.clone()), "inode/symlink".into()),
        Value::Dir => return Err(version::is_a_directory(key)),
        Value::Fifo | Value::Socket => {
            return Err(Problem::new(
                Code::NotAFile,
                format!("{key} is a {}: it holds no bytes", kind.word()),
            ));
        }
    };
    // One text for all that name it: the tag is the id in quotes.
    let tag = Bytes::from(format!("\"{entry}\""));
    let mut headers = HeaderMap::with_capacity(MOST_HEADERS);
    match mime {
        Cow::Borrowed(known) => drop(headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(known))),
        Cow::Owned(set) => insert(&mut headers, header::CONTENT_TYPE, &set),
    }
    insert_bytes(&mut headers, header::ETAG, tag.clone());
    insert_bytes(&mut headers, LATTICE_ENTRY, tag.slice(1..tag.len() - 1));
    for (name, value) in [
        (header::ACCEPT_RANGES, "bytes"),
        // A value is somebody's bytes: a browser must not run them here.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (LATTICE_KIND, kind.word()),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(Found { tag, bytes, headers })
}

/// All heads, the one that is shown first, and how many live ones differ.
fn conflict_headers(headers: &mut HeaderMap, record: &Record) {
    let only = headers.get(LATTICE_ENTRY).filter(|_| record.heads.len() == 1).cloned();
    if let Some(only) = only {
        headers.insert(LATTICE_HEADS, only);
        headers.insert(LATTICE_CONFLICT, HeaderValue::from_static("0"));
        return;
    }
    let heads: Vec<String> = ranked_heads(record).iter().map(|h| h.entry.id.to_string()).collect();
    insert(headers, LATTICE_HEADS, &heads.join(", "));
    insert(headers, LATTICE_CONFLICT, &differing(record).to_string());
}

/// What can't stand in a header is left out.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The same, without a copy.
fn insert_bytes(headers: &mut HeaderMap, name: HeaderName, value: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(value) {
        headers.insert(name, value);
    }
}

/// A range of another version is no use: then the whole is sent.
fn if_range_holds(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|v| v.as_bytes() == tag)
}

/// What is missing, and whether the first block can be read, is found out before anything is answered: then it is an
/// error and no broken body. Where damage further on breaks a body off, a request for the rest begins with that block.
async fn send(
    store: Handle,
    content: Content,
    range: Range<u64>,
    key: Key,
    stop: CancellationToken,
) -> Result<Body> {
    let (part, first) = blocking(move || {
        let reader = store.read_waiting(&content).map_err(|e| named(&key, e.into()))?;
        let mut part = Part { reader, range, key };
        part.reader.check(part.range.clone()).map_err(|e| part.broken(e.into()))?;
        let first = part.next()?;
        Ok((part, first))
    })
    .await?;
    if part.range.is_empty() {
        return Ok(Body::from(first));
    }
    let first = stream::once(async move { Ok(Bytes::from(first)) });
    Ok(Body::from_stream(first.chain(rest(part, stop))))
}

/// The blocks that follow. One is read while the one before is sent, and no further: who reads slowly holds up no thread.
fn rest(part: Part, stop: CancellationToken) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(part.ahead(), move |ahead| {
        let stop = stop.clone();
        async move {
            let read = ahead?;
            if stop.is_cancelled() {
                return Some((Err(io::Error::other("the daemon stops")), None));
            }
            match read.await {
                Ok((block, part)) => Some((Ok(Bytes::from(block)), part.ahead())),
                Err(e) => {
                    tracing::warn!("a value broke off: {e}");
                    Some((Err(io::Error::other(e.to_string())), None))
                }
            }
        }
    })
}

/// What is still to be read of a value.
struct Part {
    reader: Reader,
    range: Range<u64>,
    key: Key,
}

/// What is wrong with a value says whose it is.
fn named(key: &Key, p: Problem) -> Problem {
    Problem { detail: format!("{key}: {}", p.detail), ..p }
}

impl Part {
    fn broken(&self, p: Problem) -> Problem {
        named(&self.key, p)
    }

    /// Begins to read the next block, if there is one.
    fn ahead(mut self) -> Option<impl Future<Output = Result<(Vec<u8>, Self)>>> {
        if self.range.is_empty() {
            return None;
        }
        Some(begin(move || {
            let block = self.next()?;
            Ok((block, self))
        }))
    }

    /// The next block; the range says what is left after it.
    fn next(&mut self) -> Result<Vec<u8>> {
        let want = (self.range.end - self.range.start).min(BUFFER as u64) as usize;
        let mut block = vec![0; want];
        let n = self.reader.read_at(&mut block, self.range.start).map_err(|e| self.broken(e.into()))?;
        if n < want {
            let detail = format!("its bytes end at {}", self.range.start + n as u64);
            return Err(self.broken(Problem::new(Code::Damaged, detail)));
        }
        self.range.start += n as u64;
        Ok(block)
    }
}

/// What a write's query says beside the key.
#[derive(Debug, Deserialize)]
pub struct WriteQuery {
    /// Answer once it survives a power loss: `?durable` or `?durable=true`.
    durable: Option<String>,
}

impl WriteQuery {
    pub fn durable(&self) -> bool {
        self.durable.as_deref().is_some_and(|v| v != "false" && v != "0")
    }
}

pub async fn put(
    State(app): State<App>,
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, HeaderMap, Json<Written>)> {
    let condition = Condition::of_headers(&headers)?;
    if axum::body::HttpBody::size_hint(&body).lower() > BUFFER as u64 {
        // Judged before the bytes are read, so that a gigabyte isn't sent for nothing, and again when it commits.
        let record = upload::record(&store, &key).await?;
        upload::put_change(record.as_deref(), key.clone(), Value::File(Content::EMPTY), &condition)?;
    }
    let (content, pin) = upload::Source::new(body).store(&store).await?;
    let record = upload::record(&store, &key).await?;
    let existed = record.as_ref().is_some_and(|r| r.exists());
    let change = upload::put_change(record.as_deref(), key, Value::File(content), &condition)?;
    let write = Write { store, changes: vec![change], pin, durable: q.durable() };
    let entry = app.control.writes.make(write).await?;
    let mut out = HeaderMap::new();
    insert(&mut out, header::ETAG, &format!("\"{}\"", entry.id));
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, out, Json(describe::written(&entry))))
}

#[derive(Debug, Deserialize)]
pub struct DeleteQuery {
    /// A directory with all below it.
    #[serde(default)]
    recursive: bool,
    #[serde(flatten)]
    write: WriteQuery,
}

pub async fn delete(
    State(app): State<App>,
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Json<Written>> {
    let condition = Condition::of_headers(&headers)?;
    let record = upload::record(&store, &key).await?.filter(|r| r.exists());
    let record = record.ok_or_else(|| Problem::new(Code::NotFound, format!("{key}: no such key")))?;
    let changes = match is_dir(&key, &record) {
        true if q.recursive => {
            let store = store.clone();
            blocking(move || delete_below(&store, &key, &record)).await?
        }
        true => {
            let detail = format!("{key} is a directory: ?recursive=true removes it with all below it");
            return Err(Problem::new(Code::IsADirectory, detail));
        }
        false => vec![upload::delete_change(Some(&record), key, &condition)?],
    };
    let removed = changes.len() as u64;
    let write = Write { store, changes, pin: None, durable: q.write.durable() };
    let entry = app.control.writes.make(write).await?;
    Ok(Json(Written { removed: Some(removed), ..describe::written(&entry) }))
}

/// Deletions of `key` and all below it, the deepest first.
fn delete_below(store: &Handle, key: &Key, record: &Record) -> Result<Vec<Change>> {
    let mut keys = Vec::new();
    if !record.heads.is_empty() {
        keys.push(key.clone());
    }
    store.walk(key, &mut |key, record| {
        if record.winner().is_some() {
            keys.push(key.clone());
        }
        if keys.len() > MAX_REMOVED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if keys.len() > MAX_REMOVED {
        let detail = format!("{key} has over {MAX_REMOVED} keys below it: remove its parts one by one");
        return Err(Problem::new(Code::TooMany, detail));
    }
    let delete = |key| Change::Delete { key, cites: Cites::All, expect: Expect::Anything };
    Ok(keys.into_iter().rev().map(delete).collect())
}
