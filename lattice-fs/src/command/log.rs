//! `lattice log`: who changed what in a store, newest first.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::error::Result;
use super::names::Names;
use super::output::{Paint, bytes, safe, short};
use super::target::{Target, store_route};
use crate::client::Client;
use crate::http::model::{EntryDoc, EntryList, OpDoc};

/// Show a store's entries, newest first.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// STORE, STORE:KEY for what begins with KEY, or a path inside a mount.
    target: OsString,
    /// At most this many entries.
    #[arg(short = 'n', long, default_value_t = 100, conflicts_with = "all")]
    limit: usize,
    /// All entries, oldest first.
    #[arg(long)]
    all: bool,
    /// Only what came after this cursor.
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
}

/// A line of JSON Lines.
#[derive(Debug, Serialize)]
pub struct EntryLine<'a> {
    pub r#type: &'static str,
    #[serde(flatten)]
    pub entry: &'a EntryDoc,
}

pub async fn run(ctx: &Context, args: LogArgs) -> Result<()> {
    let target = Target::any(&args.target)?;
    let client = ctx.client().await?;
    let names = Names::for_text(ctx, &client).await?;
    if !args.all {
        let limit = args.limit.to_string();
        let list = page(&client, &target, args.since.as_deref(), &limit, true).await?;
        return list.entries.iter().take(args.limit).try_for_each(|e| print(ctx, &names, e));
    }
    let mut since = args.since;
    loop {
        let list = page(&client, &target, since.as_deref(), "1000", false).await?;
        list.entries.iter().try_for_each(|e| print(ctx, &names, e))?;
        match list.cursor {
            Some(cursor) => since = Some(cursor),
            None => return Ok(()),
        }
    }
}

async fn page(
    client: &Client,
    target: &Target,
    since: Option<&str>,
    limit: &str,
    newest: bool,
) -> Result<EntryList> {
    let request = client.get(store_route(&target.store, "entries")).query_bytes("prefix", &target.key);
    let request = request.query("limit", limit).query("newest", if newest { "true" } else { "false" });
    Ok(request.query_opt("since", since).patient().send().await?.json().await?)
}

/// An entry and what it did.
pub fn print(ctx: &Context, names: &Names, entry: &EntryDoc) -> Result<()> {
    if ctx.out.json {
        return ctx.out.doc(&EntryLine { r#type: "entry", entry });
    }
    let who = if entry.local { "here".into() } else { names.show(&entry.author) };
    let id = ctx.out.paint(Paint::Warn, short(&entry.entry));
    ctx.out.line(format!("{id}  {}  {who}", entry.time))?;
    entry.ops.iter().try_for_each(|op| ctx.out.line(format!("    {}", describe(op))))
}

fn describe(op: &OpDoc) -> String {
    let key = op.key.as_ref().map(|k| safe(&k.key)).unwrap_or_default();
    let what = match (op.kind.as_deref(), op.size) {
        (Some("file"), Some(size)) => format!("  {}", bytes(size)),
        (Some(kind), _) => format!("  {kind}"),
        (None, _) => op.program.as_ref().map(|p| format!("  {p}")).unwrap_or_default(),
    };
    format!("{:<7}{key}{what}", op.op).trim_end().to_owned()
}
