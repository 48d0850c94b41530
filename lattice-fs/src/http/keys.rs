//! `GET …/keys`: which keys there are.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::app::App;
use super::caller::Caller;
use super::describe;
use super::extract::{InStore, Query, query_bytes};
use super::listing::Listing;
use super::model::KeyList;
use super::problem::{Code, Problem, Result, blocking};

/// Keys in a page, unless told otherwise; and at most.
const PAGE: usize = 1000;
const MAX_PAGE: usize = 10_000;

#[derive(Debug, Deserialize)]
pub struct KeysQuery {
    /// `/`: one level only.
    delimiter: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `?prefix=` is bytes: only keys that begin with them, of those that the caller sees.
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    InStore(store): InStore,
    Query(q): Query<KeysQuery>,
    uri: Uri,
) -> Result<Json<KeyList>> {
    let deep = match q.delimiter.as_deref() {
        None | Some("") => true,
        Some("/") => false,
        Some(other) => {
            return Err(Problem::new(
                Code::BadRequest,
                format!("the delimiter is \"/\" or none, not {other:?}"),
            ));
        }
    };
    let limit = q.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = q.cursor.as_deref().map(decode_cursor).transpose()?;
    let Some(prefix) = caller.narrow(query_bytes(&uri, "prefix").unwrap_or_default()) else {
        return Ok(Json(KeyList { keys: Vec::new(), cursor: None }));
    };
    let defaults = app.defaults(&store);
    blocking(move || {
        let mut listing = Listing::new(&store, &prefix, deep, after.as_deref())?;
        let mut keys = Vec::new();
        let mut cursor = None;
        while let Some((key, record)) = listing.next()? {
            if !caller.sees(&key) {
                continue;
            }
            let Some(doc) = describe::key(&key, &record, &defaults) else { continue };
            keys.push(doc);
            if keys.len() == limit {
                cursor = Some(BASE64URL_NOPAD.encode(key.as_bytes()));
                break;
            }
        }
        Ok(Json(KeyList { keys, cursor }))
    })
    .await
}

fn decode_cursor(text: &str) -> Result<Vec<u8>> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    bytes.map_err(|_| Problem::new(Code::BadCursor, format!("{text:?} is not a cursor of a listing")))
}
