//! Web sessions: how a browser that a person has opened by a one-time link goes on to be let in. All of it is in memory: a
//! session ends with the daemon, after twelve hours, or when somebody signs out.
//!
//! A link's code is 256 random bits, good once and for five minutes, and stands in the URL's fragment, which no browser sends
//! and no log sees. A session's cookie is `HttpOnly` and `SameSite=Strict`, and alone changes nothing: what isn't a mere
//! reading needs the CSRF token beside it, which only a page of ours can have read.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use data_encoding::BASE64URL_NOPAD;
use lattice_engine::identity::random_bytes;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use super::problem::{Code, Problem, Result};

/// How long a link may lie about.
pub const LINK_LASTS: Duration = Duration::from_secs(300);
/// How long a browser stays signed in.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);
/// Links and sessions at once; the oldest gives way.
const MAX_LINKS: usize = 16;
const MAX_SESSIONS: usize = 64;
/// The header that a page shows its CSRF token in.
pub const CSRF_HEADER: &str = "x-lattice-csrf";

/// What only its holder knows, kept as its hash.
type Hash = [u8; 32];

/// Which session; no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(Hash);

/// The links and sessions of one daemon.
#[derive(Debug)]
pub struct Sessions {
    /// Cookies don't know ports, and there may be another daemon on this machine.
    cookie: String,
    /// Only over TLS.
    secure: bool,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    links: Vec<(Hash, Instant)>,
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    hash: Hash,
    csrf: String,
    ends: Instant,
}

/// A browser that has signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub id: SessionId,
    /// The `Set-Cookie` header's value.
    pub cookie: String,
    pub csrf: String,
}

fn hash(secret: &str) -> Hash {
    blake3::derive_key("lattice 2026 v1 web session", secret.as_bytes())
}

fn same(a: &Hash, b: &Hash) -> bool {
    a.ct_eq(b).into()
}

fn draw() -> Result<String> {
    let bits: [u8; 32] = random_bytes().map_err(|e| Problem::new(Code::Internal, e.to_string()))?;
    Ok(BASE64URL_NOPAD.encode(&bits))
}

impl Sessions {
    pub fn new(port: u16, secure: bool) -> Self {
        Self { cookie: format!("lattice-session-{port}"), secure, all: Mutex::default() }
    }

    /// The code of a new link.
    pub fn link(&self, now: Instant) -> Result<String> {
        let code = draw()?;
        let mut all = self.all.lock();
        all.links.retain(|(_, ends)| *ends > now);
        if all.links.len() >= MAX_LINKS {
            all.links.remove(0);
        }
        all.links.push((hash(&code), now + LINK_LASTS));
        Ok(code)
    }

    /// Uses a link's code up.
    pub fn sign_in(&self, code: &str, now: Instant) -> Result<SignedIn> {
        let (secret, csrf, code) = (draw()?, draw()?, hash(code));
        let mut all = self.all.lock();
        let before = all.links.len();
        let good = all.links.iter().any(|(link, ends)| same(link, &code) && *ends > now);
        all.links.retain(|(link, _)| !same(link, &code));
        if !good || all.links.len() == before {
            let detail = "this link was used already, or is too old: `lattice web` makes a new one";
            return Err(Problem::new(Code::Unauthenticated, detail));
        }
        all.sessions.retain(|s| s.ends > now);
        if all.sessions.len() >= MAX_SESSIONS {
            all.sessions.remove(0);
        }
        let id = SessionId(hash(&secret));
        all.sessions.push(Session { hash: id.0, csrf: csrf.clone(), ends: now + SESSION_LASTS });
        Ok(SignedIn { id, cookie: self.set_cookie(&secret, SESSION_LASTS.as_secs()), csrf })
    }

    /// The session that these headers show, if there is one, and its CSRF token.
    pub fn of(&self, headers: &HeaderMap, now: Instant) -> Option<(SessionId, String)> {
        let secret = hash(self.shown(headers)?);
        let all = self.all.lock();
        let session = all.sessions.iter().find(|s| same(&s.hash, &secret) && s.ends > now)?;
        Some((SessionId(session.hash), session.csrf.clone()))
    }

    /// Whether a session that let somebody in still would.
    pub fn holds(&self, id: &SessionId, now: Instant) -> bool {
        self.all.lock().sessions.iter().any(|s| s.hash == id.0 && s.ends > now)
    }

    /// Ends a session. Gives the `Set-Cookie` header's value that makes a browser forget it.
    pub fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(secret) = self.shown(headers).map(hash) {
            self.all.lock().sessions.retain(|s| !same(&s.hash, &secret));
        }
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", self.cookie)
    }

    fn shown<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let mut pairs = cookies.flat_map(|v| v.split(';')).filter_map(|c| c.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }
}

/// Whether a request by cookie comes from a page of ours: a browser that says where it comes from says so, and one that
/// changes something shows what only such a page can have read.
pub fn check_own_page(headers: &HeaderMap, safe: bool, csrf: &str) -> Result<()> {
    let site = headers.get("sec-fetch-site").map(|v| v.to_str().unwrap_or_default());
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Problem::new(Code::ForeignOrigin, "the page that asks is of another origin"));
    }
    let shown = headers.get(CSRF_HEADER).map(|v| v.as_bytes()).unwrap_or_default();
    if !safe && !bool::from(shown.ct_eq(csrf.as_bytes())) {
        let detail =
            "what is signed in by a cookie has to show the CSRF token of GET /session in X-Lattice-CSRF";
        return Err(Problem::new(Code::Csrf, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(signed_in: &SignedIn) -> HeaderMap {
        let pair = signed_in.cookie.split(';').next().expect("a pair");
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("other=1; {pair}; last=2").parse().expect("a value"));
        headers
    }

    #[test]
    fn a_link_is_good_once_and_for_five_minutes() {
        let (sessions, now) = (Sessions::new(4780, false), Instant::now());
        let code = sessions.link(now).expect("a link");
        let in_time = now + LINK_LASTS - Duration::from_secs(1);
        let browser = sessions.sign_in(&code, in_time).expect("signed in");
        assert_eq!(sessions.of(&cookie(&browser), in_time), Some((browser.id, browser.csrf.clone())));
        assert!(sessions.holds(&browser.id, in_time));
        assert_eq!(sessions.sign_in(&code, in_time).expect_err("used").code, Code::Unauthenticated);
        let late = sessions.link(now).expect("a link");
        sessions.sign_in(&late, now + LINK_LASTS).expect_err("too old");
        sessions.sign_in("", now).expect_err("no code");
        assert_eq!(sessions.of(&cookie(&browser), now + SESSION_LASTS * 2), None, "it ends");
        assert!(!sessions.holds(&browser.id, now + SESSION_LASTS * 2), "for what is open, too");
        assert_eq!(sessions.of(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_other_sites_and_other_daemons() {
        let (sessions, now) = (Sessions::new(4780, true), Instant::now());
        let browser = sessions.sign_in(&sessions.link(now).expect("a link"), now).expect("signed in");
        for part in ["lattice-session-4780=", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Secure"] {
            assert!(browser.cookie.contains(part), "{part}");
        }
        assert_eq!(Sessions::new(4781, true).of(&cookie(&browser), now), None);
        let forget = sessions.sign_out(&cookie(&browser));
        assert!(forget.contains("Max-Age=0"), "{forget}");
        assert_eq!(sessions.of(&cookie(&browser), now), None);
        assert!(!sessions.holds(&browser.id, now));
    }

    #[test]
    fn a_change_needs_the_token_that_only_our_page_has_read() {
        let check = |site: Option<&str>, token: Option<&str>, safe| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), (CSRF_HEADER, token)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a value"));
                }
            }
            check_own_page(&headers, safe, "right").map_err(|e| e.code)
        };
        assert_eq!(check(None, None, true), Ok(()));
        assert_eq!(check(Some("none"), None, true), Ok(()));
        assert_eq!(check(Some("same-origin"), Some("right"), false), Ok(()));
        assert_eq!(check(None, Some("wrong"), false), Err(Code::Csrf));
        assert_eq!(check(None, None, false), Err(Code::Csrf));
        for site in ["same-site", "cross-site"] {
            assert_eq!(check(Some(site), Some("right"), true), Err(Code::ForeignOrigin), "{site}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (sessions, now) = (Sessions::new(1, false), Instant::now());
        for _ in 0..3 * MAX_SESSIONS {
            let code = sessions.link(now).expect("a link");
            sessions.link(now).expect("another");
            sessions.sign_in(&code, now).expect("signed in");
        }
        let all = sessions.all.lock();
        assert!(all.links.len() <= MAX_LINKS && all.sessions.len() <= MAX_SESSIONS);
    }
}
