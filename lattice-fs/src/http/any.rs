//! Any bytes for what a request may say, for `crate::decoders`. What reads back is compared with what was read.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use lattice_engine::key::Key;

use super::etag::{Condition, not_modified};
use super::extract::{query_bytes, store_path};
use super::history::parse_cursor;
use super::key_text::{KeyText, decode, encode};
use super::model::Batch;
use super::origin::Origins;
use super::{credentials, range};

/// A key in a URL, in its query, and in JSON.
pub fn decode_keys(bytes: &[u8]) {
    if let Ok(uri) = Uri::try_from(bytes) {
        let _ = query_bytes(&uri, "prefix");
        if let Some((store, key)) = store_path(uri.path()) {
            let _ = (decode(store), Key::parse(&decode(key)));
        }
    }
    if let Ok(text) = serde_json::from_slice::<KeyText>(bytes)
        && let Some(exact) = text.bytes()
    {
        assert_eq!(KeyText::of(&exact).bytes(), Some(exact));
    }
    let Ok(key) = Key::parse(bytes) else { return };
    let text = format!("/v1/stores/home/keys/{}?prefix={}", encode(key.as_bytes()), encode(key.as_bytes()));
    // INVARIANT: only unreserved characters, `/` and `%` are in it. `Uri` takes no more than 64 KiB, a key is 4 KiB.
    let uri = text.parse::<Uri>().unwrap_or_else(|e| panic!("{text} is no URL: {e}"));
    let found = store_path(uri.path()).map(|(_, key)| decode(key));
    assert_eq!(found.as_deref(), Some(key.as_bytes()));
    assert_eq!(query_bytes(&uri, "prefix").as_deref(), Some(key.as_bytes()));
    assert_eq!(KeyText::from(&key).bytes().as_deref(), Some(key.as_bytes()));
}

/// What stands in headers and in a batch. A header's bytes have passed the HTTP parser before anything here sees them.
pub fn decode_headers(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Batch>(bytes);
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let text = value.to_str().ok();
    for size in [0, 1, 1000, u64::MAX] {
        if let range::Asked::Part(part) = range::parse(text, size) {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        }
    }
    let _ = text.map(parse_cursor);
    let all = [header::IF_MATCH, header::IF_NONE_MATCH, header::AUTHORIZATION, header::HOST, header::ORIGIN];
    let headers: HeaderMap = all.into_iter().map(|name| (name, value.clone())).collect();
    let mut one = HeaderMap::new();
    one.insert(header::IF_MATCH, value);
    let _ = (Condition::of_headers(&headers), Condition::of_headers(&one), not_modified(&headers, b"\"a\""));
    let _ = credentials::shown(&headers);
    let (origins, local) = (Origins::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let _ = origins.check_host(&Uri::from_static("/"), &headers, local);
    let _ = (origins.check_page(&headers, false), origins.check_page(&headers, true));
}
