//! Meshes of real processes: each node is the built `lattice` with its own data directory, on a machine of its own (a
//! network namespace) or, where nothing of the network matters, on loopback. Plugs are pulled, processes stopped and
//! killed, strangers knock.

mod bad_input;
mod clones;
mod discovery;
mod joining;
mod large;
mod line;
mod stranger;
mod strangers;
mod trouble;
mod two;

use std::time::Duration;

use lattice_tests::fixture::needs;

/// What a change may take to get from one mount to another where nothing is wrong. The machine may be busy with other
/// tests; how fast it is when it isn't, the benchmark says.
const SOON: Duration = Duration::from_secs(10);

/// May a test make networks here?
fn networks() -> bool {
    needs(&["ip", "nsenter"])
}

/// A number from the environment.
fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
