//! SIGTERM, SIGINT and SIGHUP: the first one stops cleanly, the second one at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{DaemonError, Result};

/// The exit code of a process that a signal ended, as a shell reports SIGTERM.
const KILLED: i32 = 128 + 15;

/// From now on signals come here.
pub fn watch(stop: CancellationToken) -> Result<()> {
    let listen = |kind| signal(kind).map_err(DaemonError::Spawn);
    let mut term = listen(SignalKind::terminate())?;
    let mut int = listen(SignalKind::interrupt())?;
    let mut hup = listen(SignalKind::hangup())?;
    tokio::spawn(async move {
        next(&mut term, &mut int, &mut hup).await;
        tracing::info!("told to stop: flushing and unmounting");
        stop.cancel();
        next(&mut term, &mut int, &mut hup).await;
        tracing::warn!("told to stop again: ending at once");
        std::process::exit(KILLED);
    });
    Ok(())
}

async fn next(term: &mut Signal, int: &mut Signal, hup: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
}
