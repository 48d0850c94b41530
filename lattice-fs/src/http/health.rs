//! `/health/live` and `/health/ready`: for whoever restarts or balances services. Open, and so without a word on what there is.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::app::App;
use super::problem::{Code, Problem, Result, blocking};

#[derive(Debug, Serialize)]
pub struct HealthDoc {
    status: &'static str,
}

/// The process answers.
pub async fn live() -> Json<HealthDoc> {
    Json(HealthDoc { status: "live" })
}

/// It has the data directory, and means to go on.
pub async fn ready(State(app): State<App>) -> Result<Json<HealthDoc>> {
    if app.control.stop.is_cancelled() {
        return Err(Problem::new(Code::Stopping, "the daemon is about to end"));
    }
    // The root store can be read. The list of stores is remembered.
    blocking(move || Ok(app.node.name()?)).await?;
    Ok(Json(HealthDoc { status: "ready" }))
}
