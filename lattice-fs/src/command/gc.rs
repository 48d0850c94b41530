//! `lattice gc`: gives back what nothing names any more.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::output::bytes;
use super::target::store_route;
use super::task;
use crate::http::model::TaskLine;

/// Free the space of content that no version names.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// One store only.
    store: Option<OsString>,
    /// Which superseded versions keep their content: all, none, or those younger than this (90d, 12h, 30m, 10s).
    #[arg(long, default_value = "all", value_name = "HOW")]
    keep_history: String,
    /// Remove the data of deleted stores, too. That can't be undone.
    #[arg(long)]
    stores: bool,
}

pub async fn run(ctx: &Context, args: GcArgs) -> Result<()> {
    let keep = parse_keep(&args.keep_history)?;
    let client = ctx.client().await?;
    if args.stores {
        let done = task::run(client.post("/gc"), "gc of stores").await?;
        report(ctx, &done)?;
    }
    for store in task::stores(ctx, args.store.as_deref()).await? {
        let request = client.post(store_route(&store, "gc")).query("keep", &keep);
        report(ctx, &task::run(request, "gc").await?)?;
    }
    Ok(())
}

fn report(ctx: &Context, done: &TaskLine) -> Result<()> {
    match done {
        done if ctx.out.json => ctx.out.doc(done),
        TaskLine::Gc { name, chunks, bytes: freed, kept_bytes, .. } => ctx.out.line(format!(
            "{name}: freed {} ({chunks} chunks), {} kept",
            bytes(*freed),
            bytes(*kept_bytes)
        )),
        TaskLine::GcStores { removed } => {
            removed.iter().try_for_each(|id| ctx.out.line(format!("removed store {id}")))
        }
        _ => Ok(()),
    }
}

/// As the router takes it: `all`, `none` or seconds.
fn parse_keep(text: &str) -> Result<String> {
    if text == "all" || text == "none" {
        return Ok(text.into());
    }
    let bad = || Error::Usage(format!("--keep-history is all, none or an age such as 90d, not {text:?}"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).map(|s| s.to_string()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        assert_eq!(parse_keep("90d").expect("an age"), "7776000");
        assert_eq!(parse_keep("none").expect("a word"), "none");
        for bad in ["", "d", "5", "5w", "-1d", "99999999999999999999d", "é"] {
            assert!(parse_keep(bad).is_err(), "{bad:?}");
        }
    }
}
