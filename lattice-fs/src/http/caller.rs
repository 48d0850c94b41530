//! Who asks, and what it may see: [`Caller`]. A listener puts one with every request, and the extractors of stores and keys
//! ask it, so no handler can forget to. A request without one is refused.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lattice_engine::access::{Grant, Scope, TokenId};
use lattice_engine::id::StoreId;
use lattice_engine::key::Key;
use lattice_engine::node::TokenInfo;

use super::problem::{Code, Problem, Result};
use super::sessions::SessionId;

/// Whoever a request comes from, with what it was granted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Local,
    Token(Arc<TokenInfo>),
    Session(SessionId),
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

static EVERYTHING: Grant =
    Grant { name: String::new(), scope: Scope::Admin, store: None, prefix: Key::ROOT, expires_ms: None };

impl Caller {
    /// May do everything.
    pub fn local() -> Self {
        Self(Inner::Local)
    }

    /// What the web page may: everything but local control.
    pub fn session(id: SessionId) -> Self {
        Self(Inner::Session(id))
    }

    /// The holder of a token that lets somebody in.
    pub fn token(info: Arc<TokenInfo>) -> Self {
        Self(Inner::Token(info))
    }

    /// For tests: as the holder of a token with this grant.
    #[cfg(test)]
    pub fn granted(grant: Grant) -> Self {
        use lattice_engine::{access, hlc::Hlc, id::NodeId, node::TokenState};

        let record = access::TokenRecord::new(&access::TokenSecret::new([1; 32]), NodeId([1; 32]), grant);
        Self::token(Arc::new(TokenInfo {
            id: record.id(),
            record,
            created: Hlc::ZERO,
            state: TokenState::Active,
        }))
    }

    pub fn who(&self) -> Who {
        match &self.0 {
            Inner::Local => Who::Local,
            Inner::Token(info) => Who::Token(info.id),
            Inner::Session(id) => Who::Session(*id),
        }
    }

    pub fn grant(&self) -> &Grant {
        match &self.0 {
            Inner::Token(info) => &info.record.grant,
            Inner::Local | Inner::Session(_) => &EVERYTHING,
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self.0, Inner::Local)
    }

    /// Whether it sees all of the stores that it sees.
    pub fn sees_whole_stores(&self) -> bool {
        self.grant().prefix.is_root()
    }

    /// Whether it sees every store.
    pub fn sees_all_stores(&self) -> bool {
        self.grant().store.is_none()
    }

    pub fn sees_store(&self, id: StoreId) -> bool {
        self.grant().store.is_none_or(|only| only == id)
    }

    pub fn sees(&self, key: &Key) -> bool {
        self.grant().sees(key)
    }

    /// Refuses a key outside of the grant. It says nothing of what stands there.
    pub fn check(&self, key: &Key) -> Result<()> {
        if self.sees(key) {
            return Ok(());
        }
        let detail = format!("{key}: this token is for {} and what is below it", self.grant().prefix);
        Err(Problem::new(Code::NotAuthorised, detail))
    }

    /// The bytes that every key begins with that both `asked` and the grant allow; [`Caller::sees`] decides each. `None`:
    /// there is none.
    pub fn narrow(&self, asked: Vec<u8>) -> Option<Vec<u8>> {
        let own = self.grant().prefix.as_bytes();
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
        Caller::granted(Grant { prefix, ..EVERYTHING.clone() })
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
