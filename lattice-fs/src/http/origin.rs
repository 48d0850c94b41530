//! Whose page a browser's request comes from, and whom it thinks it talks to. A page of another origin gets nothing, and
//! neither does one that has bent its own name to this address (DNS rebinding): a name in `Host` must be one that was said to
//! be ours, and an address needs no resolver that could lie.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use super::problem::{Code, Problem, Result};

/// Which names and which foreign pages are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Names beside `localhost` and addresses that the listener is reached by, in lower case.
    pub hosts: Vec<String>,
    /// Origins whose pages may use the API, as browsers write them: `https://app.example`.
    pub allowed: Vec<String>,
}

/// What the `Origin` header came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// No browser's request from another page.
    OwnOrNone,
    /// An origin that was let in by name.
    Allowed(String),
}

impl Origins {
    /// Refuses a request that thinks it talks to somebody else. `local` is the listener's address.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap, local: IpAddr) -> Result<()> {
        let mut values = headers.get_all(header::HOST).iter();
        let one = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()),
            _ => None,
        };
        let host =
            one.ok_or_else(|| Problem::new(Code::BadRequest, "the request has no single Host header"))?;
        // A request line with a whole URL in it says it again.
        for authority in std::iter::once(&host).chain(uri.authority()) {
            if !self.is_ours(authority.host(), local) {
                let name: String = authority.host().chars().take(100).collect();
                let detail = format!(
                    "{name:?} is not a name of this service: use its address, or add the name with --http-host"
                );
                return Err(Problem::new(Code::WrongHost, detail));
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str, local: IpAddr) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            let local = local.to_canonical();
            return local.is_unspecified() || ip == local || (ip.is_loopback() && local.is_loopback());
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }

    /// Refuses what a page of another origin has sent.
    pub fn check_page(&self, headers: &HeaderMap, tls: bool) -> Result<Page> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(Page::OwnOrNone) };
        let origin = origin.to_str().unwrap_or("null");
        if self.allowed.iter().any(|a| a == origin) {
            return Ok(Page::Allowed(origin.into()));
        }
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let own = |scheme: &str| {
            origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        // Behind a proxy that does TLS, the page's own scheme is https though ours is not.
        if own("https://") || (!tls && own("http://")) {
            return Ok(Page::OwnOrNone);
        }
        let shown: String = origin.chars().take(100).collect();
        let detail =
            format!("the page {shown:?} is of another origin: --http-origin lets one in, if you trust it");
        Err(Problem::new(Code::ForeignOrigin, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    fn host_is_ours(host: &str, local: &str) -> bool {
        let origins = Origins { hosts: vec!["nas.example".into()], allowed: Vec::new() };
        let headers = headers(&[(header::HOST, host)]);
        origins.check_host(&Uri::from_static("/x"), &headers, local.parse().expect(local)).is_ok()
    }

    #[test]
    fn only_our_own_names_and_addresses_are_answered() {
        for host in [
            "127.0.0.1:4780",
            "127.0.0.1",
            "[::1]:4780",
            "localhost:1",
            "LOCALHOST",
            "localhost.",
            "127.1.2.3",
        ] {
            assert!(host_is_ours(host, "127.0.0.1"), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "evil.localhost",
            "0",
        ] {
            assert!(!host_is_ours(host, "127.0.0.1"), "{host}");
        }
        assert!(host_is_ours("NAS.example:80", "192.0.2.1") && host_is_ours("192.0.2.1:80", "192.0.2.1"));
        assert!(!host_is_ours("192.0.2.2", "192.0.2.1") && !host_is_ours("127.0.0.1", "192.0.2.1"));
        assert!(host_is_ours("192.0.2.2", "0.0.0.0") && host_is_ours("[2001:db8::1]", "::"));
        assert!(!host_is_ours("evil.example", "0.0.0.0"));
        assert!(host_is_ours("[::ffff:127.0.0.1]", "127.0.0.1"));
    }

    #[test]
    fn a_request_says_once_whom_it_is_for() {
        let origins = Origins::default();
        let local = "127.0.0.1".parse().expect("an address");
        let check = |uri: &'static str, pairs: &[(header::HeaderName, &str)]| {
            origins.check_host(&Uri::from_static(uri), &headers(pairs), local).map_err(|e| e.code)
        };
        let host = (header::HOST, "localhost");
        assert_eq!(check("/", std::slice::from_ref(&host)), Ok(()));
        assert_eq!(check("/", &[]), Err(Code::BadRequest));
        assert_eq!(check("/", &[host.clone(), (header::HOST, "evil.example")]), Err(Code::BadRequest));
        assert_eq!(check("/", &[(header::HOST, "a b")]), Err(Code::BadRequest));
        assert_eq!(check("http://evil.example/", &[host]), Err(Code::WrongHost));
    }

    #[test]
    fn a_foreign_page_is_refused_unless_it_was_let_in() {
        let origins = Origins { hosts: Vec::new(), allowed: vec!["https://app.example".into()] };
        let page = |origin: &str, tls| {
            let headers = headers(&[(header::HOST, "localhost:4780"), (header::ORIGIN, origin)]);
            origins.check_page(&headers, tls).map_err(|e| e.code)
        };
        assert_eq!(page("http://localhost:4780", false), Ok(Page::OwnOrNone));
        assert_eq!(page("https://localhost:4780", false), Ok(Page::OwnOrNone));
        assert_eq!(page("https://app.example", false), Ok(Page::Allowed("https://app.example".into())));
        for (origin, tls) in [
            ("http://localhost:8000", false),
            ("http://localhost", false),
            ("http://evil.example", false),
            ("https://app.example.evil.example", false),
            ("null", false),
            ("", false),
            ("http://localhost:4780", true),
        ] {
            assert_eq!(page(origin, tls), Err(Code::ForeignOrigin), "{origin}");
        }
        assert_eq!(origins.check_page(&HeaderMap::new(), false).map_err(|e| e.code), Ok(Page::OwnOrNone));
    }
}
