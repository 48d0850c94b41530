//! `lattice conflicts`: keys whose live versions differ.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::error::{Error, Result};
use super::names::Names;
use super::output::{Paint, bytes, safe, short};
use super::target::{Target, store_route};
use crate::http::model::{ConflictDoc, ConflictList, StoreList};

/// List conflicts, in one store or in all.
#[derive(Debug, Args)]
pub struct ConflictsArgs {
    /// STORE, STORE:KEY for what is at and below KEY, or a path inside a mount.
    target: Option<OsString>,
    /// Exit with 22 where there are any.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Serialize)]
struct StoreConflicts {
    store: String,
    conflicts: Vec<ConflictDoc>,
}

pub async fn run(ctx: &Context, args: ConflictsArgs) -> Result<()> {
    let client = ctx.client().await?;
    let targets = match &args.target {
        Some(target) => vec![Target::listed(target)?.0],
        None => {
            let list: StoreList = client.get("/stores").send().await?.json().await?;
            let open = list.stores.into_iter().filter(|s| s.broken.is_none());
            open.map(|s| Target { store: s.name, key: Vec::new() }).collect()
        }
    };
    let mut found = Vec::new();
    for t in targets {
        let request = client.get(store_route(&t.store, "conflicts")).query_bytes("below", &t.key);
        let list: ConflictList = request.send().await?.json().await?;
        found.push(StoreConflicts { store: t.store, conflicts: list.conflicts });
    }
    let names = Names::for_text(ctx, &client).await?;
    let count = found.iter().map(|s| s.conflicts.len()).sum();
    if ctx.out.json {
        ctx.out.doc(&serde_json::json!({ "stores": found }))?;
    } else {
        found
            .iter()
            .try_for_each(|s| s.conflicts.iter().try_for_each(|c| print(ctx, &names, &s.store, c)))?;
        if count == 0 {
            ctx.out.note("no conflicts");
        }
    }
    if args.exit_code && count > 0 { Err(Error::Conflicts(count)) } else { Ok(()) }
}

fn print(ctx: &Context, names: &Names, store: &str, c: &ConflictDoc) -> Result<()> {
    ctx.out.line(ctx.out.paint(Paint::Bold, &format!("{store}:{}", safe(&c.key.key))))?;
    if c.directory {
        ctx.out.line("    dir       what stands below it  shown")?;
    }
    c.heads.iter().try_for_each(|h| {
        let size = if h.kind == "file" { bytes(h.size) } else { h.kind.clone() };
        let shown = if h.winner { "  shown" } else { "" };
        let by = names.show(&h.author);
        ctx.out.line(format!("    {}  {}  by {by}  {size}{shown}", short(&h.entry), h.time))
    })
}
