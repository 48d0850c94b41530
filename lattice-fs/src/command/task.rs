//! Long work that the router does: its progress on a terminal, its result at the end.

use std::ffi::OsStr;

use super::context::Context;
use super::error::{Error, Result};
use super::progress;
use super::target::Target;
use crate::client::Request;
use crate::http::model::{StoreList, TaskLine};

/// Sends a request that answers with task lines, and returns the last one.
pub async fn run(request: Request<'_>, what: &str) -> Result<TaskLine> {
    let spinner = progress::spinner(what);
    let mut lines = request.patient().send().await?.lines();
    while let Some(line) = lines.next().await? {
        let line = serde_json::from_str(&line);
        match line.map_err(|e| Error::Failed(format!("an answer can't be understood: {e}")))? {
            TaskLine::Progress { message } => {
                tracing::debug!("{what}: {message}");
                spinner.set_message(format!("{what}: {message}"));
            }
            TaskLine::Failed { problem } => {
                spinner.finish_and_clear();
                return Err(problem.into());
            }
            done => {
                spinner.finish_and_clear();
                return Ok(done);
            }
        }
    }
    Err(Error::Failed(format!("{what} broke off without a result: see the daemon's log")))
}

/// The stores that a command works on: the named one, or all that are open.
pub async fn stores(ctx: &Context, named: Option<&OsStr>) -> Result<Vec<String>> {
    if let Some(store) = named {
        return Ok(vec![Target::store(store)?]);
    }
    let list: StoreList = ctx.client().await?.get("/stores").send().await?.json().await?;
    let open = list.stores.into_iter().filter(|s| s.broken.is_none());
    Ok(open.map(|s| s.id).collect())
}
