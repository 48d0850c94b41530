//! What the service manager (systemd, `Type=notify`) is told: ready, stopping, and, where it asked for a watchdog, that the
//! daemon still answers. Without a manager all of it is nothing. See sd_notify(3).

use std::time::Duration;

use lattice_engine::node::Node;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::http::problem::blocking;

/// Everything the start was for stands.
pub fn ready(what: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// What is open is being saved.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("flushing and unmounting")]);
}

/// A manager that can't be told restarts us in its own time.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!("the service manager can't be told: {e}");
    }
}

/// Until `stop`, says twice in each interval that the daemon answers: threads can be had, and the root store can be read.
/// A daemon that hangs says nothing, and is restarted.
pub fn watch(node: Node, stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(stop.run_until_cancelled_owned(alive(node, interval / 2)));
}

async fn alive(node: Node, every: Duration) {
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        let node = node.clone();
        // Not the list of stores, which is remembered.
        match blocking(move || Ok(node.name().map(drop)?)).await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(e) => tracing::error!("the watchdog is not told that all is well: {e}"),
        }
    }
}
