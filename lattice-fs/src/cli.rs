//! The command line: what can be typed, and which command it is. No logic of its own.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::command::context::Context;
use crate::command::error::{Error, Result, exit};
use crate::command::output::Output;
use crate::command::{
    bench, completions, conflicts, diff, doctor, fsck, gc, get, history, init, invite, join, log, ls, man,
    mount, paths, peer, put, resolve, restore, rm, serve, service, shell, stats, status, store, sync, token,
    unmount, version, watch, web,
};
use crate::config::Config;
use crate::paths::Paths;
use crate::patience::limit_looks;
use crate::{helper, logging};

// A paragraph is one line: clap breaks it where the terminal ends.
const AFTER: &str = "\
STORE is a name, a UUID, a unique prefix of one, or a path inside a mount. KEY is a relative path; \
STORE:KEY names it, and so does its path inside a mount (`./name` where nothing is there any more).

Exit codes: 0 ok, 1 error, 2 usage, 3 partly done, 10 not initialised, 11 locked, 12 not authorised, 20 \
not found, 21 precondition failed, 22 unresolved conflicts, 23 daemon unreachable, 24 timed out.

Environment: LATTICE_HOME, LATTICE_LOG (error, warn, info, debug, trace, or a filter), LATTICE_LOG_FORMAT \
(text, json), LATTICE_LISTEN, LATTICE_NO_MDNS, LATTICE_RELAY, LATTICE_DNS, LATTICE_OFFLINE, LATTICE_HTTP, \
LATTICE_HTTP_HOST, LATTICE_HTTP_ORIGIN, LATTICE_HTTP_BEHIND_PROXY, LATTICE_TLS_CERT, LATTICE_TLS_KEY (as \
the flags of mount and serve), LATTICE_TIMEOUT, NO_COLOR. What they don't say, config.toml does (`lattice \
paths config_file`).";

/// Replicated stores as directories.
#[derive(Debug, Parser)]
#[command(name = "lattice", version, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// JSON on stdout: one document, or a line each for streams.
    #[arg(long, global = true)]
    json: bool,
    /// A directory for everything: data, state, configuration.
    // Text of any kind: a variable that is set and empty says nothing, as the XDG ones do.
    #[arg(long, global = true, env = "LATTICE_HOME", value_name = "DIR", hide_env_values = true, value_hint = clap::ValueHint::DirPath)]
    home: Option<OsString>,
    /// Seconds to wait for the daemon's answer; 0 waits for ever [default: 60].
    #[arg(long, global = true, env = "LATTICE_TIMEOUT", value_name = "SECONDS", hide_env_values = true)]
    timeout: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Mount(mount::MountArgs),
    #[command(visible_alias = "umount")]
    Unmount(unmount::UnmountArgs),
    Serve(serve::ServeArgs),
    Service(service::ServiceArgs),
    Status(status::StatusArgs),
    Invite(invite::InviteArgs),
    Join(join::JoinArgs),
    Peer(peer::PeerArgs),
    Sync(sync::SyncArgs),
    Token(token::TokenArgs),
    #[command(hide = true)]
    CreateToken(token::CreateArgs),
    #[command(hide = true)]
    ListTokens(token::ListArgs),
    #[command(hide = true)]
    RevokeToken(token::RevokeArgs),
    Store(store::StoreArgs),
    #[command(hide = true)]
    CreateStore(store::CreateArgs),
    #[command(hide = true)]
    ListStores(store::ListArgs),
    /// Delete a store. Its data stays until `lattice gc --stores`.
    #[command(hide = true)]
    DeleteStore(store::OneArgs),
    Get(get::GetArgs),
    Put(put::PutArgs),
    Rm(rm::RmArgs),
    Ls(ls::LsArgs),
    Log(log::LogArgs),
    History(history::HistoryArgs),
    Diff(diff::DiffArgs),
    Restore(restore::RestoreArgs),
    Conflicts(conflicts::ConflictsArgs),
    Resolve(resolve::ResolveArgs),
    Watch(watch::WatchArgs),
    Web(web::WebArgs),
    Fsck(fsck::FsckArgs),
    Gc(gc::GcArgs),
    Stats(stats::StatsArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    Shell(shell::ShellArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Paths(paths::PathsArgs),
    Version(version::VersionArgs),
}

/// The whole program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match helper::parse(&args) {
        Some(Ok(asked)) => Cli {
            global: Global {
                json: false,
                home: asked.home.map(Into::into).or_else(|| std::env::var_os("LATTICE_HOME")),
                timeout: None,
            },
            command: Command::Mount(asked.mount),
        },
        Some(Err(why)) => return failed(&Error::Usage(why), false),
        None => match Cli::try_parse_from(&args) {
            Ok(cli) => cli,
            Err(e) => return usage(&e),
        },
    };
    let json = cli.global.json;
    let (paths, config) = match settings(&cli) {
        Ok(settings) => settings,
        Err(e) => return failed(&e, json),
    };
    let daemon = match &cli.command {
        Command::Mount(args) => args.is_daemon(),
        Command::Serve(args) => args.is_daemon(),
        _ => false,
    };
    logging::start(daemon, &config);
    if let Some(limit) = timeout(&cli.global, &config).filter(|_| !daemon) {
        limit_looks(limit);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().max_blocking_threads(MAX_WAITING).build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&Error::Failed(format!("no threads can be started: {e}")), json),
    };
    let done = runtime.block_on(whole(cli, paths, config));
    // What is still blocked in a read of stdin must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.is_closed_pipe() => ExitCode::SUCCESS,
        Err(e) => failed(&e, json),
    }
}

/// The places and what config.toml sets. Who only asks what there is, or what is wrong, isn't kept from it by a bad file.
fn settings(cli: &Cli) -> Result<(Paths, Config)> {
    let paths = Paths::resolve(cli.global.home.as_deref().map(Path::new))?;
    let config = match Config::load(&paths.config_file) {
        Ok(config) => config,
        Err(_) if cli.command.works_without_config() => Config::default(),
        Err(e) => return Err(Error::Usage(e.to_string())),
    };
    Ok((paths, config))
}

impl Command {
    fn works_without_config(&self) -> bool {
        matches!(
            self,
            Self::Doctor(_) | Self::Paths(_) | Self::Version(_) | Self::Completions(_) | Self::Man(_)
        )
    }
}

async fn whole(cli: Cli, paths: Paths, config: Config) -> Result<()> {
    let Cli { global, command } = cli;
    let timeout = timeout(&global, &config);
    let ctx = Context::new(paths, config, Output::new(global.json), timeout);
    let done = match command {
        Command::Shell(_) => shell::run(&ctx, &Prompt).await,
        command => dispatch(&ctx, command).await,
    };
    let closed = ctx.release().await;
    done.and(closed)
}

/// Threads for what may block, of which whoever reads bytes that a peer has yet to send holds one. More than there are
/// connections over HTTP, or readers could keep the threads from those that would store these very bytes.
const MAX_WAITING: usize = 6000;
/// How long the daemon is waited for where nothing says otherwise.
const TIMEOUT: u64 = 60;

fn timeout(global: &Global, config: &Config) -> Option<Duration> {
    let seconds = global.timeout.or(config.timeout).unwrap_or(TIMEOUT);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

async fn dispatch(ctx: &Context, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(ctx, args).await,
        Command::Mount(args) => mount::run(ctx, args).await,
        Command::Unmount(args) => unmount::run(ctx, args).await,
        Command::Serve(args) => serve::run(ctx, args).await,
        Command::Service(args) => service::run(ctx, args, Cli::command()).await,
        Command::Status(args) => status::run(ctx, args).await,
        Command::Invite(args) => invite::run(ctx, args).await,
        Command::Join(args) => join::run(ctx, args).await,
        Command::Peer(args) => peer::run(ctx, args).await,
        Command::Sync(args) => sync::run(ctx, args).await,
        Command::Token(args) => token::run(ctx, args).await,
        Command::CreateToken(args) => token::create(ctx, args).await,
        Command::ListTokens(args) => token::list(ctx, args).await,
        Command::RevokeToken(args) => token::revoke(ctx, args).await,
        Command::Store(args) => store::run(ctx, args).await,
        Command::CreateStore(args) => store::create(ctx, args).await,
        Command::ListStores(args) => store::list(ctx, args).await,
        Command::DeleteStore(args) => store::delete(ctx, args).await,
        Command::Get(args) => get::run(ctx, args).await,
        Command::Put(args) => put::run(ctx, args).await,
        Command::Rm(args) => rm::run(ctx, args).await,
        Command::Ls(args) => ls::run(ctx, args).await,
        Command::Log(args) => log::run(ctx, args).await,
        Command::History(args) => history::run(ctx, args).await,
        Command::Diff(args) => diff::run(ctx, args).await,
        Command::Restore(args) => restore::run(ctx, args).await,
        Command::Conflicts(args) => conflicts::run(ctx, args).await,
        Command::Resolve(args) => resolve::run(ctx, args).await,
        Command::Watch(args) => watch::run(ctx, args).await,
        Command::Web(args) => web::run(ctx, args).await,
        Command::Fsck(args) => fsck::run(ctx, args).await,
        Command::Gc(args) => gc::run(ctx, args).await,
        Command::Stats(args) => stats::run(ctx, args).await,
        Command::Bench(args) => bench::run(ctx, args).await,
        Command::Doctor(args) => doctor::run(ctx, args).await,
        Command::Shell(_) => Err(Error::Usage("this is the shell".into())),
        Command::Completions(args) => completions::run(ctx, args, Cli::command()).await,
        Command::Man(args) => man::run(ctx, args, Cli::command()).await,
        Command::Paths(args) => paths::run(ctx, args).await,
        Command::Version(args) => version::run(ctx, args).await,
    }
}

/// Lines of the interactive prompt.
struct Prompt;

impl shell::Runner for Prompt {
    async fn run(&self, ctx: &Context, words: Vec<String>) -> u8 {
        let words = std::iter::once("lattice".to_owned()).chain(words);
        let (json, done) = match Cli::try_parse_from(words) {
            Ok(cli) => {
                let ctx = ctx.with_output(Output::new(cli.global.json), timeout(&cli.global, &ctx.config));
                (cli.global.json, Box::pin(dispatch(&ctx, cli.command)).await)
            }
            Err(e) => {
                usage(&e);
                return usage_code(&e);
            }
        };
        match done {
            Ok(()) => 0,
            Err(e) if e.is_closed_pipe() => 0,
            Err(e) => {
                failed(&e, json);
                e.exit_code()
            }
        }
    }

    fn program(&self) -> clap::Command {
        Cli::command()
    }
}

/// Help and version go to stdout; what can't be understood to stderr.
fn usage(e: &clap::Error) -> ExitCode {
    // A closed terminal: nobody to tell.
    let _ = e.print();
    ExitCode::from(usage_code(e))
}

fn usage_code(e: &clap::Error) -> u8 {
    if e.use_stderr() { exit::USAGE } else { 0 }
}

/// Says what went wrong, on stderr; as JSON where stdout is.
fn failed(e: &Error, json: bool) -> ExitCode {
    let code = e.exit_code();
    let text = match json {
        true => {
            serde_json::json!({ "type": "error", "code": e.code(), "exit": code, "message": e.to_string() })
                .to_string()
        }
        false => format!("lattice: {e}"),
    };
    // A closed stderr: nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_spellings_are_taken() {
        for words in [
            &["store", "create", "a"][..],
            &["create-store", "a"],
            &["list-stores"],
            &["delete-store", "a"],
            &["token", "create"],
            &["create-token", "--scope", "rw"],
            &["list-tokens"],
            &["revoke-token", "a"],
        ] {
            let args = std::iter::once(&"lattice").chain(words);
            assert!(Cli::try_parse_from(args).is_ok(), "{words:?}");
        }
    }
}
