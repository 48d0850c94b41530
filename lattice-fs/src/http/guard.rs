//! What is asked of a request where anybody may knock ([`front`](super::front)): that it is for us
//! ([`origin`](super::origin)), says who asks ([`credentials`](super::credentials); [`failures`](super::failures) slows
//! down who guesses), and asks for no more than it is allowed ([`routes`](mod@super::routes)). In that order, and a route
//! that isn't in the table is refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lattice_engine::access::{TokenId, TokenSecret};

use super::app::App;
use super::caller::Caller;
use super::credentials::{Shown, shown};
use super::failures::Failures;
use super::origin::{Origins, Page};
use super::problem::{Code, Problem, Result, blocking};
use super::routes::{self, Need};
use super::sessions::check_own_page;

/// How one listener is guarded.
#[derive(Debug)]
pub struct Guard {
    pub app: App,
    /// Where it listens.
    pub local: IpAddr,
    pub tls: bool,
    pub origins: Origins,
    pub failures: Failures,
}

/// Where a request came from. The front puts one with every request that the router is given.
#[derive(Debug, Clone, Copy)]
pub struct From(pub SocketAddr);

/// The layer around the API alone.
pub async fn authorise(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match guard.caller(&parts).await {
        Ok(Some(caller)) => drop(parts.extensions.insert(caller)),
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(Request::from_parts(parts, body)).await
}

impl Guard {
    /// Whose page a request comes from; refuses one that isn't for us.
    pub fn page(&self, request: &Parts) -> Result<Page> {
        self.origins.check_host(&request.uri, &request.headers, self.local)?;
        self.origins.check_page(&request.headers, self.tls)
    }

    /// Who asks, if it may do what needs this.
    pub async fn allowed(
        &self,
        need: Need,
        method: &Method,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Caller> {
        let caller = self.identify(method, headers, from).await?;
        need.check(&caller)?;
        Ok(caller)
    }

    /// Who asks; `None` where nobody needs to be anybody.
    async fn caller(&self, request: &Parts) -> Result<Option<Caller>> {
        let matched = request.extensions.get::<MatchedPath>();
        let row = matched.and_then(|path| routes::of(&request.method, path.as_str()));
        if row.is_some_and(|row| row.need == Need::Open) {
            return Ok(None);
        }
        let from = request.extensions.get::<From>();
        let from =
            from.ok_or_else(|| Problem::new(Code::Internal, "the listener didn't say who connected"))?;
        let caller = self.identify(&request.method, &request.headers, from.0.ip()).await?;
        match (row, matched) {
            (Some(row), _) => row.need.check(&caller)?,
            // Nothing there, or not with this method: the router says so, to those who may ask at all.
            (None, None) => {}
            (None, Some(path)) if known(path.as_str()) => {}
            (None, Some(path)) => {
                let detail = format!("{} is not for tokens", path.as_str());
                return Err(Problem::new(Code::NotAuthorised, detail));
            }
        }
        Ok(Some(caller))
    }

    async fn identify(&self, method: &Method, headers: &HeaderMap, from: IpAddr) -> Result<Caller> {
        match shown(headers) {
            Shown::Nothing => self.session(method, headers),
            Shown::Unreadable => {
                self.failures.may_fail(from, None, Instant::now()).map_err(too_many)?;
                Err(Problem::new(
                    Code::Unauthenticated,
                    "the Authorization header holds no token: Bearer ID:SECRET",
                ))
            }
            Shown::Token(id, secret) => self.token(id, secret, from).await,
        }
    }

    /// A browser that has signed in.
    fn session(&self, method: &Method, headers: &HeaderMap) -> Result<Caller> {
        let web = self.app.control.web.get();
        let Some((id, csrf)) = web.and_then(|web| web.sessions.of(headers, Instant::now())) else {
            let detail = "this needs a token: `lattice token create` makes one, to be sent as Authorization: Bearer ID:SECRET";
            return Err(Problem::new(Code::Unauthenticated, detail));
        };
        check_own_page(headers, method.is_safe(), &csrf)?;
        Ok(Caller::session(id))
    }

    /// What is in memory is judged here, so that a request costs no change of threads for it.
    async fn token(&self, id: TokenId, secret: TokenSecret, from: IpAddr) -> Result<Caller> {
        let node = &self.app.node;
        let checked = match node.check_token_now(&id, &secret) {
            Some(checked) => checked,
            None => {
                let node = node.clone();
                blocking(move || Ok(node.check_token(&id, &secret)?)).await?
            }
        };
        let why = match checked {
            Ok(info) => return Ok(Caller::token(info)),
            Err(why) => why,
        };
        // It was just looked for, so that is in memory by now.
        let about = node.knows_token(&id)?.then_some(id);
        self.failures.may_fail(from, about, Instant::now()).map_err(too_many)?;
        tracing::info!(%from, token = about.map(|id| id.to_string()), "a token was refused");
        Err(Problem::new(Code::Unauthenticated, why.to_string()))
    }
}

/// Whether the path is in the table with another method.
fn known(path: &str) -> bool {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    routes::ROUTES.iter().any(|row| row.path == path)
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs_f64().ceil();
    let detail = format!("too many wrong tokens from this address: try again in {seconds} s");
    Problem::new(Code::TooManyFailures, detail)
}

/// What the page of an allowed origin may see of an answer.
pub fn show_to(response: &mut Response, origin: &str) {
    let headers = response.headers_mut();
    allow(headers, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "etag, content-range, retry-after, lattice-heads, lattice-conflict, lattice-kind, lattice-entry",
        ),
    );
}

fn allow(headers: &mut HeaderMap, origin: &str) {
    if let Ok(origin) = HeaderValue::from_str(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// What a browser asks before it lets an allowed page send anything. No cookies: such a page needs a token.
pub fn preflight(origin: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    allow(headers, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PUT, POST, PATCH, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-match, if-none-match, if-range, range, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
