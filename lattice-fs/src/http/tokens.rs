//! `/tokens`: access tokens, made, listed and revoked. Who makes one by a token gives no more than it has.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::access::{Grant, TokenId};
use lattice_engine::node::{TokenInfo, TokenState, prefix_of};

use super::app::App;
use super::caller::Caller;
use super::describe;
use super::extract::{self, Path};
use super::key_text::KeyText;
use super::problem::{Code, Problem, Result, blocking};
use super::token_model::{MadeTokenDoc, TokenDoc, TokenList, TokenRequest};

pub async fn list(State(app): State<App>) -> Result<Json<TokenList>> {
    blocking(move || {
        let tokens = app.node.tokens()?;
        Ok(Json(TokenList { tokens: tokens.iter().map(|t| doc(&app, t)).collect::<Result<_>>()? }))
    })
    .await
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    extract::Json(request): extract::Json<TokenRequest>,
) -> Result<(StatusCode, Json<MadeTokenDoc>)> {
    blocking(move || {
        let grant = grant(&app, request)?;
        if !grant.within(caller.grant()) {
            let detail = "a token can't allow more, or last longer, than the one that makes it";
            return Err(Problem::new(Code::NotAuthorised, detail));
        }
        let (info, secret) = app.node.create_token(grant)?;
        let made = MadeTokenDoc { token: doc(&app, &info)?, secret: secret.to_text().to_string() };
        Ok((StatusCode::CREATED, Json(made)))
    })
    .await
}

pub async fn revoke(State(app): State<App>, Path(token): Path<String>) -> Result<StatusCode> {
    let id: TokenId = token.parse().map_err(|e| Problem::new(Code::NoSuchToken, format!("{e}")))?;
    blocking(move || {
        app.node.revoke_token(&id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn grant(app: &App, request: TokenRequest) -> Result<Grant> {
    let text = KeyText { key: request.prefix, key_base64: request.prefix_base64 };
    let prefix = text.bytes().ok_or_else(|| Problem::new(Code::BadKey, "prefix_base64 is not base64"))?;
    let store = request.store.filter(|s| !s.is_empty());
    if request.expires_seconds == Some(0) {
        return Err(Problem::new(Code::BadRequest, "a token lasts some time"));
    }
    let scope = request.scope.parse().map_err(|e| Problem::new(Code::BadRequest, format!("{e}")))?;
    Ok(Grant {
        name: request.name,
        scope,
        store: store.map(|spec| app.node.find_info(&spec)).transpose()?.map(|info| info.id),
        prefix: prefix_of(&prefix).map_err(|e| Problem::new(Code::BadKey, e.to_string()))?,
        expires_ms: request.expires_seconds.map(|s| app.node.now_ms().saturating_add(s.saturating_mul(1000))),
    })
}

fn doc(app: &App, info: &TokenInfo) -> Result<TokenDoc> {
    let grant = &info.record.grant;
    let prefix = KeyText::of(grant.prefix.as_bytes());
    let name = match grant.store {
        None => None,
        Some(id) => app.node.stores()?.into_iter().find(|s| s.id == id).map(|s| s.name),
    };
    Ok(TokenDoc {
        id: info.id.to_string(),
        name: grant.name.clone(),
        scope: grant.scope.to_string(),
        store: grant.store.map(|id| id.to_string()),
        store_name: name,
        prefix: prefix.key,
        prefix_base64: prefix.key_base64,
        created: describe::time(info.created),
        expires: grant.expires_ms.map(describe::time_ms),
        state: match info.state {
            TokenState::Active => "active",
            TokenState::Expired => "expired",
            TokenState::Revoked => "revoked",
            TokenState::Orphaned => "orphaned",
        }
        .into(),
        by: info.record.by.to_string(),
    })
}
