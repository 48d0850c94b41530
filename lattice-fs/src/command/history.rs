//! `lattice history`: the versions of a key.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::Result;
use super::names::Names;
use super::output::{Table, bytes, short};
use super::target::Target;
use crate::http::model::{History, VersionDoc};

/// Show the versions of a key, newest first.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 1000)]
    limit: usize,
}

pub async fn run(ctx: &Context, args: HistoryArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let client = ctx.client().await?;
    let request = client.get(target.route("history")).query("limit", &args.limit.to_string());
    let mut doc: History = request.send().await?.json().await?;
    doc.versions.truncate(args.limit);
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let names = Names::load(&client).await?;
    let mut table = Table::new(["VERSION", "TIME", "AUTHOR", "KIND", ">SIZE", ""]);
    for v in &doc.versions {
        let size = if v.kind == "file" { bytes(v.size) } else { "-".into() };
        let id = short(&v.entry).into();
        table.row([id, v.time.clone(), names.show(&v.author), v.kind.clone(), size, standing(v).into()]);
    }
    ctx.out.table(&table)
}

fn standing(v: &VersionDoc) -> &'static str {
    match (v.winner, v.head) {
        (true, _) => "current",
        (false, true) => "in conflict",
        (false, false) => "",
    }
}
