//! HTTP that a daemon is asked for after its start: so that the page can be had without unmounting what is in use. Once; what
//! is served stays as it is until the daemon ends.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DaemonError;
use super::sidecar::Sidecar;
use crate::http::App;
use crate::http::problem::{Code, Problem, Result};
use crate::http::settings::{HttpSettings, HttpStarter, HttpWanted};

/// What is asked for.
pub type Wanted = mpsc::Receiver<HttpWanted>;

pub fn channel() -> (HttpStarter, Wanted) {
    mpsc::channel(1)
}

/// Starts what is asked for, one after the other, until told to stop.
pub async fn follow(mut wanted: Wanted, app: App, stop: CancellationToken, tasks: TaskTracker) {
    while let Some(Some(HttpWanted { settings, done })) = stop.run_until_cancelled(wanted.recv()).await {
        let started = start(settings, &app, &stop, &tasks).await;
        // Who asked may have gone; it is served all the same.
        let _ = done.send(started);
    }
}

async fn start(
    settings: HttpSettings,
    app: &App,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<String> {
    if let Some(web) = app.control.web.get() {
        let detail = format!("HTTP is served at {} already", web.url);
        return Err(Problem::new(Code::Refused, detail));
    }
    let bound = Sidecar::bind(settings.into()).await.map_err(|e| match e {
        DaemonError::Problem(problem) => *problem,
        e => Problem::new(Code::Refused, e.to_string()),
    });
    Ok(serve(bound?, app, stop, tasks))
}

/// Serves from now on; says where.
pub fn serve(sidecar: Sidecar, app: &App, stop: &CancellationToken, tasks: &TaskTracker) -> String {
    let url = sidecar.url();
    tracing::info!("HTTP at {url}");
    // INVARIANT: the first one, for only `follow` comes here later, and it has looked.
    app.control.web.get_or_init(|| sidecar.web());
    tasks.spawn(sidecar.serve(app.clone(), stop.clone(), tasks.clone()));
    url
}
