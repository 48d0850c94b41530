//! `lattice restore`: an earlier version becomes the current one again.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::Result;
use super::output::short;
use super::target::{Target, store_route};
use crate::http::key_text::KeyText;
use crate::http::model::{Batch, BatchOp, Written};

/// Make an earlier version of a key the current one. What is there now stays in its history.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// The version's id or a unique prefix: see `lattice history`.
    #[arg(long, value_name = "ID")]
    version: String,
}

pub async fn run(ctx: &Context, args: RestoreArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let KeyText { key, key_base64 } = KeyText::of(&target.key);
    let batch = Batch { ops: vec![BatchOp::Restore { key, key_base64, version: args.version }] };
    let client = ctx.client().await?;
    let doc: Written =
        client.post(store_route(&target.store, "batch")).json(&batch)?.send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(short(&doc.entry)) }
}
