//! `lattice serve`: the daemon without a mount. It keeps in sync with the peers, and takes mounts later.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use clap::Args;

use super::context::Context;
use super::error::{Error, Result, exit};
use super::http_args::HttpArgs;
use super::net_args::NetArgs;
use super::settled::take_over;
use super::typed::Typed;
use crate::daemon::{self, Faces, Ready, Report, Started};
use crate::http::model::StatusDoc;

/// How long a daemon that was told to stop may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(25);

/// Keep in sync with the peers, without a mount.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Stay in the foreground; Ctrl-C stops it.
    #[arg(short, long)]
    foreground: bool,
    /// Stop the daemon that runs, with its mounts.
    #[arg(long, conflicts_with_all = ["foreground"])]
    stop: bool,
    #[command(flatten)]
    net: Typed<NetArgs>,
    #[command(flatten)]
    http: Typed<HttpArgs>,
    /// Say on stdout when it is ready (how the background process is started).
    #[arg(long, hide = true, requires = "foreground")]
    report: bool,
}

impl ServeArgs {
    /// Whether this process is to become the daemon.
    pub fn is_daemon(&self) -> bool {
        self.foreground
    }

    fn faces(&self, ctx: &Context) -> Result<Faces> {
        let http = self.http.config(&ctx.config.http)?;
        Ok(Faces { net: self.net.config(&ctx.config.network), insists: self.net.insists(), http })
    }
}

pub async fn run(ctx: &Context, args: ServeArgs) -> Result<()> {
    ctx.release().await?;
    if args.report {
        daemon::detach();
        return report(ctx, &args).await;
    }
    if args.stop {
        if let Some(flag) = args.net.typed().iter().chain(args.http.typed()).next() {
            let why = format!("--stop takes no settings: `lattice serve --{flag} ...` comes after it");
            return Err(Error::Usage(why));
        }
        return stop(ctx).await;
    }
    if args.foreground {
        if let Some(daemon) = ctx.daemon().await? {
            let status: StatusDoc = daemon.get("/status").send().await?.json().await?;
            let message = format!(
                "a daemon runs already, as process {}: stop that one first (`lattice serve --stop`)",
                status.daemon_pid.unwrap_or(0)
            );
            return Err(Error::Daemon { message, code: exit::LOCKED });
        }
        return Ok(daemon::run(&ctx.paths, None, args.faces(ctx)?, Ready::Terminal).await?);
    }
    let Served { pid, new, http } = start(ctx, &args.net, &args.http).await?;
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "pid": pid, "started": new, "http": http }));
    }
    ctx.out.line(match new {
        true => format!("the daemon runs as process {pid}"),
        false => format!("a daemon runs already, as process {pid}"),
    })?;
    say_http(ctx, http.as_deref(), args.http.asked());
    Ok(())
}

/// Where the daemon serves HTTP. `asked`: by the environment, perhaps, which holds for a daemon that is started.
pub fn say_http(ctx: &Context, url: Option<&str>, asked: bool) {
    match url {
        Some(url) => ctx.out.note(format!("HTTP at {url}")),
        None if asked => ctx.out.note("it serves no HTTP: `lattice serve --http ADDR` adds it"),
        None => {}
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Served {
    pub pid: u32,
    /// It was started now.
    pub new: bool,
    pub http: Option<String>,
}

/// Starts the daemon, unless one runs: then that one stays on when its last mount goes. Gives its process id, and whether
/// it is a new one.
pub async fn start(ctx: &Context, net: &Typed<NetArgs>, http: &Typed<HttpArgs>) -> Result<Served> {
    if let Some(daemon) = ctx.daemon().await? {
        take_over(ctx, &daemon, net, http).await?;
        let status: StatusDoc = daemon.post("/stay").send().await?.json().await?;
        return Ok(Served { pid: status.daemon_pid.unwrap_or(0), new: false, http: status.http });
    }
    let mut child: Vec<OsString> = ["serve", "--foreground", "--report"].map(OsString::from).into();
    child.extend(net.flags());
    child.extend(http.flags());
    let paths = ctx.paths.clone();
    let started = tokio::task::spawn_blocking(move || daemon::start(&paths, &child)).await;
    let started = started.map_err(|e| Error::Failed(format!("the daemon's start broke off: {e}")))?;
    let Started { pid, http, .. } = started?;
    Ok(Served { pid, new: true, http })
}

async fn stop(ctx: &Context) -> Result<()> {
    if end(ctx).await?.is_none() {
        ctx.out.note("no daemon runs");
    }
    Ok(())
}

/// Stops the daemon, with its mounts, and waits for its end; gives what it was. `None`: none runs.
pub async fn end(ctx: &Context) -> Result<Option<StatusDoc>> {
    let Some(daemon) = ctx.daemon().await? else { return Ok(None) };
    let status: StatusDoc = daemon.get("/status").send().await?.json().await?;
    daemon.post("/shutdown").send().await?;
    let began = Instant::now();
    // It lets go of the data directory when it ends, after its socket has gone.
    while status.daemon_pid.is_some_and(runs) {
        if began.elapsed() > PATIENCE {
            return Err(Error::TimedOut("the daemon has not ended yet: see its log".into()));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Some(status))
}

/// Whether a process is there that has not ended; one that nobody has waited for yet has.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

async fn report(ctx: &Context, args: &ServeArgs) -> Result<()> {
    let ran = match args.faces(ctx) {
        Ok(faces) => daemon::run(&ctx.paths, None, faces, Ready::Parent).await.map_err(Error::from),
        Err(e) => Err(e),
    };
    match ran {
        Ok(()) => Ok(()),
        Err(e) => {
            tracing::error!("{e}");
            Ready::Parent.tell(&Report::Failed { message: e.to_string(), code: e.exit_code() });
            Err(e)
        }
    }
}
