//! `POST …/batch`: changes that happen together or not at all.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE64;
use lattice_engine::entry::Value;
use lattice_engine::key::Key;
use lattice_engine::store::{Change, Cites, Expect, Handle, RenameHow};

use super::app::App;
use super::caller::Caller;
use super::etag::Condition;
use super::extract::{self, InStore, Query};
use super::key_text::KeyText;
use super::model::{Batch, BatchOp, Written};
use super::problem::{Code, Problem, Result, blocking};
use super::value::WriteQuery;
use super::writes::Write;
use super::{describe, upload, version};

/// Operations in one batch: it is one transaction.
const MAX_OPS: usize = 8192;

pub async fn post(
    State(app): State<App>,
    caller: Caller,
    InStore(store): InStore,
    Query(q): Query<WriteQuery>,
    extract::Json(batch): extract::Json<Batch>,
) -> Result<Json<Written>> {
    if batch.ops.is_empty() || batch.ops.len() > MAX_OPS {
        return Err(Problem::new(Code::BadRequest, format!("a batch has 1 to {MAX_OPS} operations")));
    }
    let planned = blocking(move || {
        // A restored version's content must outlive its history until the commit names it.
        let pin = Some(store.content().pin());
        let changes = batch.ops.into_iter().map(|op| change(&store, &caller, op)).collect::<Result<_>>()?;
        Ok(Write { store, changes, pin, durable: q.durable() })
    });
    Ok(Json(describe::written(&app.control.writes.make(planned.await?).await?)))
}

fn change(store: &Handle, caller: &Caller, op: BatchOp) -> Result<Change> {
    match op {
        BatchOp::Put { key, key_base64, value, value_base64, if_match, if_absent } => {
            let bytes = match (value, value_base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(text)) => base64(&text)?,
                _ => return Err(Problem::new(Code::BadRequest, "a put has either value or value_base64")),
            };
            let value = Value::File(store.put_content(&bytes)?);
            let condition = Condition::of_tag(if_match.as_deref(), if_absent);
            let key = parse_key(caller, key, key_base64)?;
            upload::put_change(store.get(&key)?.as_deref(), key, value, &condition)
        }
        BatchOp::Delete { key, key_base64, if_match } => {
            let condition = Condition::of_tag(if_match.as_deref(), false);
            let key = parse_key(caller, key, key_base64)?;
            upload::delete_change(store.get(&key)?.as_deref(), key, &condition)
        }
        BatchOp::Mkdir { key, key_base64 } => {
            let key = parse_key(caller, key, key_base64)?;
            upload::put_change(store.get(&key)?.as_deref(), key, Value::Dir, &Condition::Absent)
        }
        BatchOp::Rename { key, key_base64, to, to_base64, no_replace } => Ok(Change::Rename {
            from: parse_key(caller, key, key_base64)?,
            to: parse_key(caller, to, to_base64)?,
            how: if no_replace { RenameHow::NoReplace } else { RenameHow::Replace },
        }),
        BatchOp::Restore { key, key_base64, version } => {
            restore(store, parse_key(caller, key, key_base64)?, &version)
        }
    }
}

/// The key as it was: a new version with the old value, in the file that is there now if there is one.
fn restore(store: &Handle, key: Key, id: &str) -> Result<Change> {
    let version = version::find(store, &key, id)?;
    let record = store.get(&key)?;
    let Some(old) = version.node else {
        return Ok(Change::Delete { key, cites: Cites::All, expect: Expect::Exists });
    };
    let value = version::portable(store, &old.value)?;
    let mut node = upload::node(record.as_deref(), value)?;
    if record.is_none_or(|r| !r.exists()) {
        node.file_id = old.file_id;
    }
    Ok(Change::Put { key, node, cites: Cites::All, expect: Expect::Anything })
}

/// A key, and one that the caller sees: before anything is looked up there.
fn parse_key(caller: &Caller, key: String, key_base64: Option<String>) -> Result<Key> {
    let text = KeyText { key, key_base64 };
    let bytes = text.bytes().ok_or_else(|| Problem::new(Code::BadKey, "key_base64 is not base64"))?;
    let key = Key::parse(&bytes)
        .map_err(|e| Problem::new(Code::BadKey, format!("{:?} is not a key: {e}", text.key)))?;
    caller.check(&key)?;
    Ok(key)
}

fn base64(text: &str) -> Result<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map_err(|e| Problem::new(Code::BadRequest, format!("value_base64 is not base64: {e}")))
}
