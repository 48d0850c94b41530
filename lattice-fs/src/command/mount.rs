//! `lattice mount`: starts the daemon and mounts, or asks the one that runs to. Without arguments: which mounts there are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::error::{Error, Result, exit, problem_exit_code};
use super::http_args::HttpArgs;
use super::net_args::NetArgs;
use super::output::Table;
use super::serve::say_http;
use super::settled::take_over;
use super::target::{Target, absolute_dir};
use super::typed::Typed;
use crate::client::Client;
use crate::config::Config;
use crate::daemon::{self, DaemonError, Faces, Ready, Report, Started, signals};
use crate::fuse::clear_dead_mount;
use crate::http::encode;
use crate::http::model::{MountDoc, MountList, MountRequest, StatusDoc};
use crate::mounts::{MountError, kernel_mounts};
use crate::patience::look;

/// How long a daemon that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// How soon a foreground command notices that the mount it stays for has ended.
const ATTEND: Duration = Duration::from_millis(250);

/// Mount all stores, or one, on a directory; without arguments list the mounts.
#[derive(Debug, Args)]
pub struct MountArgs {
    /// The directory, after a store where only that one is to be mounted.
    #[arg(value_name = "[STORE] DIR", num_args = 0..=2)]
    what: Vec<OsString>,
    /// Stay in the foreground until the mount ends, also where a daemon runs already; Ctrl-C flushes and unmounts.
    #[arg(short, long)]
    foreground: bool,
    /// No writing through this mount.
    #[arg(long)]
    read_only: bool,
    /// Let other users in, as far as file modes do.
    #[arg(long)]
    allow_other: bool,
    /// Keep them out, whatever config.toml says.
    #[arg(long, conflicts_with = "allow_other")]
    no_allow_other: bool,
    /// Everything goes through the daemon, also where the kernel could read large files by itself.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    no_passthrough: Option<bool>,
    #[command(flatten)]
    net: Typed<NetArgs>,
    #[command(flatten)]
    http: Typed<HttpArgs>,
    /// Say on stdout when it is ready (how the background process is started).
    #[arg(long, hide = true, requires = "foreground")]
    report: bool,
}

impl MountArgs {
    /// As mount(8)'s helper asks.
    pub fn of_helper(
        store: Option<String>,
        dir: PathBuf,
        read_only: bool,
        allow_other: bool,
        no_passthrough: bool,
    ) -> Self {
        let what = store.map(OsString::from).into_iter().chain([dir.into_os_string()]).collect();
        let (net, http) = (Typed::default(), Typed::default());
        Self {
            what,
            foreground: false,
            read_only,
            allow_other,
            no_allow_other: false,
            no_passthrough: no_passthrough.then_some(true),
            net,
            http,
            report: false,
        }
    }

    /// Whether this process is to become the daemon.
    pub fn is_daemon(&self) -> bool {
        self.foreground
    }

    fn faces(&self, config: &Config) -> Result<Faces> {
        let http = self.http.config(&config.http)?;
        Ok(Faces { net: self.net.config(&config.network), insists: self.net.insists(), http })
    }

    fn request(&self, config: &Config) -> Result<Option<MountRequest>> {
        let (store, dir) = match &self.what[..] {
            [] => return Ok(None),
            [dir] => (None, dir),
            [store, dir, ..] => (Some(Target::store(store)?), dir),
        };
        let dir = absolute_dir(dir.as_ref())?;
        Ok(Some(MountRequest {
            dir: encode(dir.as_os_str().as_bytes()),
            store,
            read_only: self.read_only,
            allow_other: self.allow_other
                || (!self.no_allow_other && config.mount.allow_other.unwrap_or(false)),
            no_passthrough: self.no_passthrough.unwrap_or(!config.mount.passthrough.unwrap_or(true)),
        }))
    }

    /// How the background process is called. It starts in `/`, so the directory is absolute.
    fn background(&self, request: &MountRequest) -> Vec<OsString> {
        let dir = crate::http::key_text::decode(&request.dir);
        let mut args: Vec<OsString> = ["mount", "--foreground", "--report"].map(OsString::from).into();
        args.extend(self.read_only.then(|| "--read-only".into()));
        args.push(if request.allow_other { "--allow-other" } else { "--no-allow-other" }.into());
        args.push(format!("--no-passthrough={}", request.no_passthrough).into());
        args.extend(self.net.flags());
        args.extend(self.http.flags());
        args.push("--".into());
        args.extend(request.store.clone().map(OsString::from));
        args.push(std::ffi::OsStr::from_bytes(&dir).into());
        args
    }
}

pub async fn run(ctx: &Context, args: MountArgs) -> Result<()> {
    let Some(request) = args.request(&ctx.config)? else { return list(ctx).await };
    if args.report {
        return report(ctx, &request, &args).await;
    }
    // An open data directory of our own would lock the daemon out.
    ctx.release().await?;
    let Some(mounted) = mount(ctx, &args, &request).await? else { return Ok(()) };
    if ctx.out.json {
        return ctx.out.doc(&mounted);
    }
    ctx.out.line(format!("{} on {}", mounted.source, mounted.dir))?;
    if let (true, Some(daemon)) = (args.http.asked(), ctx.daemon().await?) {
        let status: StatusDoc = daemon.get("/status").send().await?.json().await?;
        say_http(ctx, status.http.as_deref(), true);
    }
    Ok(())
}

/// Through the daemon that runs, or a new one; `None` where this process stayed until the mount had ended. A daemon that is
/// about to end is waited for.
async fn mount(ctx: &Context, args: &MountArgs, request: &MountRequest) -> Result<Option<MountDoc>> {
    let started = Instant::now();
    loop {
        let tried = match ctx.daemon().await? {
            Some(daemon) => through(ctx, &daemon, args, request).await,
            None if args.foreground => {
                let faces = args.faces(&ctx.config)?;
                let ran = daemon::run(&ctx.paths, Some(request), faces, Ready::Terminal).await;
                return Ok(ran.map(|()| None)?);
            }
            None => return start(ctx, args, request).await.map(Some),
        };
        match tried {
            Err(e) if e.exit_code() == exit::UNREACHABLE && started.elapsed() < PATIENCE => {
                tokio::time::sleep(POLL).await;
            }
            tried => return tried,
        }
    }
}

/// By the daemon that runs, with its settings.
async fn through(
    ctx: &Context,
    daemon: &Client,
    args: &MountArgs,
    request: &MountRequest,
) -> Result<Option<MountDoc>> {
    take_over(ctx, daemon, &args.net, &args.http).await?;
    match args.foreground {
        true => attend(daemon, request).await.map(|()| None),
        false => add(daemon, request).await.map(Some),
    }
}

async fn add(daemon: &Client, request: &MountRequest) -> Result<MountDoc> {
    Ok(daemon.post("/mounts").json(request)?.patient().send().await?.json().await?)
}

/// In the foreground beside a daemon that runs: the mount is its, and this process stays for as long as that stands. A
/// signal unmounts, as it would if this were the daemon.
async fn attend(daemon: &Client, request: &MountRequest) -> Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let message = "a daemon runs already, and a service manager can't watch that one: stop it first (`lattice serve --stop`)";
        return Err(Error::Daemon { message: message.into(), code: exit::LOCKED });
    }
    let stop = CancellationToken::new();
    signals::watch(stop.clone())?;
    let mounted = add(daemon, request).await?;
    Ready::Terminal.tell(&Report::Ready {
        mount: Some(mounted.clone()),
        pid: std::process::id(),
        http: None,
    });
    while stands(daemon, &mounted.dir).await {
        tokio::select! {
            () = stop.cancelled() => {
                let dir = crate::http::key_text::decode(&request.dir);
                let asked = daemon.delete("/mounts").query_bytes("dir", &dir).query("force", "true");
                asked.patient().send().await?;
            }
            () = tokio::time::sleep(ATTEND) => {}
        }
    }
    Ok(())
}

/// Not so where the daemon has gone, and with it the mount.
async fn stands(daemon: &Client, dir: &str) -> bool {
    let Ok(answer) = daemon.get("/mounts").send().await else { return false };
    answer.json::<MountList>().await.is_ok_and(|list| list.mounts.iter().any(|m| m.dir == dir))
}

/// Starts the daemon. One that another command has just started meanwhile takes the mount instead.
async fn start(ctx: &Context, args: &MountArgs, request: &MountRequest) -> Result<MountDoc> {
    let (paths, child) = (ctx.paths.clone(), args.background(request));
    let started = tokio::task::spawn_blocking(move || daemon::start(&paths, &child)).await;
    let started = started.map_err(|e| Error::Failed(format!("the daemon's start broke off: {e}")))?;
    match started {
        Ok(Started { mount: Some(mounted), pid, .. }) => {
            tracing::info!(pid, "the daemon runs");
            Ok(mounted)
        }
        Ok(Started { mount: None, pid, .. }) => {
            Err(Error::Failed(format!("process {pid} runs without the mount: see its log")))
        }
        Err(e) => match ctx.daemon().await? {
            Some(daemon) => {
                take_over(ctx, &daemon, &args.net, &args.http).await?;
                add(&daemon, request).await
            }
            None => Err(e.into()),
        },
    }
}

/// As the background process: its parent is told how it went.
async fn report(ctx: &Context, request: &MountRequest, args: &MountArgs) -> Result<()> {
    daemon::detach();
    let ran = match args.faces(&ctx.config) {
        Ok(faces) => daemon::run(&ctx.paths, Some(request), faces, Ready::Parent).await.map_err(Error::from),
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

async fn list(ctx: &Context) -> Result<()> {
    let mut mounts: Vec<MountDoc> = match ctx.daemon().await? {
        Some(daemon) => daemon.get("/mounts").send().await?.json::<MountList>().await?.mounts,
        None => Vec::new(),
    };
    // Directories as the kernel names them: those that no daemon of ours serves are somebody else's, or dead.
    for dir in kernel_mounts() {
        if !mounts.iter().any(|m| m.dir == dir.display().to_string()) && is_dead(&dir) {
            ctx.out.note(format!(
                "{} is dead: `lattice mount` there again, or `lattice unmount` it",
                dir.display()
            ));
        }
    }
    if ctx.out.json {
        mounts.sort_by(|a, b| a.dir.cmp(&b.dir));
        return ctx.out.doc(&serde_json::json!({ "mounts": mounts }));
    }
    let mut table = Table::new(["SOURCE", "DIR", "MODE", "PASSTHROUGH"]);
    for m in mounts {
        let mode = if m.read_only { "ro" } else { "rw" };
        table.row([m.source, m.dir, mode.into(), if m.passthrough { "yes" } else { "no" }.into()]);
    }
    if table.is_empty() {
        ctx.out.note("nothing is mounted");
        return Ok(());
    }
    ctx.out.table(&table)
}

/// What stands behind a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Live,
    /// Its process is gone.
    Dead,
    /// Its process is there and doesn't answer.
    Silent,
}

pub fn behind(dir: &std::path::Path) -> Behind {
    let gone = rustix::io::Errno::NOTCONN.raw_os_error();
    let dir = dir.to_owned();
    match look(move || std::fs::metadata(dir).err().and_then(|e| e.raw_os_error())) {
        Ok(error) if error == Some(gone) => Behind::Dead,
        Ok(_) => Behind::Live,
        Err(_) => Behind::Silent,
    }
}

/// Whether a mount's process is gone.
pub fn is_dead(dir: &std::path::Path) -> bool {
    behind(dir) == Behind::Dead
}

/// Clears a mount of ours whose process is gone; `false` where there is none.
pub fn clear_dead(dir: &std::path::Path) -> Result<bool> {
    Ok(clear_dead_mount(dir).map_err(MountError::from)?)
}

impl From<DaemonError> for Error {
    fn from(e: DaemonError) -> Self {
        let code = match &e {
            DaemonError::Problem(p) => problem_exit_code(p),
            DaemonError::SocketTaken(_) => exit::LOCKED,
            DaemonError::Relayed { code, .. } => *code,
            _ => exit::ERROR,
        };
        Self::Daemon { message: e.to_string(), code }
    }
}
