//! `…/keys/{key}`: a key's bytes, streamed both ways.

use std::io;
use std::ops::{ControlFlow, Range};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use lattice_engine::entry::{MAX_INLINE, Value};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::merge::{FileAttrs, Record};
use lattice_engine::store::{Change, Cites, Expect, Handle, Reader};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::body::BUFFER;
use super::etag::{Condition, etag, not_modified};
use super::extract::{AtKey, InStore, Query};
use super::problem::{Code, Problem, Result, blocking};
use super::range::{Asked, parse};
use super::{app::App, describe, mime, model::Written, upload, version};
use crate::view::Kind;
use crate::view::effective::{differing, is_dir, ranked_heads};

/// Keys that one recursive delete may remove: it is one transaction.
const MAX_REMOVED: usize = 50_000;

#[derive(Debug, Deserialize)]
pub struct GetQuery {
    /// An earlier or a losing version: its entry id or a unique prefix.
    version: Option<String>,
}

/// What is to be sent, before any byte of it is read.
#[derive(Debug)]
struct Found {
    entry: EntryId,
    tag: String,
    kind: Kind,
    bytes: Source,
    headers: HeaderMap,
}

#[derive(Debug)]
enum Source {
    File(Reader),
    /// The bytes of a small file, or where a symlink leads.
    Small(Bytes),
}

impl Source {
    fn size(&self) -> u64 {
        match self {
            Self::File(reader) => reader.size(),
            Self::Small(bytes) => bytes.len() as u64,
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
    let (stop, name) = (app.control.stop.clone(), key.clone());
    let found = blocking(move || match q.version {
        None => shown(&store, &key),
        Some(id) => at_version(&store, &key, &id),
    })
    .await?;
    if not_modified(&headers, &found.tag) {
        return Ok((StatusCode::NOT_MODIFIED, common(&found)).into_response());
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
    let mut out = common(&found);
    insert(&mut out, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut out, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    let body =
        if method == Method::HEAD { Body::empty() } else { send(found.bytes, range, name, stop).await? };
    Ok((status, out, body).into_response())
}

fn shown(store: &Handle, key: &Key) -> Result<Found> {
    let record = store.get(key)?;
    let (entry, node) = version::current(key, record.as_deref())?;
    let record = record.unwrap_or_default();
    let mut found = found(store, key, entry, &node.value, record.attrs.get(&node.file_id))?;
    found.tag = etag(&record).unwrap_or_default();
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
            let reader = store.read_waiting(content).map_err(|e| named(key, e.into()))?;
            let mime = mime::of(key, attrs);
            // What stands in an entry is here, and read while we are at it.
            let bytes = match content.size() <= MAX_INLINE as u64 {
                true => Source::Small(reader.read_all().map_err(|e| named(key, e.into()))?),
                false => Source::File(reader),
            };
            (bytes, mime)
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
    let mut headers = HeaderMap::new();
    insert(&mut headers, header::CONTENT_TYPE, &mime);
    Ok(Found { entry, tag: format!("\"{entry}\""), kind, bytes, headers })
}

/// All heads, the one that is shown first, and how many live ones differ.
fn conflict_headers(headers: &mut HeaderMap, record: &Record) {
    let heads: Vec<String> = ranked_heads(record).iter().map(|h| h.entry.id.to_string()).collect();
    insert(headers, header::HeaderName::from_static("lattice-heads"), &heads.join(", "));
    insert(headers, header::HeaderName::from_static("lattice-conflict"), &differing(record).to_string());
}

/// Headers of the value, whatever part of it is sent. A value is somebody's bytes: a browser must not run them here.
fn common(found: &Found) -> HeaderMap {
    let mut headers = found.headers.clone();
    insert(&mut headers, header::ETAG, &found.tag);
    insert(&mut headers, header::ACCEPT_RANGES, "bytes");
    insert(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(&mut headers, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    insert(&mut headers, header::HeaderName::from_static("lattice-kind"), found.kind.word());
    insert(&mut headers, header::HeaderName::from_static("lattice-entry"), &found.entry.to_string());
    headers
}

/// What can't stand in a header is left out.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A range of another version is no use: then the whole is sent.
fn if_range_holds(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|v| v.as_bytes() == tag.as_bytes())
}

/// What is missing, and whether the first block can be read, is found out before anything is answered: then it is an
/// error and no broken body. Where damage further on breaks a body off, a request for the rest begins with that block.
async fn send(source: Source, range: Range<u64>, key: Key, stop: CancellationToken) -> Result<Body> {
    let reader = match source {
        Source::Small(target) => {
            return Ok(Body::from(target.slice(range.start as usize..range.end as usize)));
        }
        Source::File(reader) => reader,
    };
    let (part, first) = blocking(move || {
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

/// The blocks that follow, each read when the one before has gone: who reads slowly holds up no thread.
fn rest(part: Part, stop: CancellationToken) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(part), move |part| {
        let stop = stop.clone();
        async move {
            let mut part = part.filter(|part| !part.range.is_empty())?;
            if stop.is_cancelled() {
                return Some((Err(io::Error::other("the daemon stops")), None));
            }
            let read = blocking(move || {
                let block = part.next()?;
                Ok((block, part))
            });
            match read.await {
                Ok((block, part)) => Some((Ok(Bytes::from(block)), Some(part))),
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
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, HeaderMap, Json<Written>)> {
    let condition = Condition::of_headers(&headers)?;
    if axum::body::HttpBody::size_hint(&body).lower() > BUFFER as u64 {
        // Judged before the bytes are read, so that a gigabyte isn't sent for nothing, and again when it commits.
        let (store, key, condition) = (store.clone(), key.clone(), condition.clone());
        let empty = Value::File(lattice_engine::entry::Content::EMPTY);
        blocking(move || upload::put_change(&store, key, empty, &condition)).await?;
    }
    // From here until the commit names them, gc must not take the chunks.
    let pin = store.content().pin();
    let content = upload::Source::new(body).store(&store).await?;
    blocking(move || {
        let _pin = pin;
        let existed = store.get(&key)?.is_some_and(|r| r.exists());
        let change = upload::put_change(&store, key, Value::File(content), &condition)?;
        let entry = upload::commit(&store, vec![change])?;
        if q.durable() {
            store.sync()?;
        }
        let mut out = HeaderMap::new();
        insert(&mut out, header::ETAG, &format!("\"{}\"", entry.id));
        let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
        Ok((status, out, Json(describe::written(&entry))))
    })
    .await
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
    InStore(store): InStore,
    AtKey(key): AtKey,
    Query(q): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Json<Written>> {
    let condition = Condition::of_headers(&headers)?;
    blocking(move || {
        let record = store.get(&key)?.filter(|r| r.exists());
        let record = record.ok_or_else(|| Problem::new(Code::NotFound, format!("{key}: no such key")))?;
        let changes = match is_dir(&key, &record) {
            true if q.recursive => delete_below(&store, &key, &record)?,
            true => {
                let detail = format!("{key} is a directory: ?recursive=true removes it with all below it");
                return Err(Problem::new(Code::IsADirectory, detail));
            }
            false => vec![upload::delete_change(&store, key, &condition)?],
        };
        let removed = changes.len() as u64;
        let entry = upload::commit(&store, changes)?;
        if q.write.durable() {
            store.sync()?;
        }
        Ok(Json(Written { removed: Some(removed), ..describe::written(&entry) }))
    })
    .await
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
