//! What a value is, for a browser: its `user.mime_type` attribute, else a guess from its name.

use std::borrow::Cow;

use lattice_engine::key::Key;
use lattice_engine::merge::FileAttrs;

const UNKNOWN: &str = "application/octet-stream";

/// By extension, lower case.
const TYPES: &[(&str, &str)] = &[
    ("c", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("html", "text/html; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", "text/plain; charset=utf-8"),
    ("rs", "text/plain; charset=utf-8"),
    ("sh", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("toml", "application/toml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The Content-Type of a file.
pub fn of(key: &Key, attrs: Option<&FileAttrs>) -> Cow<'static, str> {
    let set = attrs.and_then(|a| a.xattrs.get(&b"user.mime_type"[..])).and_then(|r| r.value.as_ref());
    let set = set.and_then(|v| std::str::from_utf8(v).ok()).filter(|t| plausible(t));
    set.map_or_else(|| by_name(key.name()).into(), |set| set.to_owned().into())
}

/// Only what can stand in a header.
fn plausible(text: &str) -> bool {
    text.contains('/') && text.len() < 128 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// By the extension alone.
pub fn by_name(name: &[u8]) -> &'static str {
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else { return UNKNOWN };
    let extension = &name[dot + 1..];
    let found = TYPES.iter().find(|(e, _)| e.as_bytes().eq_ignore_ascii_case(extension));
    found.map_or(UNKNOWN, |(_, t)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_unless_an_attribute_does() {
        assert_eq!(by_name(b"a.PNG"), "image/png");
        assert_eq!(by_name(b"Makefile"), UNKNOWN);
        assert!(plausible("text/x-rust") && !plausible("text/x\r\nSet-Cookie: a") && !plausible("text"));
    }
}
