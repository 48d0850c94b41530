//! The node itself: its status, its mounts, and stopping the daemon. Local control, on the Unix socket only.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::app::App;
use super::extract::{self, Query};
use super::key_text::decode;
use super::model::{MountDoc, MountList, MountRequest, StatusDoc};
use super::problem::{Code, Problem, Result, blocking};
use super::stores;
use crate::mounts::{MountError, Mounted, Mounts, Wanted};

pub async fn status(State(app): State<App>) -> Result<Json<StatusDoc>> {
    blocking(move || {
        let mounts = app.control.mounts.as_ref();
        Ok(Json(StatusDoc {
            node: app.node.id().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            data_dir: app.node.data_dir().display().to_string(),
            daemon_pid: mounts.map(|_| std::process::id()),
            mounts: mounts.map(docs).unwrap_or_default(),
            stores: app.node.stores().iter().map(|info| stores::status(&app, info)).collect(),
        }))
    })
    .await
}

pub async fn mounts(State(app): State<App>) -> Json<MountList> {
    let mounts = app.control.mounts.as_ref().map(docs).unwrap_or_default();
    Json(MountList { mounts })
}

pub async fn mount(
    State(app): State<App>,
    extract::Json(request): extract::Json<MountRequest>,
) -> Result<(StatusCode, Json<MountDoc>)> {
    blocking(move || {
        let store = request.store.as_deref().map(|s| app.node.find(s)).transpose()?;
        let wanted = Wanted {
            dir: decode(&request.dir),
            store: store.map(|s| s.id()),
            read_only: request.read_only,
            allow_other: request.allow_other,
        };
        let mounted = app.mounts()?.add(&app.node, wanted)?;
        Ok((StatusCode::CREATED, Json(doc(mounted))))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct UnmountQuery {
    /// The directory, percent-encoded; without it all mounts.
    dir: Option<String>,
    /// Detach a mount that is in use.
    #[serde(default)]
    force: bool,
}

pub async fn unmount(State(app): State<App>, Query(q): Query<UnmountQuery>) -> Result<Json<MountList>> {
    blocking(move || {
        let mounts = app.mounts()?;
        let gone = match q.dir {
            Some(dir) => {
                use std::os::unix::ffi::OsStrExt;
                let dir = decode(&dir);
                vec![mounts.remove(Path::new(std::ffi::OsStr::from_bytes(&dir)), q.force)?]
            }
            None => mounts.remove_all(q.force)?,
        };
        Ok(Json(MountList { mounts: gone.into_iter().map(doc).collect() }))
    })
    .await
}

pub async fn shutdown(State(app): State<App>) -> Result<StatusCode> {
    app.mounts()?;
    app.control.stop.cancel();
    Ok(StatusCode::ACCEPTED)
}

fn docs(mounts: &Mounts) -> Vec<MountDoc> {
    mounts.list().into_iter().map(doc).collect()
}

fn doc(m: Mounted) -> MountDoc {
    MountDoc { dir: m.dir.display().to_string(), store: m.store, source: m.source, passthrough: m.passthrough }
}

impl From<MountError> for Problem {
    fn from(e: MountError) -> Self {
        let code = match e {
            MountError::NotMounted(_) => Code::NoSuchMount,
            MountError::Busy(_) => Code::MountBusy,
            _ => Code::MountFailed,
        };
        Self::new(code, e.to_string())
    }
}
