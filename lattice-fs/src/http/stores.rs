//! `/stores`: which there are; making, renaming and deleting them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::node::StoreInfo;

use super::app::App;
use super::describe;
use super::extract::{self, InStore};
use super::model::{NameDoc, StoreDoc, StoreList, StoreStatusDoc};
use super::problem::{Result, blocking};

pub async fn list(State(app): State<App>) -> Result<Json<StoreList>> {
    blocking(move || Ok(Json(StoreList { stores: app.node.stores().iter().map(describe::store).collect() }))).await
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

pub async fn show(State(app): State<App>, InStore(store): InStore) -> Result<Json<StoreStatusDoc>> {
    blocking(move || Ok(Json(status(&app, &app.info(store.id())?)))).await
}

pub async fn rename(
    State(app): State<App>,
    InStore(store): InStore,
    extract::Json(doc): extract::Json<NameDoc>,
) -> Result<Json<StoreDoc>> {
    blocking(move || {
        app.node.rename_store(store.id(), &doc.name)?;
        Ok(Json(describe::store(&app.info(store.id())?)))
    })
    .await
}

pub async fn delete(State(app): State<App>, InStore(store): InStore) -> Result<StatusCode> {
    blocking(move || {
        app.node.delete_store(store.id())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A store with its state, where it is open.
pub fn status(app: &App, info: &StoreInfo) -> StoreStatusDoc {
    let open = app.node.store(info.id).map(|s| describe::open(&s.status()));
    StoreStatusDoc { store: describe::store(info), open }
}
