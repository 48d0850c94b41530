//! The node itself: its status, its mounts, and stopping the daemon. Local control, on the Unix socket only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use lattice_engine::net::{HintCounts, Net};
use serde::Deserialize;

use super::app::App;
use super::extract::{self, Query, query_bytes};
use super::key_text::decode;
use super::model::{MountDoc, MountList, MountRequest, StatusDoc};
use super::net_model::HintsDoc;
use super::problem::{Code, Problem, Result, blocking};
use super::{peers, stores};
use crate::fuse;
use crate::mounts::{MountError, Mounted, Mounts, Wanted};

pub async fn status(State(app): State<App>) -> Result<Json<StatusDoc>> {
    blocking(move || {
        let mounts = app.control.mounts.as_ref();
        Ok(Json(StatusDoc {
            node: app.node.id().to_string(),
            name: app.node.name()?,
            version: env!("CARGO_PKG_VERSION").into(),
            root_store: app.node.root().id().to_string(),
            data_dir: app.node.data_dir().display().to_string(),
            daemon_pid: mounts.map(|_| std::process::id()),
            mounts: mounts.map(docs).unwrap_or_default(),
            network: mounts.and_then(|_| app.control.net.as_ref().err().cloned()),
            revoked: peers::revoked(&app)?,
            http: app.control.web.get().map(|web| web.url.clone()),
            addresses: app.control.net.as_ref().map(Net::addresses).unwrap_or_default(),
            peers: peers::docs(&app)?,
            hints: app.control.net.as_ref().ok().map(|net| {
                let HintCounts { sent, heard, taken } = net.hints();
                HintsDoc { sent, heard, taken }
            }),
            stores: app
                .node
                .stores()?
                .iter()
                .map(|info| stores::status(&app, info))
                .collect::<Result<_>>()?,
        }))
    })
    .await
}

pub async fn mounts(State(app): State<App>) -> Json<MountList> {
    let table = app.control.mounts.as_ref();
    Json(MountList { mounts: table.map(docs).unwrap_or_default(), stays: table.is_some_and(Mounts::stays) })
}

pub async fn mount(
    State(app): State<App>,
    extract::Json(request): extract::Json<MountRequest>,
) -> Result<(StatusCode, Json<MountDoc>)> {
    blocking(move || Ok((StatusCode::CREATED, Json(mount_now(&app, &request)?)))).await
}

/// Mounts; blocking.
pub fn mount_now(app: &App, request: &MountRequest) -> Result<MountDoc> {
    let store = request.store.as_deref().map(|s| app.node.find(s)).transpose()?;
    let wanted = Wanted {
        dir: PathBuf::from(OsString::from_vec(decode(&request.dir))),
        store: store.map(|s| s.id()),
        read_only: request.read_only,
        allow_other: request.allow_other,
        passthrough: !request.no_passthrough,
    };
    Ok(doc(app.mounts()?.add(&app.node, wanted)?))
}

#[derive(Debug, Deserialize)]
pub struct UnmountQuery {
    /// Detach a mount that is in use.
    #[serde(default)]
    force: bool,
}

/// The mount at `?dir=`, or all without it.
pub async fn unmount(
    State(app): State<App>,
    Query(q): Query<UnmountQuery>,
    uri: Uri,
) -> Result<Json<MountList>> {
    blocking(move || {
        let table = app.mounts()?;
        let gone = match query_bytes(&uri, "dir") {
            Some(dir) => vec![table.remove(Path::new(OsStr::from_bytes(&dir)), q.force)?],
            None => table.remove_all(q.force)?,
        };
        let mounts = gone.into_iter().map(doc).collect();
        Ok(Json(MountList { mounts, stays: table.stays() }))
    })
    .await
}

/// From now on the daemon stays when its last mount goes.
pub async fn stay(State(app): State<App>) -> Result<Json<StatusDoc>> {
    app.mounts()?.keep_open();
    status(State(app)).await
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
    let source = m.store.as_ref().map_or_else(|| "lattice".into(), |name| format!("lattice:{name}"));
    let Mounted { read_only, passthrough, .. } = m;
    MountDoc { dir: m.dir.display().to_string(), store: m.store, source, read_only, passthrough }
}

impl From<MountError> for Problem {
    fn from(e: MountError) -> Self {
        let code = match e {
            MountError::Node(e) => return e.into(),
            MountError::NotOurs(_) | MountError::Fuse(fuse::MountError::NotMounted(_)) => Code::NoSuchMount,
            MountError::Fuse(fuse::MountError::Busy(_)) => Code::MountBusy,
            MountError::Fuse(_) => Code::MountFailed,
            MountError::Stopping => Code::Stopping,
        };
        Self::new(code, e.to_string())
    }
}
