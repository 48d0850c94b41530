//! Extractors whose refusals are problem documents: the store and the key of a path, JSON bodies, queries.

use std::borrow::Cow;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use lattice_engine::key::Key;
use lattice_engine::node::{NodeError, StoreInfo};
use lattice_engine::store::Handle;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::app::App;
use super::caller::Caller;
use super::key_text::decode;
use super::problem::{Code, Problem, blocking_unless};

/// The parts of `[/v1]/stores/{store}/{resource}/{key…}`, still encoded.
pub(super) fn store_path(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/stores/")?;
    let (store, rest) = path.split_once('/').unwrap_or((path, ""));
    let (_resource, key) = rest.split_once('/').unwrap_or((rest, ""));
    Some((store, key))
}

/// The store that the path names: a UUID, and for a person's sake also a name or a unique prefix.
#[derive(Debug)]
pub struct InStore(pub Handle);

impl FromRequestParts<App> for InStore {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        store(app, &caller, named(parts.uri.path())?).await.map(Self)
    }
}

/// The store that a segment of a path names, if the caller sees it.
pub async fn store(app: &App, caller: &Caller, encoded: &str) -> Result<Handle, Problem> {
    let spec = store_spec(encoded)?;
    if let Some(store) = app.node.find_now(&spec) {
        return if caller.sees_store(store.id()) { Ok(store) } else { Err(no_such_store(&spec)) };
    }
    let (app, caller, spec) = (app.clone(), caller.clone(), spec.into_owned());
    blocking_unless(app.node.remembers_stores(), move || {
        let info = find(&app, &caller, &spec)?;
        Ok(app.node.opened(info.id)?)
    })
    .await
}

/// The same, also where the store can't be opened.
#[derive(Debug)]
pub struct Named(pub StoreInfo);

impl FromRequestParts<App> for Named {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let spec = store_spec(named(parts.uri.path())?)?.into_owned();
        let (app, caller) = (app.clone(), Caller::from_request_parts(parts, app).await?);
        blocking_unless(app.node.remembers_stores(), move || Ok(Self(find(&app, &caller, &spec)?))).await
    }
}

/// A store that the caller sees. One that it doesn't see is as if there were none.
fn find(app: &App, caller: &Caller, spec: &str) -> Result<StoreInfo, Problem> {
    match app.node.find_info(spec) {
        Ok(info) if caller.sees_store(info.id) => Ok(info),
        Err(e) if caller.sees_all_stores() => Err(e.into()),
        Ok(_) | Err(_) => Err(no_such_store(spec)),
    }
}

fn no_such_store(spec: &str) -> Problem {
    NodeError::NoSuchStore(spec.into()).into()
}

/// The segment that names a store.
fn named(path: &str) -> Result<&str, Problem> {
    let parts = store_path(path).ok_or_else(|| Problem::new(Code::NoRoute, "the path names no store"))?;
    Ok(parts.0)
}

fn store_spec(encoded: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| Problem::new(Code::NoSuchStore, format!("no store {encoded:?}: its name is not UTF-8")))
}

/// The key of the path: percent-encoded bytes, checked, and one that the caller sees.
#[derive(Debug)]
pub struct AtKey(pub Key);

impl<S: Send + Sync> FromRequestParts<S> for AtKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let (_, encoded) = store_path(parts.uri.path()).unwrap_or_default();
        key(&caller, encoded).map(Self)
    }
}

/// The key that the rest of a path names, if the caller sees it.
pub fn key(caller: &Caller, encoded: &str) -> Result<Key, Problem> {
    let bytes: Cow<'_, [u8]> = percent_decode_str(encoded).into();
    let key = Key::parse(&bytes).map_err(|e| {
        Problem::new(Code::BadKey, format!("{:?} is not a key: {e}", String::from_utf8_lossy(&bytes)))
    })?;
    caller.check(&key)?;
    Ok(key)
}

/// A parameter of the query as bytes, which need not be UTF-8.
pub fn query_bytes(uri: &Uri, name: &str) -> Option<Vec<u8>> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(n, _)| *n == name)?;
    Some(decode(&value.replace('+', " ")))
}

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(req: Request, state: &S) -> Result<Self, Problem> {
        let json = axum::Json::<T>::from_request(req, state).await;
        json.map(|axum::Json(value)| Self(value)).map_err(|e: JsonRejection| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TooLarge, e.body_text()),
            _ => Problem::new(Code::BadRequest, e.body_text()),
        })
    }
}

/// What a segment of the path says.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, app).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|e: PathRejection| Problem::new(Code::BadRequest, e.body_text()))
    }
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        query(&parts.uri).map(Self)
    }
}

/// What a query string says.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(value)| value)
        .map_err(|e: QueryRejection| Problem::new(Code::BadRequest, e.body_text()))
}

/// The store and the key of `[/v1]/stores/{store}/keys/{key…}`, still encoded, as the router tells it from other paths.
pub fn value_path(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/stores/")?;
    let (store, key) = path.split_once("/keys/")?;
    (!store.is_empty() && !store.contains('/') && !key.is_empty()).then_some((store, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_store_and_key() {
        assert_eq!(store_path("/stores/home/keys/a/b"), Some(("home", "a/b")));
        assert_eq!(store_path("/v1/stores/home/keys/a%2Fb"), Some(("home", "a%2Fb")));
        assert_eq!(store_path("/stores/home"), Some(("home", "")));
        assert_eq!(store_path("/status"), None);
    }

    #[test]
    fn the_path_of_a_value_is_told_from_others() {
        assert_eq!(value_path("/stores/home/keys/a/b"), Some(("home", "a/b")));
        assert_eq!(value_path("/v1/stores/home/keys/keys/keys/"), Some(("home", "keys/keys/")));
        for other in [
            "/stores/home/keys",
            "/stores/home/keys/",
            "/stores//keys/a",
            "/stores/home/history/keys/a",
            "/stores/home/history/a/keys/b",
            "/v1/v1/stores/home/keys/a",
            "/v1stores/home/keys/a",
            "//stores/home/keys/a",
            "/keys/a",
        ] {
            assert_eq!(value_path(other), None, "{other}");
        }
    }

    #[test]
    fn a_query_carries_any_bytes() {
        let uri: Uri = "/x?limit=1&prefix=%ff%26+a".parse().expect("a uri");
        assert_eq!(query_bytes(&uri, "prefix"), Some(b"\xff& a".to_vec()));
        assert_eq!(query_bytes(&uri, "pre"), None);
    }
}
