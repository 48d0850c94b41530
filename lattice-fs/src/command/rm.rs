//! `lattice rm`: removes keys.

use std::ffi::OsString;

use axum::http::header;
use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::put::{tag, whole};
use super::target::Target;
use crate::client::ClientError;
use crate::http::model::Written;
use crate::http::problem::{Code, Problem};

/// Remove keys. Their history stays until `lattice gc` is told otherwise.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// STORE:KEY, or paths inside a mount.
    #[arg(required = true)]
    keys: Vec<OsString>,
    /// Directories too, with all that is below them.
    #[arg(short, long)]
    recursive: bool,
    /// Nothing to remove is no error.
    #[arg(short, long)]
    force: bool,
    /// Only if this is still what the key holds, as for `lattice put`.
    #[arg(long, value_name = "ID", value_parser = tag, conflicts_with = "recursive")]
    if_match: Option<String>,
}

pub async fn run(ctx: &Context, args: RmArgs) -> Result<()> {
    let (mut done, mut failed) = (0, Vec::new());
    for key in &args.keys {
        match one(ctx, key, &args).await {
            Ok(doc) => {
                done += 1;
                if ctx.out.json {
                    ctx.out.doc(&serde_json::json!({ "type": "removed", "key": key.to_string_lossy(), "result": doc }))?;
                }
            }
            Err(e) if args.force && e.exit_code() == super::error::exit::NOT_FOUND => {}
            Err(e) => failed.push(e),
        }
    }
    let first = failed.pop();
    match first {
        None => Ok(()),
        Some(e) if args.keys.len() == 1 => Err(e),
        Some(e) if done == 0 && failed.is_empty() => Err(e),
        Some(last) => {
            failed.push(last);
            let lines: Vec<String> = failed.iter().map(ToString::to_string).collect();
            Err(Error::Partly(format!("{done} removed; {}", lines.join("; "))))
        }
    }
}

async fn one(ctx: &Context, key: &OsString, args: &RmArgs) -> Result<Written> {
    let target = if args.recursive { Target::listed(key)?.0.with_key(key)? } else { Target::key(key)? };
    let client = ctx.client().await?;
    let mut request = client.delete(target.route("keys"));
    if args.recursive {
        request = request.query("recursive", "true").patient();
    }
    if let Some(tag) = &args.if_match {
        request = request.header(header::IF_MATCH, &whole(&client, &target, tag).await?);
    }
    match request.send().await {
        // What to do about it is not what the API would say.
        Err(ClientError::Problem(p)) if p.code == Code::IsADirectory => {
            let detail =
                format!("{} is a directory: `lattice rm -r` removes it with all below it", target.name());
            Err(Problem::new(Code::IsADirectory, detail).into())
        }
        sent => Ok(sent?.json().await?),
    }
}
