//! Export and import: a store as one stream of signed entries and their content.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::app::App;
use super::body;
use super::extract::InStore;
use super::model::ImportDoc;
use super::problem::{Result, blocking};

pub async fn export(State(app): State<App>, InStore(store): InStore) -> Result<impl IntoResponse> {
    let name = app.info(store.id())?.name;
    let place = app.long_wait()?;
    let (mut writer, body) = body::writer();
    tokio::task::spawn_blocking(move || {
        // A reader that is slow holds the thread up.
        let _place = place;
        match store.export(&name, &mut writer, &mut |_, _| {}) {
            Ok(report) => {
                tracing::info!(store = %store.id(), entries = report.entries, bytes = report.bytes, "exported");
                if let Err(e) = writer.finish() {
                    tracing::debug!("the reader of an export went away: {e}");
                }
            }
            Err(e) => {
                tracing::warn!(store = %store.id(), "an export failed: {e}");
                writer.abort(e);
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/vnd.lattice.bundle")], body))
}

pub async fn import(State(app): State<App>, body: Body) -> Result<Json<ImportDoc>> {
    let place = app.long_wait()?;
    let mut source = body::reader(body);
    blocking(move || {
        let _place = place;
        let (id, report) = app.node.import(&mut source, &mut |_, _| {})?;
        let info = app.info(id)?;
        let conflicts = app.node.find(&id.to_string())?.status()?.conflicts;
        Ok(Json(ImportDoc {
            store: id.to_string(),
            name: info.name,
            entries: report.entries,
            new_entries: report.new_entries,
            chunks: report.chunks,
            bytes: report.bytes,
            early: report.early,
            conflicts,
        }))
    })
    .await
}
