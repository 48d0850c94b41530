//! `lattice service`: systemd starts the daemon, restarts it when it fails or hangs, and stops it cleanly. What is written
//! is one unit file, and nothing else on the machine is touched.

mod unit;

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Args, Command, Subcommand};

use self::unit::{RunBy, Unit};
use super::context::Context;
use super::error::{Error, Result};
use super::serve;
use super::target::absolute_dir;
use crate::http::model::StatusDoc;

const UNIT: &str = "lattice.service";
const SYSTEM_DIR: &str = "/etc/systemd/system";

/// Let systemd run the daemon: from login on, or from boot on.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write the unit.
    Install(InstallArgs),
    /// Print the unit that `install` would write.
    Show(UnitArgs),
    /// Stop the service and remove its unit. Stores stay as they are.
    Remove {
        /// The machine's, not the user's.
        #[arg(long)]
        system: bool,
    },
}

#[derive(Debug, Args)]
struct InstallArgs {
    #[command(flatten)]
    unit: UnitArgs,
    /// Start it now, and at each login or boot from here on. A daemon that runs by hand is stopped, with its mounts.
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Args)]
struct UnitArgs {
    /// What to mount, as for `lattice mount`; without it the daemon keeps stores in sync, as `lattice serve` does.
    #[arg(value_name = "[STORE] DIR", num_args = 0..=2)]
    mount: Vec<String>,
    /// From boot on, instead of from login on; needs root.
    #[arg(long)]
    system: bool,
    /// In whose name [default: who called sudo].
    #[arg(long = "as", value_name = "USER", requires = "system")]
    run_as: Option<String>,
    /// Flags for the daemon, as `mount` and `serve` take them.
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// `program`: what can be typed, so that flags are judged now and not at the next boot.
pub async fn run(ctx: &Context, args: ServiceArgs, program: Command) -> Result<()> {
    match args.what {
        What::Show(args) => {
            let text = unit(ctx, &args, program)?;
            if ctx.out.json {
                return ctx.out.doc(&serde_json::json!({ "path": path(args.system)?, "unit": text }));
            }
            ctx.out.raw(text.as_bytes())
        }
        What::Install(args) => install(ctx, &args, program).await,
        What::Remove { system } => remove(ctx, system),
    }
}

fn unit(ctx: &Context, args: &UnitArgs, program: Command) -> Result<String> {
    let mut command = vec![if args.mount.is_empty() { "serve" } else { "mount" }.to_owned()];
    command.extend(args.flags.iter().cloned());
    if let Some((dir, store)) = args.mount.split_last() {
        command.push("--".into());
        command.extend(store.iter().cloned());
        let dir = absolute_dir(Path::new(dir))?;
        let dir = dir.to_str().ok_or_else(|| Error::Usage(format!("{}: not UTF-8", dir.display())))?;
        command.push(dir.into());
    }
    let typed = std::iter::once("lattice").chain(command.iter().map(String::as_str));
    program.try_get_matches_from(typed).map_err(|e| Error::Usage(e.to_string()))?;
    let program =
        std::env::current_exe().map_err(|e| Error::Failed(format!("where is this program? {e}")))?;
    let run_by = if args.system { system_user(args.run_as.as_deref())? } else { RunBy::User };
    Unit { program, home: ctx.paths.home.clone(), command, run_by }.text().map_err(Error::Usage)
}

fn system_user(name: Option<&str>) -> Result<RunBy> {
    let sudo = std::env::var("SUDO_USER").ok();
    let name = name.or(sudo.as_deref()).ok_or_else(|| Error::Usage("whose stores? say --as USER".into()))?;
    let id = Process::new("id").args(["-u", "--", name]).output();
    let uid = id.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    let uid = uid.and_then(|text| text.trim().parse().ok());
    let uid = uid.ok_or_else(|| Error::NotFound(format!("there is no user {name:?} on this machine")))?;
    Ok(RunBy::System { name: name.into(), uid })
}

/// Where the unit belongs.
fn path(system: bool) -> Result<PathBuf> {
    if system {
        return Ok(Path::new(SYSTEM_DIR).join(UNIT));
    }
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|d| Path::new(d).is_absolute()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let config = set.or_else(home).ok_or(crate::paths::PathsError::NoHome)?;
    Ok(config.join("systemd/user").join(UNIT))
}

async fn install(ctx: &Context, args: &InstallArgs, program: Command) -> Result<()> {
    let system = args.unit.system;
    let text = unit(ctx, &args.unit, program)?;
    let path = path(system)?;
    let failed = |done| {
        let path = path.clone();
        move |source| Error::File { path, done, source }
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed("made"))?;
    }
    std::fs::write(&path, text).map_err(failed("written"))?;
    let told = told(system, &["daemon-reload"]);
    let started = args.now && told;
    let before = if started { make_way(ctx, &args.unit).await? } else { None };
    if started {
        systemctl(system, &["enable", "--now", UNIT]).map_err(|e| match &before {
            Some(before) => Error::Failed(format!(
                "{e}. {}; `lattice serve` or `lattice mount` starts one again",
                stopped(before)
            )),
            None => e,
        })?;
    }
    if ctx.out.json {
        let pid = before.and_then(|before| before.daemon_pid);
        return ctx.out.doc(&serde_json::json!({ "path": path, "started": started, "stopped_pid": pid }));
    }
    ctx.out.line(format!("{} is written", path.display()))?;
    if let Some(before) = &before {
        ctx.out.note(format!("{}: the service has taken its place", stopped(before)));
    }
    if args.now && !told {
        ctx.out.note("systemd can't be reached from here, so nothing was started");
    }
    if !started {
        ctx.out.note(format!("Start it, now and from here on: {} enable --now lattice", control(system)));
    }
    if !system {
        ctx.out.note("It runs while you are logged in; after `loginctl enable-linger` it runs from boot on.");
    }
    Ok(())
}

/// Stops the daemon that keeps the service's data directory: that is for one process, and the service would fail to start
/// again and again. Also where it is the service itself: it comes back as the new unit says.
async fn make_way(ctx: &Context, args: &UnitArgs) -> Result<Option<StatusDoc>> {
    if args.system
        && ctx.paths.home.is_none()
        && let RunBy::System { uid, .. } = system_user(args.run_as.as_deref())?
        && uid != rustix::process::getuid().as_raw()
    {
        // Another user's data directory, and another daemon.
        return Ok(None);
    }
    serve::end(ctx).await
}

fn stopped(before: &StatusDoc) -> String {
    let mounts: Vec<&str> = before.mounts.iter().map(|m| m.dir.as_str()).collect();
    let with =
        if mounts.is_empty() { String::new() } else { format!(", which had mounted {}", mounts.join(", ")) };
    format!("the daemon that ran as process {}{with}, was stopped", before.daemon_pid.unwrap_or(0))
}

fn remove(ctx: &Context, system: bool) -> Result<()> {
    let path = path(system)?;
    if !path.exists() {
        return Err(Error::NotFound(format!("{} isn't there: nothing to remove", path.display())));
    }
    if told(system, &["daemon-reload"]) {
        systemctl(system, &["disable", "--now", UNIT])?;
    }
    std::fs::remove_file(&path).map_err(|source| Error::File {
        path: path.clone(),
        done: "removed",
        source,
    })?;
    told(system, &["daemon-reload"]);
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "path": path }));
    }
    ctx.out.line(format!("{} is removed", path.display()))
}

fn control(system: bool) -> &'static str {
    if system { "systemctl" } else { "systemctl --user" }
}

/// Whether systemd took it. In a container, or without a session, there may be none to tell.
fn told(system: bool, words: &[&str]) -> bool {
    systemctl(system, words).is_ok()
}

fn systemctl(system: bool, words: &[&str]) -> Result<()> {
    let scope: &[&str] = if system { &[] } else { &["--user"] };
    let ran = Process::new("systemctl").args(scope).args(words).output();
    let why = match ran {
        Ok(done) if done.status.success() => return Ok(()),
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Err(e) => e.to_string(),
    };
    Err(Error::Failed(format!("{} {}: {why}", control(system), words.join(" "))))
}
