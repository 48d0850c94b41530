//! `lattice unmount`: flushes and unmounts; the daemon ends with its last mount.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::mount::{Behind, behind, clear_dead, is_dead};
use super::serve::runs;
use super::target::absolute_dir;
use crate::client::{Client, ClientError};
use crate::http::model::{MountList, StatusDoc};
use crate::http::problem::Code;
use crate::mounts::{MountError, kernel_mounts};

/// How long the daemon gets to close its stores once nothing is mounted.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Flush and unmount a directory, or all.
#[derive(Debug, Args)]
pub struct UnmountArgs {
    /// The directory.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    dir: Option<PathBuf>,
    /// Every mount of this daemon, and dead ones.
    #[arg(long)]
    all: bool,
    /// Detach a mount that is in use.
    #[arg(long)]
    force: bool,
}

pub async fn run(ctx: &Context, args: UnmountArgs) -> Result<()> {
    let daemon = ctx.daemon().await?;
    let pid = match &daemon {
        Some(daemon) => daemon.get("/status").send().await?.json::<StatusDoc>().await?.daemon_pid,
        None => None,
    };
    let gone = match args.dir {
        Some(dir) => one(daemon.as_ref(), &dir, args.force).await?,
        None => all(daemon.as_ref(), args.force).await?,
    };
    if let Some(daemon) = daemon {
        wait_for_end(ctx, &daemon, pid).await?;
    }
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "unmounted": gone }));
    }
    gone.iter().for_each(|dir| ctx.out.note(format!("unmounted {dir}")));
    Ok(())
}

async fn one(daemon: Option<&Client>, dir: &Path, force: bool) -> Result<Vec<String>> {
    let dir = absolute_dir(dir)?;
    let real = match behind(&dir) {
        Behind::Live => dir.canonicalize().unwrap_or_else(|_| dir.clone()),
        Behind::Dead | Behind::Silent => dir.clone(),
    };
    if let Some(daemon) = daemon {
        let request = daemon.delete("/mounts").query_bytes("dir", real.as_os_str().as_bytes());
        match request.query("force", if force { "true" } else { "false" }).patient().send().await {
            Ok(answer) => return Ok(dirs(answer.json().await?)),
            Err(ClientError::Problem(p)) if p.code == Code::NoSuchMount => {}
            Err(e) => return Err(e.into()),
        }
    }
    if is_dead(&real) && clear_dead(&real)? {
        return Ok(vec![real.display().to_string()]);
    }
    Err(MountError::NotOurs(dir).into())
}

async fn all(daemon: Option<&Client>, force: bool) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    if let Some(daemon) = daemon {
        let request = daemon.delete("/mounts").query("force", if force { "true" } else { "false" });
        gone.extend(dirs(request.patient().send().await?.json().await?));
    }
    for dir in kernel_mounts().into_iter().filter(|d| is_dead(d)) {
        if clear_dead(&dir)? {
            gone.push(dir.display().to_string());
        }
    }
    Ok(gone)
}

fn dirs(list: MountList) -> Vec<String> {
    list.mounts.into_iter().map(|m| m.dir).collect()
}

/// When nothing is mounted any more the daemon closes its stores and ends, unless it is one that stays; what comes after this
/// command must find them closed.
async fn wait_for_end(ctx: &Context, daemon: &Client, pid: Option<u32>) -> Result<()> {
    let ends = match daemon.get("/mounts").send().await {
        Ok(answer) => {
            answer.json::<MountList>().await.map(|l| l.mounts.is_empty() && !l.stays).unwrap_or(true)
        }
        Err(_) => true,
    };
    let started = Instant::now();
    while ends && (pid.is_some_and(runs) || ctx.daemon().await?.is_some()) {
        if started.elapsed() > PATIENCE {
            let detail =
                "the daemon has unmounted but is still closing its stores: see its log (`lattice paths`)";
            return Err(Error::TimedOut(detail.into()));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
