//! `lattice resolve`: settles a conflict, by one of its versions or by a new one.

use std::ffi::OsString;
use std::path::PathBuf;

use axum::http::header;
use clap::Args;
use lattice_engine::key::Key;

use super::bundle::{open, upload};
use super::context::Context;
use super::error::{Error, Result};
use super::output::short;
use super::progress;
use super::put::tag;
use super::target::Target;
use crate::http::model::{ConflictDoc, Resolve, Written};
use crate::http::problem::Problem;
use crate::view::resolve::{DIRECTORY, ResolveError};

/// Settle a conflict.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct How {
    /// Keep this version: its id or a unique prefix, or `dir` for a directory beside a file, see `lattice conflicts`.
    #[arg(long, value_name = "ID")]
    pick: Option<String>,
    /// Replace all versions by this file's bytes (- is stdin).
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
}

pub async fn run(ctx: &Context, args: ResolveArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let client = ctx.client().await?;
    // The tag of what was looked at: a version that arrives meanwhile is not overwritten unseen.
    let seen: ConflictDoc = client.get(target.route("conflicts")).send().await?.json().await?;
    // What can't be an id is told first, by the API.
    let sound = args.how.pick.as_deref().is_none_or(|pick| pick == DIRECTORY || tag(pick).is_ok());
    if seen.heads.len() < 2 && !seen.directory && sound {
        let why = format!(
            "{} is not in conflict, so there is nothing to resolve: `lattice put` gives it a new value, `lattice restore` an \
             old one",
            target.name()
        );
        return Err(Error::NotFound(why));
    }
    let doc: Written = match (args.how.pick, args.how.with) {
        (Some(pick), _) => {
            client.post(target.route("conflicts")).json(&Resolve { pick })?.send().await?.json().await?
        }
        (None, with) => {
            if seen.directory {
                let key = Key::parse(&target.key).map_err(Problem::from)?;
                return Err(Error::Failed(ResolveError::HasChildren(key).to_string()));
            }
            let (source, size) = open(&with.unwrap_or_else(|| "-".into()))?;
            let body = upload(source, progress::bytes(size, "resolve"));
            let request = client.put(target.route("keys")).header(header::IF_MATCH, &seen.etag).body(body);
            request.send().await?.json().await?
        }
    };
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(short(&doc.entry)) }
}
