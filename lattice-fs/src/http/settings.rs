//! `/settings`: what the daemon's network and HTTP were started with, so that a command can tell a flag that holds from one
//! that would be dropped. `/settings/http`: HTTP for a daemon that was started without it. Local control.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::net;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::app::App;
use super::extract;
use super::problem::{Code, Problem, Result};

/// What a daemon was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsDoc {
    /// Absent where it was started offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSettings>,
    /// Absent where it serves no HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSettings>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSettings {
    pub listen: Vec<SocketAddr>,
    pub mdns: bool,
    pub relay: String,
    pub dns: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    pub hosts: Vec<String>,
    pub origins: Vec<String>,
    pub behind_proxy: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    pub max_body: u64,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HttpDoc {
    pub url: String,
}

/// HTTP that is to be served from now on, and who waits for its address.
#[derive(Debug)]
pub struct HttpWanted {
    pub settings: HttpSettings,
    pub done: oneshot::Sender<Result<String>>,
}

/// To whoever holds the daemon's tasks.
pub type HttpStarter = mpsc::Sender<HttpWanted>;

impl From<&net::Config> for NetworkSettings {
    fn from(c: &net::Config) -> Self {
        Self { listen: c.listen.clone(), mdns: c.mdns, relay: c.relay.to_string(), dns: c.dns }
    }
}

pub async fn show(State(app): State<App>) -> Json<SettingsDoc> {
    let http = app.control.web.get().map(|web| web.settings.clone());
    Json(SettingsDoc { network: app.control.network.clone(), http })
}

pub async fn start_http(
    State(app): State<App>,
    extract::Json(settings): extract::Json<HttpSettings>,
) -> Result<(StatusCode, Json<HttpDoc>)> {
    app.mounts()?;
    let stopping = || Problem::new(Code::Stopping, "the daemon is about to end");
    let (done, answer) = oneshot::channel();
    let asked = app.control.http_starter.as_ref().ok_or_else(stopping)?;
    asked.send(HttpWanted { settings, done }).await.map_err(|_| stopping())?;
    let url = answer.await.map_err(|_| stopping())??;
    Ok((StatusCode::CREATED, Json(HttpDoc { url })))
}
