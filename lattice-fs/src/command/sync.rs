//! `lattice sync`: exchange with the peers now, and wait until it is done, or until so many hold it durably.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::output::{Line, safe, short};
use super::target::store_route;
use super::task;
use crate::http::net_model::{SyncDoc, SyncRequest};

/// Without a limit of the caller's own.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exchange with the peers now; wait until every connected one has the same, or until N hold it durably.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Without it, every store.
    store: Option<OsString>,
    /// Wait until so many other members hold everything durably. `--timeout` bounds it. More than there are is an error at
    /// once (exit code 1).
    #[arg(long, value_name = "N")]
    wait_peers: Option<usize>,
}

pub async fn run(ctx: &Context, args: SyncArgs) -> Result<()> {
    let client = ctx.client().await?;
    let stores = task::stores(ctx, args.store.as_deref()).await?;
    let timeout = ctx.timeout.unwrap_or(PATIENCE);
    let request = SyncRequest { wait_peers: args.wait_peers, timeout_seconds: timeout.as_secs_f64() };
    for store in stores {
        let sent = client.post(store_route(&store, "sync")).json(&request)?.patient().send().await?;
        let doc: SyncDoc = sent.json().await?;
        if ctx.out.json {
            ctx.out.doc(&Line { r#type: "synced", doc: &doc })?;
        } else {
            let who: Vec<&str> = doc.held_by.iter().map(|id| short(id)).collect();
            ctx.out.line(format!(
                "{}  held by {} of {} other members{}{}",
                safe(&doc.name),
                who.len(),
                doc.members,
                if who.is_empty() { "" } else { ": " },
                who.join(", ")
            ))?;
        }
        if doc.connected == 0 && doc.members > 0 && args.wait_peers.is_none() {
            return Err(Error::TimedOut("no peer is connected: `lattice peer list` says why".into()));
        }
    }
    Ok(())
}
