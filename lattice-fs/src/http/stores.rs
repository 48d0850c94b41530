//! `/stores`: which there are; making, renaming and deleting them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::node::StoreInfo;

use super::app::App;
use super::caller::Caller;
use super::describe;
use super::extract::{self, Named};
use super::model::{NameDoc, StoreDoc, StoreList, StoreStatusDoc};
use super::problem::{Result, blocking};

/// Those that the caller sees.
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<StoreList>> {
    blocking(move || {
        let stores = app.node.stores()?;
        let seen = stores.iter().filter(|s| caller.sees_store(s.id));
        Ok(Json(StoreList { stores: seen.map(describe::store).collect() }))
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

/// How many keys there are, and what else is about the whole store, is for who sees all of it.
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Named(store): Named,
) -> Result<Json<StoreStatusDoc>> {
    blocking(move || {
        let doc = status(&app, &store)?;
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
