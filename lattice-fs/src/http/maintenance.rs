//! Long work on a store: gc, fsck, stats. The first two answer with JSON Lines, progress before the result.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lattice_engine::key::Key;
use lattice_engine::store::KeepHistory;
use serde::Deserialize;

use super::app::App;
use super::body::{self, BodyWriter};
use super::describe;
use super::extract::{InStore, Named, Query};
use super::model::{FsckDoc, OpenDoc, StatsDoc, TaskLine};
use super::problem::{Code, Problem, Result, blocking};
use crate::view::Kind;
use crate::view::effective::shown;

/// Runs `work` and sends what it says, line by line.
fn task(work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<TaskLine> + Send + 'static) -> Response {
    let (mut writer, body) = body::writer();
    tokio::task::spawn_blocking(move || {
        let result = work(&mut |message| say(&mut writer, &TaskLine::Progress { message: message.into() }));
        say(&mut writer, &result.unwrap_or_else(|problem| TaskLine::Failed { problem }));
        if let Err(e) = writer.finish() {
            tracing::debug!("nobody waits for this result: {e}");
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response()
}

/// The work goes on when nobody listens: half a gc is no use.
fn say(writer: &mut BodyWriter, line: &TaskLine) {
    if let Err(e) = writer.line(line) {
        tracing::debug!("progress goes unheard: {e}");
    }
}

#[derive(Debug, Deserialize)]
pub struct GcQuery {
    /// `all` (the default), `none`, or seconds: versions superseded less long ago are kept.
    #[serde(default)]
    keep: Option<String>,
}

impl GcQuery {
    fn keep(&self) -> Result<KeepHistory> {
        match self.keep.as_deref() {
            None | Some("all") => Ok(KeepHistory::All),
            Some("none") => Ok(KeepHistory::Heads),
            Some(text) => match text.parse() {
                Ok(seconds) => Ok(KeepHistory::For(Duration::from_secs(seconds))),
                Err(_) => {
                    Err(Problem::new(Code::BadRequest, format!("keep is all, none or seconds, not {text:?}")))
                }
            },
        }
    }
}

pub async fn gc(
    State(app): State<App>,
    InStore(store): InStore,
    Query(q): Query<GcQuery>,
) -> Result<Response> {
    let keep = q.keep()?;
    let info = app.info(store.id())?;
    Ok(task(move |progress| {
        progress("reading what is named");
        let report = store.gc(keep)?;
        Ok(TaskLine::Gc {
            store: info.id.to_string(),
            name: info.name,
            chunks: report.chunks,
            bytes: report.bytes,
            kept_bytes: report.kept_bytes,
        })
    }))
}

/// The data of stores that were deleted.
pub async fn gc_stores(State(app): State<App>) -> Response {
    task(move |_| {
        let removed = app.node.gc_stores()?;
        Ok(TaskLine::GcStores { removed: removed.iter().map(ToString::to_string).collect() })
    })
}

#[derive(Debug, Deserialize)]
pub struct FsckQuery {
    #[serde(default)]
    rebuild: bool,
}

pub async fn fsck(
    State(app): State<App>,
    Named(info): Named,
    Query(q): Query<FsckQuery>,
) -> Result<Response> {
    Ok(task(move |progress| {
        let report = match app.node.store(info.id) {
            Some(store) => store.fsck(q.rebuild, progress)?,
            None => app.node.fsck_broken(info.id, q.rebuild)?,
        };
        Ok(TaskLine::Fsck(FsckDoc {
            store: info.id.to_string(),
            name: info.name,
            entries: report.entries,
            chunks: report.chunks,
            problems: report.problems,
            rebuilt_equal: report.rebuilt_equal,
        }))
    }))
}

pub async fn stats(State(app): State<App>, InStore(store): InStore) -> Result<Json<StatsDoc>> {
    let info = app.info(store.id())?;
    let defaults = app.defaults(&store);
    blocking(move || {
        let mut doc = StatsDoc {
            store: describe::store(&info),
            files: 0,
            dirs: 0,
            symlinks: 0,
            others: 0,
            file_bytes: 0,
            largest_file: 0,
            open: OpenDoc { here: describe::here(&store)?, ..describe::open(&store.status()?) },
        };
        store.walk(&Key::ROOT, &mut |key, record| {
            match shown(key, record, &defaults) {
                Some(s) if s.kind == Kind::File => {
                    doc.files += 1;
                    doc.file_bytes += s.size;
                    doc.largest_file = doc.largest_file.max(s.size);
                }
                Some(s) if s.kind == Kind::Dir => doc.dirs += 1,
                Some(s) if s.kind == Kind::Symlink => doc.symlinks += 1,
                Some(_) => doc.others += 1,
                None => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(Json(doc))
    })
    .await
}
