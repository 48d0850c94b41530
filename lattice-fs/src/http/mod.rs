//! The API: one axum router behind every command, over the daemon's Unix socket or in the command's own process. It
//! decodes, calls the engine and answers; what things mean is decided below. Every error is a problem document.
//!
//! Who asks, and what they may, is one [`Caller`] per request. [`local`] is for those who hold the data directory or the socket
//! beside it: they may do everything. [`Front`] is for a listener that anybody can reach: it asks for a token, and serves the
//! web page, too.

mod answers;
mod any;
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
mod front;
mod history;
mod invites;
mod keys;
mod listing;
mod maintenance;
mod metrics;
mod mime;
pub mod net_model;
mod openapi;
pub mod origin;
mod page;
mod peers;
pub mod qr;
mod range;
mod routes;
mod session;
mod sessions;
pub mod settings;
mod stores;
mod syncing;
mod together;
pub mod token_model;
mod tokens;
mod upload;
mod value;
mod version;
mod writes;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};

pub(crate) use any::{decode_headers, decode_keys};
pub use app::{App, Reach, Web};
use caller::Caller;
pub use control::mount_now;
pub use failures::Failures;
pub use front::Front;
use guard::Guard;
pub use key_text::encode;
use problem::{Code, Problem};
pub use sessions::Sessions;

/// JSON bodies; values and bundles are streamed and have no limit here.
const MAX_JSON: usize = 64 << 20;
/// Of who isn't known yet: a sign-in. Strangers get no memory of ours to fill.
const MAX_OPEN: usize = 1 << 10;

/// For whoever is an administrator by where they come from.
pub fn local(app: App) -> Router {
    api(app).layer(Extension(Caller::local()))
}

/// For a listener that anybody can reach, behind its [`Front`].
fn guarded(app: App, guard: Arc<Guard>) -> Router {
    api(app).layer(from_fn_with_state(guard, guard::authorise)).merge(page::router())
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
        .route("/settings", get(settings::show))
        .route("/settings/http", post(settings::start_http))
        .route("/peers", get(peers::list))
        .route("/peers/ping", post(peers::ping_all))
        .route("/peers/{peer}", get(peers::show).patch(peers::rename).delete(peers::revoke))
        .route("/peers/{peer}/ping", post(peers::ping))
        .route("/invites", post(invites::create))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{token}", delete(tokens::revoke))
        .route(
            "/session",
            get(session::show)
                .post(session::sign_in)
                .layer(DefaultBodyLimit::max(MAX_OPEN))
                .delete(session::sign_out),
        )
        .route("/session/links", post(session::link))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::show))
        .route("/import", post(bundle::import))
        .route("/gc", post(maintenance::gc_stores))
        .route("/stores", get(stores::list).post(stores::create))
        .route("/stores/{store}", get(stores::show).patch(stores::rename).delete(stores::delete))
        .route("/stores/{store}/policy", put(stores::set_policy))
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use lattice_engine::node::Node;
    use tower::ServiceExt;

    use super::*;

    /// Each row of the table is a route, and the router has none beside them that a token would be let in by: a route that
    /// the guard finds in no row it refuses.
    #[tokio::test]
    async fn the_table_and_the_router_have_the_same_routes() {
        let dir = tempfile::tempdir().expect("a directory");
        Node::init(&dir.path().join("data")).expect("initialised");
        let node = Node::open(&dir.path().join("data")).expect("opened");
        let router = local(App::in_process(node));
        for row in routes::ROUTES {
            let path = row.path.replace("{*key}", "k").replace(['{', '}'], "");
            for path in [path.clone(), format!("/v1{path}")] {
                let request = Request::builder().method(&row.method).uri(&path).body(Body::empty());
                let Ok(answer) = router.clone().oneshot(request.expect("a request")).await;
                assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{} {path}", row.method);
                if answer.status() == StatusCode::NOT_FOUND {
                    let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
                    assert!(
                        !String::from_utf8_lossy(&body).contains("no-such-resource"),
                        "{} {path}",
                        row.method
                    );
                }
            }
        }
        let source = include_str!("mod.rs").split("fn routes()").nth(1).expect("the routes");
        let routed = source.split(".route(\"").skip(1).filter_map(|r| r.split('"').next());
        for path in routed.take_while(|path| path.starts_with('/')) {
            assert!(routes::ROUTES.iter().any(|row| row.path == path), "{path} is in no row");
        }
    }
}
