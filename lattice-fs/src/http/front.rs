//! What stands behind a listener that anybody can reach: the guard, and behind it the router, for all but the bytes of keys.
//! Those are most of what programs ask for, and the router's way there costs as much as all the rest of a small answer: it copies
//! its layers for each request and boxes what each of them does. So they go past it, to the same handlers, and the guard
//! asks the same of them: this refuses what no row of the table is for.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Request, Uri};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use super::extract::{self, AtKey, InStore, Query, value_path};
use super::guard::{self, From, Guard};
use super::origin::Page;
use super::problem::Result;
use super::{App, routes, value};

/// Answers what comes over one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Front {
    guard: Arc<Guard>,
    router: Router,
}

impl Front {
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { router: super::guarded(guard.app.clone(), guard.clone()), guard }
    }

    /// `from` has sent it. What is read of the body goes through `paced`.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        from: SocketAddr,
        paced: impl FnOnce(B) -> Body,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let response = match self.guard.page(&parts) {
            Err(problem) => problem.into_response(),
            Ok(Page::OwnOrNone) => self.for_us(parts, body, from, paced).await,
            Ok(Page::Allowed(origin)) if parts.method == Method::OPTIONS => guard::preflight(&origin),
            Ok(Page::Allowed(origin)) => {
                let mut response = self.for_us(parts, body, from, paced).await;
                guard::show_to(&mut response, &origin);
                response
            }
        };
        self.guard.app.control.meters.answered(response.status());
        response
    }

    async fn for_us<B>(
        &self,
        parts: Parts,
        body: B,
        from: SocketAddr,
        paced: impl FnOnce(B) -> Body,
    ) -> Response {
        let at_value = value_path(parts.uri.path()).and_then(|_| routes::of_value(&parts.method));
        let answered = match at_value {
            // A reading needs no body, and isn't given one.
            Some(row) if row.method == Method::GET => self.read(row, parts, from).await,
            // The rest is large, and would be room that each connection takes.
            Some(row) => Box::pin(self.write(row, parts, paced(body), from)).await,
            None => {
                let mut request = Request::from_parts(parts, paced(body));
                request.extensions_mut().insert(From(from));
                let Ok(response) = self.router.clone().oneshot(request).await;
                return response;
            }
        };
        answered.unwrap_or_else(IntoResponse::into_response)
    }

    async fn read(&self, row: &routes::Route, parts: Parts, from: SocketAddr) -> Result<Response> {
        let Parts { method, uri, headers, .. } = parts;
        let caller = self.guard.allowed(row.need, &method, &headers, from.ip()).await?;
        let (store, key) = self.place(&caller, &uri).await?;
        let query = Query(extract::query(&uri)?);
        value::get(self.app(), store, key, query, method, headers).await
    }

    async fn write(
        &self,
        row: &routes::Route,
        parts: Parts,
        body: Body,
        from: SocketAddr,
    ) -> Result<Response> {
        let Parts { method, uri, headers, .. } = parts;
        let caller = self.guard.allowed(row.need, &method, &headers, from.ip()).await?;
        let (store, key) = self.place(&caller, &uri).await?;
        if row.method == Method::PUT {
            let query = Query(extract::query(&uri)?);
            let answer = value::put(self.app(), store, key, query, headers, body).await?;
            return Ok(answer.into_response());
        }
        let query = Query(extract::query(&uri)?);
        Ok(value::delete(self.app(), store, key, query, headers).await?.into_response())
    }

    async fn place(&self, caller: &super::caller::Caller, uri: &Uri) -> Result<(InStore, AtKey)> {
        let (store, key) = value_path(uri.path()).unwrap_or_default();
        let store = extract::store(&self.guard.app, caller, store).await?;
        Ok((InStore(store), AtKey(extract::key(caller, key)?)))
    }

    fn app(&self) -> State<App> {
        State(self.guard.app.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use axum::http::StatusCode;
    use lattice_engine::access::{Grant, Scope};
    use lattice_engine::key::Key;
    use lattice_engine::node::Node;

    use super::*;
    use crate::http::Failures;

    const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn request(method: &str, path: &str, token: &str) -> Request<Body> {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = if token.is_empty() { request } else { request.header("authorization", token) };
        request.body(Body::from("some bytes")).expect("a request")
    }

    /// What one can tell them apart by: what both say of themselves has its time in it, and its id.
    async fn seen(response: Response) -> (StatusCode, Vec<String>, String) {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        // How long it is, hyper says where the router hasn't.
        let named = parts.headers.iter().filter(|(name, _)| *name != "content-length" && *name != "allow");
        let mut headers: Vec<_> = match parts.status {
            StatusCode::CREATED => named.map(|(name, _)| name.to_string()).collect(),
            _ => named.map(|(name, value)| format!("{name}: {value:?}")).collect(),
        };
        headers.sort();
        (parts.status, headers, if parts.status == StatusCode::CREATED { String::new() } else { body })
    }

    #[tokio::test]
    async fn past_the_router_the_answers_are_those_behind_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        let node = Node::open(&data).expect("opened");
        let store = node.create_store("home").expect("a store").id();
        let token = |scope, prefix: &[u8]| {
            let prefix = if prefix.is_empty() { Key::ROOT } else { Key::parse(prefix).expect("a key") };
            let grant = Grant { name: String::new(), scope, store: Some(store), prefix, expires_ms: None };
            let (info, secret) = node.create_token(grant).expect("a token");
            format!("Bearer {}:{}", info.id, secret.to_text().as_str())
        };
        let (all, reads, below) =
            (token(Scope::Write, b""), token(Scope::Read, b""), token(Scope::Write, b"notes"));
        let guard = Arc::new(Guard {
            app: App::in_process(node),
            local: FROM.ip(),
            tls: false,
            origins: Default::default(),
            failures: Failures::default(),
        });
        let front = Front::new(guard);
        for (method, path, token) in [
            ("PUT", "/stores/home/keys/{}a", &*all),
            ("PUT", "/v1/stores/home/keys/notes/{}a?durable", &below),
            ("GET", "/stores/home/keys/pasta", &all),
            ("HEAD", "/v1/stores/home/keys/pasta", &all),
            ("GET", "/stores/home/keys/none", &all),
            ("GET", "/stores/home/keys/notes", &all),
            ("HEAD", "/stores/home/keys/none", &all),
            ("GET", "/stores/home/keys/a/../b", &all),
            ("GET", "/stores/home/keys/%00", &all),
            ("GET", "/stores/home/keys//", &all),
            ("GET", "/stores/home/keys/a?version=zz", &all),
            ("GET", "/stores/other/keys/a", &all),
            ("GET", "/stores/%ff/keys/a", &all),
            ("GET", "/stores//keys/a", &all),
            ("GET", "/stores/home/keys/a", ""),
            ("GET", "/stores/home/keys/a", "Bearer nothing"),
            ("GET", "/stores/home/keys/a", &below),
            ("PUT", "/stores/home/keys/a", &reads),
            ("DELETE", "/stores/home/keys/a", &reads),
            ("DELETE", "/stores/home/keys/none", &all),
            ("DELETE", "/stores/home/keys/notes", &all),
            ("PATCH", "/stores/home/keys/a", &all),
        ] {
            let path = |way: &str| path.replace("{}", way);
            let past = front.answer(request(method, &path("past"), token), FROM, |body| body).await;
            let mut behind = request(method, &path("behind"), token);
            behind.extensions_mut().insert(From(FROM));
            let Ok(behind) = front.router.clone().oneshot(behind).await;
            let (past, mut behind) = (seen(past).await, seen(behind).await);
            if method == "HEAD" {
                // Hyper sends no body of what is past the router.
                behind.2.clone_from(&past.2);
            }
            assert_eq!(past, behind, "{method} {}", path(""));
        }
    }

    /// What goes past the router must be what the router would have given to the same handlers.
    #[test]
    fn the_rows_of_values_are_those_of_the_table() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "TRACE"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let (row, table) =
                (routes::of_value(&method), routes::of(&method, "/stores/{store}/keys/{*key}"));
            assert_eq!(row.map(|r| (&r.method, r.need)), table.map(|r| (&r.method, r.need)), "{method}");
        }
    }
}
