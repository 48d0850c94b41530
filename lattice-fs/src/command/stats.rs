//! `lattice stats`: what stores hold and what they take up.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::Result;
use super::output::{Paint, bytes};
use super::status::print_open;
use super::target::store_route;
use super::task;
use crate::http::model::StatsDoc;

/// Count what stores hold and what they take up.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// One store only.
    store: Option<OsString>,
}

pub async fn run(ctx: &Context, args: StatsArgs) -> Result<()> {
    let client = ctx.client().await?;
    let mut all: Vec<StatsDoc> = Vec::new();
    for store in task::stores(ctx, args.store.as_deref()).await? {
        all.push(client.get(store_route(&store, "stats")).patient().send().await?.json().await?);
    }
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "stores": all }));
    }
    for (i, doc) in all.iter().enumerate() {
        if i > 0 {
            ctx.out.line("")?;
        }
        ctx.out.line(ctx.out.paint(Paint::Bold, &doc.store.name))?;
        let row = |name: &str, value: String| ctx.out.line(format!("{name:<11}{value}"));
        row(
            "files",
            format!("{} ({}, the largest {})", doc.files, bytes(doc.file_bytes), bytes(doc.largest_file)),
        )?;
        row("dirs", doc.dirs.to_string())?;
        row("symlinks", doc.symlinks.to_string())?;
        row("others", doc.others.to_string())?;
        print_open(ctx, &doc.open)?;
    }
    Ok(())
}
