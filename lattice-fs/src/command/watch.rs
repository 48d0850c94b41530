//! `lattice watch`: what happens in a store, as it happens.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::log::print;
use super::names::Names;
use super::target::{Target, store_route};
use crate::http::model::{EntryDoc, StoreList};
use crate::http::problem::Problem;

/// Print what happens in a store, until Ctrl-C.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The store; may be left out where there is one only.
    store: Option<OsString>,
    /// Only keys that begin with this.
    #[arg(long, default_value = "")]
    prefix: OsString,
    /// From this cursor on; 0.0 is the beginning.
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// End after this many entries.
    #[arg(short = 'n', long)]
    limit: Option<u64>,
}

pub async fn run(ctx: &Context, args: WatchArgs) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut target = match &args.store {
        Some(store) => Target::any(store)?,
        None => only_store(ctx).await?,
    };
    target.key.extend_from_slice(args.prefix.as_bytes());
    let client = ctx.client().await?;
    let names = Names::for_text(ctx, &client).await?;
    let request = client.get(store_route(&target.store, "events")).query_bytes("prefix", &target.key);
    let mut events = request.query_opt("since", args.since.as_deref()).send().await?.lines();
    let mut left = args.limit;
    let mut last = args.since;
    while left != Some(0) {
        let event = match events.next_event().await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(ended(last.as_deref())),
            Err(e) if client.is_daemon() => {
                tracing::debug!("the stream broke off: {e}");
                return Err(ended(last.as_deref()));
            }
            Err(e) => return Err(e.into()),
        };
        match event.event.as_str() {
            "entry" => {
                let entry: EntryDoc = decode(&event.data)?;
                print(ctx, &names, &entry)?;
                last = Some(entry.cursor);
                left = left.map(|n| n - 1);
            }
            "gap" => {
                let gap: serde_json::Value = decode(&event.data)?;
                let reason = gap["reason"].as_str().unwrap_or("the daemon doesn't say why");
                if ctx.out.json {
                    ctx.out
                        .doc(&serde_json::json!({ "type": "gap", "reason": reason, "cursor": event.id }))?;
                } else {
                    ctx.out.note(format!("events don't tell all: {reason}"));
                }
                last = Some(event.id).filter(|id| !id.is_empty()).or(last);
            }
            "error" => return Err(decode::<Problem>(&event.data)?.into()),
            _ => {}
        }
    }
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(data: &str) -> Result<T> {
    serde_json::from_str(data).map_err(|e| Error::Failed(format!("an event can't be understood: {e}")))
}

fn ended(last: Option<&str>) -> Error {
    let again = last.map_or_else(String::new, |c| format!(": go on by --since {c}"));
    Error::Daemon { message: format!("the daemon went away{again}"), code: super::error::exit::UNREACHABLE }
}

async fn only_store(ctx: &Context) -> Result<Target> {
    let list: StoreList = ctx.client().await?.get("/stores").send().await?.json().await?;
    let mut stores = list.stores.into_iter();
    match (stores.next(), stores.next()) {
        (Some(one), None) => Ok(Target { store: one.name, key: Vec::new() }),
        (None, _) => {
            Err(Error::NotFound("there are no stores: `lattice store create NAME` makes one".into()))
        }
        _ => Err(Error::Usage("name the store to watch: there is more than one".into())),
    }
}
