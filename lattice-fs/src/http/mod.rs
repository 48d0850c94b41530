//! The API: one axum router behind every command, over the daemon's Unix socket or in the command's own process. It
//! decodes, calls the engine and answers; what things mean is decided below. Every error is a problem document.
//!
//! Who asks, and what they may, is one [`Caller`] per request. [`local`] is for those who hold the data directory or the socket
//! beside it: they may do everything. [`guarded`] is for a listener that anybody can reach: it asks for a token, and serves the
//! web page, too.

pub mod app;
pub mod body;
pub mod guard;
mod health;
pub mod key_text;
pub mod model;
pub mod problem;

mod batch;
mod bells;
mod bundle;
mod caller;
mod conflicts;
mod control;
mod credentials;
mod describe;
mod etag;
mod events;
mod extract;
mod failures;
mod history;
mod invites;
mod keys;
mod listing;
mod maintenance;
mod metrics;
mod mime;
pub mod net_model;
pub mod origin;
mod page;
mod peers;
pub mod qr;
mod range;
mod routes;
mod session;
mod sessions;
mod stores;
mod syncing;
pub mod token_model;
mod tokens;
mod upload;
mod value;
mod version;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};

pub use app::{App, Web};
use caller::Caller;
pub use control::mount_now;
pub use failures::Failures;
use guard::Guard;
pub use key_text::encode;
use problem::{Code, Problem};
pub use sessions::Sessions;

/// JSON bodies; values and bundles are streamed and have no limit here.
const MAX_JSON: usize = 64 << 20;

/// For whoever is an administrator by where they come from.
pub fn local(app: App) -> Router {
    api(app).layer(Extension(Caller::local()))
}

/// For a listener that anybody can reach.
pub fn guarded(app: App, guard: Arc<Guard>) -> Router {
    api(app)
        .layer(from_fn_with_state(guard.clone(), guard::authorise))
        .merge(page::router())
        .layer(from_fn_with_state(guard, guard::admit))
}

/// Every route, at the root and again under `/v1`.
fn api(app: App) -> Router {
    Router::new()
        .merge(routes())
        .nest("/v1", routes())
        .fallback(async |uri: Uri| Problem::new(Code::NoRoute, format!("there is nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::new(Code::MethodNotAllowed, format!("{} doesn't take {method}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .with_state(app)
}

fn routes() -> Router<App> {
    Router::new()
        .route("/status", get(control::status))
        .route("/mounts", get(control::mounts).post(control::mount).delete(control::unmount))
        .route("/shutdown", post(control::shutdown))
        .route("/stay", post(control::stay))
        .route("/peers", get(peers::list))
        .route("/peers/ping", post(peers::ping_all))
        .route("/peers/{peer}", get(peers::show).patch(peers::rename).delete(peers::revoke))
        .route("/peers/{peer}/ping", post(peers::ping))
        .route("/invites", post(invites::create))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{token}", delete(tokens::revoke))
        .route("/session", get(session::show).post(session::sign_in).delete(session::sign_out))
        .route("/session/links", post(session::link))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/import", post(bundle::import))
        .route("/gc", post(maintenance::gc_stores))
        .route("/stores", get(stores::list).post(stores::create))
        .route("/stores/{store}", get(stores::show).patch(stores::rename).delete(stores::delete))
        .route("/stores/{store}/keys", get(keys::list))
        .route("/stores/{store}/keys/{*key}", get(value::get).put(value::put).delete(value::delete))
        .route("/stores/{store}/batch", post(batch::post))
        .route("/stores/{store}/history/{*key}", get(history::of_key))
        .route("/stores/{store}/entries", get(history::entries))
        .route("/stores/{store}/conflicts", get(conflicts::list))
        .route("/stores/{store}/conflicts/{*key}", get(conflicts::show).post(conflicts::post))
        .route("/stores/{store}/events", get(events::stream))
        .route("/stores/{store}/export", get(bundle::export))
        .route("/stores/{store}/sync", post(syncing::sync))
        .route("/stores/{store}/gc", post(maintenance::gc))
        .route("/stores/{store}/fsck", post(maintenance::fsck))
        .route("/stores/{store}/stats", get(maintenance::stats))
}
