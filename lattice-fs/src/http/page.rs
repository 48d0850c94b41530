//! The web page: the files of `lattice-fs/web/`, as they were when the program was built. They are the same for everybody, and
//! hold no data, so they need no token; all that the page shows it asks the API for.
//!
//! The page may load nothing but itself and talk to nobody but the API: no script that stands in it, in an attribute or in
//! somebody's file is run.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::etag::not_modified;
use super::mime;

#[derive(RustEmbed)]
#[folder = "web/"]
struct Files;

/// Where the page is opened.
const INDEX: &str = "index.html";

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                   media-src 'self' blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where a one-time link leads: not of the page's own files, so that signing in works whatever they are.
const SIGN_IN: [(&str, &str, &[u8]); 2] = [
    ("/signin", "text/html; charset=utf-8", include_bytes!("signin/signin.html")),
    ("/signin.js", "text/javascript; charset=utf-8", include_bytes!("signin/signin.js")),
];

/// A route for each file, the index at `/`.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let sign_in = SIGN_IN.into_iter().fold(Router::new(), |router, (path, kind, bytes)| {
        router.route(path, get(async move || (common(kind), bytes)))
    });
    Files::iter().fold(sign_in, |router, name| {
        let path = if name == INDEX { "/".to_owned() } else { format!("/{name}") };
        router.route(&path, get(async move |headers: HeaderMap| file(&name, &headers)))
    })
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    // INVARIANT: routed by the list of files; in a development build one may have been removed since.
    let Some(file) = Files::get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = tag(&file);
    let mut out = common(mime::by_name(name.as_bytes()));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, value);
    }
    if not_modified(headers, tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, out).into_response();
    }
    (out, file.data.into_owned()).into_response()
}

fn tag(file: &EmbeddedFile) -> String {
    format!("\"{}\"", data_encoding::HEXLOWER.encode(&file.metadata.sha256_hash()[..16]))
}

fn common(kind: &'static str) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        out.insert(name, HeaderValue::from_static(value));
    }
    out
}
