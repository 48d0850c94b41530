//! `…/conflicts`: keys whose live versions differ, and settling one of them.

use axum::Json;
use axum::http::Uri;
use lattice_engine::key::Key;

use super::caller::Caller;
use super::describe;
use super::extract::{self, AtKey, InStore, query_bytes};
use super::model::{ConflictDoc, ConflictList, Resolve, Written};
use super::problem::{Code, Problem, Result, blocking};
use crate::view::resolve::{ResolveError, conflicts_at, resolve};

/// All, or with `?below=` those at a key and below it.
pub async fn list(caller: Caller, InStore(store): InStore, uri: Uri) -> Result<Json<ConflictList>> {
    let below = query_bytes(&uri, "below").unwrap_or_default();
    let below = if below.is_empty() { Key::ROOT } else { Key::parse(&below)? };
    blocking(move || {
        let found = conflicts_at(&store, &below)?;
        let seen = found.iter().filter(|(key, _)| caller.sees(key));
        let conflicts = seen.map(|(key, record)| describe::conflict(key, record)).collect();
        Ok(Json(ConflictList { conflicts }))
    })
    .await
}

/// A key's heads, in conflict or not.
pub async fn show(InStore(store): InStore, AtKey(key): AtKey) -> Result<Json<ConflictDoc>> {
    blocking(move || match store.get(&key)? {
        Some(record) if !record.heads.is_empty() => Ok(Json(describe::conflict(&key, &record))),
        _ => Err(Problem::new(Code::NotFound, format!("{key}: no such key"))),
    })
    .await
}

/// Makes one head the only version.
pub async fn post(
    InStore(store): InStore,
    AtKey(key): AtKey,
    extract::Json(choice): extract::Json<Resolve>,
) -> Result<Json<Written>> {
    blocking(move || Ok(Json(describe::written(&resolve(&store, &key, &choice.pick)?)))).await
}

impl From<ResolveError> for Problem {
    fn from(e: ResolveError) -> Self {
        let code = match e {
            ResolveError::Store(e) => return e.into(),
            ResolveError::NotFound(_) => Code::NotFound,
            ResolveError::BadId(_) => Code::BadVersion,
            ResolveError::NoSuchVersion { .. } => Code::NoSuchVersion,
            ResolveError::Ambiguous { .. } => Code::Ambiguous,
            ResolveError::HasChildren(_) => Code::IsADirectory,
            ResolveError::OnlyVersion(_) | ResolveError::Deletion { .. } => Code::Refused,
        };
        Self::new(code, e.to_string())
    }
}
