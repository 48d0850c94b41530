//! Logs: tracing to stderr. `LATTICE_LOG` says how much, `LATTICE_LOG_FORMAT=json` in which form; `config.toml` where they
//! don't.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// A daemon tells what it does; a command only what goes wrong.
pub fn start(daemon: bool, config: &Config) {
    // Without a network the search for members on it says so several times a second, for ever.
    let default = if daemon { "info,swarm_discovery=off" } else { "error" };
    let default = config.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_from_env("LATTICE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match std::env::var("LATTICE_LOG_FORMAT") {
        Ok(format) => format == "json",
        Err(_) => config.log_format == Some(LogFormat::Json),
    };
    // A second start, in a test, keeps the first.
    let _ = if json {
        logs.json().try_init()
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
}
