//! `/stores`: which there are; making, renaming and deleting them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::node::{NodeError, StoreInfo};
use serde::Deserialize;

use super::app::App;
use super::caller::Caller;
use super::describe;
use super::extract::{self, Named, Query};
use super::model::{NameDoc, PolicyDoc, StoreDoc, StoreList, StoreStatusDoc};
use super::problem::{Code, Problem, Result, blocking};

/// Those that the caller sees.
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<StoreList>> {
    blocking(move || {
        let listed = |info: &StoreInfo| {
            let read_only = app.node.store(info.id).and_then(|s| s.read_only());
            StoreDoc { read_only, ..describe::store(info) }
        };
        let stores = app.node.stores()?;
        let seen = stores.iter().filter(|s| caller.sees_store(s.id));
        Ok(Json(StoreList { stores: seen.map(listed).collect() }))
    })
    .await
}

pub async fn create(
    State(app): State<App>,
    extract::Json(doc): extract::Json<NameDoc>,
) -> Result<(StatusCode, Json<StoreDoc>)> {
    blocking(move || {
        let store = app.node.create_store(&doc.name)?;
        Ok((StatusCode::CREATED, Json(describe::store(&app.info(store.id())?))))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct ShowQuery {
    /// Count how much of an on-demand store is here, too.
    #[serde(default)]
    here: bool,
}

/// How many keys there are, and what else is about the whole store, is for who sees all of it.
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Named(store): Named,
    Query(q): Query<ShowQuery>,
) -> Result<Json<StoreStatusDoc>> {
    blocking(move || {
        let counted = q.here && caller.sees_whole_stores();
        let doc = if counted { counted_status(&app, &store) } else { status(&app, &store) }?;
        Ok(Json(StoreStatusDoc { open: doc.open.filter(|_| caller.sees_whole_stores()), ..doc }))
    })
    .await
}

pub async fn rename(
    State(app): State<App>,
    Named(store): Named,
    extract::Json(doc): extract::Json<NameDoc>,
) -> Result<Json<StoreDoc>> {
    blocking(move || {
        app.node.rename_store(store.id, &doc.name)?;
        Ok(Json(describe::store(&app.info(store.id)?)))
    })
    .await
}

/// What of the store's content this node fetches: a choice of this node alone.
pub async fn set_policy(
    State(app): State<App>,
    Named(store): Named,
    extract::Json(doc): extract::Json<PolicyDoc>,
) -> Result<Json<StoreStatusDoc>> {
    blocking(move || {
        let fetch = doc.policy.parse().map_err(|e: String| Problem::new(Code::BadRequest, e))?;
        let open = app.node.store(store.id).ok_or_else(|| NodeError::NoSuchStore(store.id.to_string()))?;
        open.set_fetch(fetch)?;
        Ok(Json(counted_status(&app, &store)?))
    })
    .await
}

pub async fn delete(State(app): State<App>, Named(store): Named) -> Result<StatusCode> {
    blocking(move || {
        app.node.delete_store(store.id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A store with its state, where it is open.
pub fn status(app: &App, info: &StoreInfo) -> Result<StoreStatusDoc> {
    let open = app.node.store(info.id).map(|s| s.status()).transpose()?;
    Ok(StoreStatusDoc { store: describe::store(info), open: open.as_ref().map(describe::open) })
}

/// The same, with how much of an on-demand store is here.
fn counted_status(app: &App, info: &StoreInfo) -> Result<StoreStatusDoc> {
    let mut doc = status(app, info)?;
    if let (Some(open), Some(store)) = (&mut doc.open, app.node.store(info.id)) {
        open.here = describe::here(&store)?;
    }
    Ok(doc)
}
