//! Who asks, and what it may see: [`Caller`]. A listener puts one with every request, and the extractors of stores and keys
//! ask it, so no handler can forget to. A request without one is refused.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lattice_engine::access::{Grant, Scope, TokenId};
use lattice_engine::id::StoreId;
use lattice_engine::key::Key;

use super::problem::{Code, Problem, Result};
use super::sessions::SessionId;

/// Whoever a request comes from, with what it was granted.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    who: Who,
    grant: Grant,
}

/// How a caller has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By holding the data directory, or the socket beside it.
    Local,
    Token(TokenId),
    /// By the cookie that the web page got.
    Session(SessionId),
}

fn everything() -> Grant {
    Grant { name: String::new(), scope: Scope::Admin, store: None, prefix: Key::ROOT, expires_ms: None }
}

impl Caller {
    /// May do everything.
    pub fn local() -> Self {
        Self(Arc::new(Inner { who: Who::Local, grant: everything() }))
    }

    /// What the web page may: everything but local control.
    pub fn session(id: SessionId) -> Self {
        Self(Arc::new(Inner { who: Who::Session(id), grant: everything() }))
    }

    pub fn token(id: TokenId, grant: Grant) -> Self {
        Self(Arc::new(Inner { who: Who::Token(id), grant }))
    }

    pub fn who(&self) -> &Who {
        &self.0.who
    }

    pub fn grant(&self) -> &Grant {
        &self.0.grant
    }

    pub fn is_local(&self) -> bool {
        self.0.who == Who::Local
    }

    /// Whether it sees all of the stores that it sees.
    pub fn sees_whole_stores(&self) -> bool {
        self.0.grant.prefix.is_root()
    }

    /// Whether it sees every store.
    pub fn sees_all_stores(&self) -> bool {
        self.0.grant.store.is_none()
    }

    pub fn sees_store(&self, id: StoreId) -> bool {
        self.0.grant.store.is_none_or(|only| only == id)
    }

    pub fn sees(&self, key: &Key) -> bool {
        self.0.grant.sees(key)
    }

    /// Refuses a key outside of the grant. It says nothing of what stands there.
    pub fn check(&self, key: &Key) -> Result<()> {
        if self.sees(key) {
            return Ok(());
        }
        let detail = format!("{key}: this token is for {} and what is below it", self.0.grant.prefix);
        Err(Problem::new(Code::NotAuthorised, detail))
    }

    /// The bytes that every key begins with that both `asked` and the grant allow; [`Caller::sees`] decides each. `None`:
    /// there is none.
    pub fn narrow(&self, asked: Vec<u8>) -> Option<Vec<u8>> {
        let own = self.0.grant.prefix.as_bytes();
        let asked = asked.strip_prefix(b"/").map(<[u8]>::to_vec).unwrap_or(asked);
        if own.starts_with(&asked) {
            return Some(own.to_vec());
        }
        asked.starts_with(own).then_some(asked)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(Code::Unauthenticated, "nobody has said who asks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prefix: &str) -> Caller {
        let prefix = if prefix.is_empty() { Key::ROOT } else { Key::parse(prefix.as_bytes()).expect(prefix) };
        Caller::token(TokenId([1; 8]), Grant { prefix, ..everything() })
    }

    #[test]
    fn what_is_asked_for_is_narrowed_to_what_is_granted() {
        let narrow = |own: &str, asked: &str| {
            let bytes = of(own).narrow(asked.as_bytes().to_vec());
            bytes.map(|b| String::from_utf8(b).expect("UTF-8"))
        };
        assert_eq!(narrow("", "a/b").as_deref(), Some("a/b"));
        assert_eq!(narrow("a/b", "").as_deref(), Some("a/b"));
        assert_eq!(narrow("a/b", "a").as_deref(), Some("a/b"));
        assert_eq!(narrow("a/b", "/a/b/c").as_deref(), Some("a/b/c"));
        assert_eq!(narrow("a/b", "c"), None);
        // Bytes in common are not enough: each key is looked at.
        assert_eq!(narrow("a/b", "a/bc").as_deref(), Some("a/bc"));
        assert!(!of("a/b").sees(&Key::parse(b"a/bc").expect("a key")));
    }

    #[test]
    fn a_key_outside_is_refused_by_the_name_of_the_grant() {
        let e = of("notes").check(&Key::parse(b"secret/plan").expect("a key")).expect_err("outside");
        assert_eq!(e.code, Code::NotAuthorised);
        assert!(e.detail.contains("notes"), "{e}");
    }
}
