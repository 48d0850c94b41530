//! `/session`: signing a browser in by a one-time link, and out again.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::app::App;
use super::caller::{Caller, Who};
use super::describe;
use super::extract;
use super::problem::{Code, Problem, Result, blocking};
use super::sessions::{LINK_LASTS, Sessions};
use super::token_model::{SessionDoc, SessionRequest, WebLinkDoc};

/// A link for a browser on this machine, or wherever the address leads.
pub async fn link(State(app): State<App>) -> Result<(StatusCode, Json<WebLinkDoc>)> {
    let (url, sessions) = web(&app)?;
    let code = sessions.link(Instant::now())?;
    let expires = app.node.now_ms().saturating_add(LINK_LASTS.as_millis() as u64);
    let doc = WebLinkDoc { url: format!("{url}/signin#{code}"), expires: describe::time_ms(expires) };
    Ok((StatusCode::CREATED, Json(doc)))
}

/// Uses a link's code up; the answer sets the cookie.
pub async fn sign_in(
    State(app): State<App>,
    extract::Json(request): extract::Json<SessionRequest>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<SessionDoc>)> {
    let (_, sessions) = web(&app)?;
    let signed_in = sessions.sign_in(&request.code, Instant::now())?;
    let doc = doc(&app, &Caller::session(signed_in.id), Some(signed_in.csrf.clone())).await?;
    Ok((set(&signed_in.cookie)?, Json(doc)))
}

/// Who asks; with a session, the CSRF token of it.
pub async fn show(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Json<SessionDoc>> {
    let csrf = match caller.who() {
        Who::Session(_) => web(&app)?.1.of(&headers, Instant::now()).map(|(_, csrf)| csrf),
        Who::Local | Who::Token(_) => None,
    };
    Ok(Json(doc(&app, &caller, csrf).await?))
}

pub async fn sign_out(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1])> {
    let (_, sessions) = web(&app)?;
    Ok((StatusCode::NO_CONTENT, set(&sessions.sign_out(&headers))?))
}

/// Where the page is, and who is signed in there.
fn web(app: &App) -> Result<(&str, &Sessions)> {
    let web = app.control.web.get();
    web.map(|web| (web.url.as_str(), &web.sessions)).ok_or_else(|| {
        Problem::new(
            Code::NoHttp,
            "no HTTP is served: `lattice serve --http 127.0.0.1` starts it, also in a daemon that runs",
        )
    })
}

fn set(cookie: &str) -> Result<[(HeaderName, HeaderValue); 1]> {
    let value = HeaderValue::from_str(cookie);
    let value = value.map_err(|_| Problem::new(Code::Internal, "the cookie can't stand in a header"))?;
    Ok([(header::SET_COOKIE, value)])
}

async fn doc(app: &App, caller: &Caller, csrf: Option<String>) -> Result<SessionDoc> {
    let (node, grant) = (app.node.clone(), caller.grant().clone());
    let name = blocking(move || Ok(node.name()?)).await?;
    Ok(SessionDoc {
        node: app.node.id().to_string(),
        name,
        version: env!("CARGO_PKG_VERSION").into(),
        scope: grant.scope.to_string(),
        store: grant.store.map(|id| id.to_string()),
        prefix: String::from_utf8_lossy(grant.prefix.as_bytes()).into_owned(),
        token: match caller.who() {
            Who::Token(id) => Some(id.to_string()),
            Who::Local | Who::Session(_) => None,
        },
        csrf,
    })
}
