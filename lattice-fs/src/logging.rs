//! Logs: tracing to stderr. `LATTICE_LOG` says how much, `LATTICE_LOG_FORMAT=json` in which form; `config.toml` where they
//! don't.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// What `info` stands for. Without a network the search for members on it says so several times a second, for ever. And iroh opens a span for every few
/// packets, at the level of what it tells: writing them down was a twentieth of what sending a large file costs.
const INFO: &str = "info,iroh=warn,swarm_discovery=off";

/// A daemon tells what it does; a command only what goes wrong.
pub fn start(daemon: bool, config: &Config) {
    let default = if daemon { INFO } else { "error" };
    let default = config.log.as_deref().map_or(default, whole);
    let said = std::env::var("LATTICE_LOG").ok();
    let filter = EnvFilter::try_new(said.as_deref().map_or(default, whole));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));
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

/// What a level alone stands for.
fn whole(filter: &str) -> &str {
    if filter.trim().eq_ignore_ascii_case("info") { INFO } else { filter }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn no_span_is_kept_for_packets_and_what_goes_wrong_is_told() {
        let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(whole("info"))).finish();
        tracing::subscriber::with_default(logs, || {
            assert!(
                tracing::span!(target: "iroh::socket::transports", Level::INFO, "poll_send").is_disabled()
            );
            assert!(tracing::enabled!(target: "iroh::socket::transports", Level::WARN));
            assert!(tracing::enabled!(target: "lattice_engine::net", Level::INFO));
        });
        assert_eq!(whole("debug"), "debug");
    }
}
