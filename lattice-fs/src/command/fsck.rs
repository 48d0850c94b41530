//! `lattice fsck`: checks log, signatures, chains and content.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::output::{Paint, count};
use super::target::store_route;
use super::task;
use crate::http::model::{FsckDoc, TaskLine};

/// Check stores: log, signatures, chains, content.
///
/// Nothing that is damaged is mended by a guess. The log: put the file that is named back from a backup. Without one, and where
/// another member has the store, begin anew from there: `lattice invite` on that one, `lattice --home NEW join TICKET` here, and
/// `lattice peer revoke` this node once all is there; keep the old directory until then. A chunk: `lattice store export` on a
/// member that has it and `lattice store import` here bring it back. The derived state: `lattice fsck --rebuild` makes it anew.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// One store only.
    store: Option<OsString>,
    /// Also make the state anew from the log, and compare.
    #[arg(long)]
    rebuild: bool,
}

pub async fn run(ctx: &Context, args: FsckArgs) -> Result<()> {
    let client = ctx.client().await?;
    let mut problems = 0;
    for store in task::stores_and_broken_ones(ctx, args.store.as_deref()).await? {
        let rebuild = if args.rebuild { "true" } else { "false" };
        let request = client.post(store_route(&store, "fsck")).query("rebuild", rebuild);
        let done = task::run(request, "fsck").await?;
        let TaskLine::Fsck(doc) = &done else { continue };
        problems += doc.problems.len() + usize::from(doc.rebuilt_equal == Some(false));
        if ctx.out.json { ctx.out.doc(&done)? } else { print(ctx, doc)? }
    }
    match problems {
        0 => Ok(()),
        n => Err(Error::Failed(format!(
            "{}: `lattice help fsck` says what to do about each kind",
            count(n as u64, "problems")
        ))),
    }
}

fn print(ctx: &Context, doc: &FsckDoc) -> Result<()> {
    let good = doc.problems.is_empty() && doc.rebuilt_equal != Some(false);
    let verdict = if good { ctx.out.paint(Paint::Good, "ok") } else { ctx.out.paint(Paint::Bad, "damaged") };
    let rebuilt = match doc.rebuilt_equal {
        Some(true) => ", the state made anew is the same",
        Some(false) => ", the state made anew DIFFERS",
        None => "",
    };
    ctx.out
        .line(format!("{}: {verdict}: {} entries, {} chunks{rebuilt}", doc.name, doc.entries, doc.chunks))?;
    doc.problems.iter().try_for_each(|p| ctx.out.line(format!("    {p}")))
}
