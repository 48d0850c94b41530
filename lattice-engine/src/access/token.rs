//! Access tokens: what the root store keeps of one, and whether a secret is the one it was made with.
//!
//! A token is 256 random bits that only its holder has. The root store has their SHA-256, under a name that is made from it,
//! so whoever reads the root store can use no token, and a record can't be another token's. What a token allows stands in one
//! value (`tokens/<id>/record`): two writers who don't know of each other can't mix a record out of both, and one that is in
//! conflict allows nothing. A token ends by `tokens/<id>/revoked`, a key that only has to be there: a deletion would lose
//! against an edit beside it.
//!
//! A record counts while the member who wrote it is one, as an invite does.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, Encoding, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::{NodeId, StoreId};
use crate::key::Key;

use super::name::clean_name;

/// BLAKE3 `derive_key` context of a token's id from its secret's hash.
pub const TOKEN_DOMAIN: &str = "lattice 2026 v1 token id";

/// Bytes of a record: the longest prefix as base64, and the rest.
const MAX_RECORD: usize = 8192;
/// The first line of a record.
const RECORD: &str = "lattice token 1";

/// A token's name: public, it stands in logs and lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 8]);

impl TokenId {
    fn of(hash: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::derive_key(TOKEN_DOMAIN, hash)[..8]);
        Self(id)
    }

    /// The key of its record in the root store.
    pub fn record_path(&self) -> String {
        format!("tokens/{self}/record")
    }

    /// The key that ends it.
    pub fn revoked_path(&self) -> String {
        format!("tokens/{self}/revoked")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// What was given is not a token's id. It doesn't say what was: somebody may have put a secret in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not a token's id (16 hex digits): `lattice token list` shows them")]
pub struct ParseTokenIdError;

impl FromStr for TokenId {
    type Err = ParseTokenIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = Self([0; 8]);
        exactly(&HEXLOWER, text, &mut id.0).map(|()| id).ok_or(ParseTokenIdError)
    }
}

/// Decodes a text that stands for exactly as many bytes. It is read with every request, so it costs no memory of its own.
fn exactly(encoding: &Encoding, text: &str, bytes: &mut [u8]) -> Option<()> {
    let fits = encoding.decode_len(text.len()).is_ok_and(|len| len == bytes.len());
    let decoded = fits.then(|| encoding.decode_mut(text.as_bytes(), bytes))?.ok()?;
    (decoded == bytes.len()).then_some(())
}

/// What its holder shows. Wiped when dropped, never printed by `Debug`.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<[u8; 32]>);

impl TokenSecret {
    /// Of 256 bits that the caller drew.
    pub fn new(bits: [u8; 32]) -> Self {
        Self(Zeroizing::new(bits))
    }

    /// As [`TokenSecret::to_text`] gives it. `None`: no secret at all.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut secret = Self::new([0; 32]);
        exactly(&BASE64URL_NOPAD, text, &mut *secret.0).map(|()| secret)
    }

    /// 43 characters, for the one time that it is shown.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&*self.0))
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(*self.0).into()
    }

    pub fn id(&self) -> TokenId {
        TokenId::of(&self.hash())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// What a token's holder may do with what it sees. Each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Read,
    Write,
    /// Also what is about stores as a whole, members and tokens.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "ro",
            Self::Write => "rw",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was given is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope: it is ro, rw or admin")]
pub struct ParseScopeError(String);

impl FromStr for Scope {
    type Err = ParseScopeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Read, Self::Write, Self::Admin];
        let found = all.into_iter().find(|s| s.as_str() == text);
        found.ok_or_else(|| ParseScopeError(text.chars().take(20).collect()))
    }
}

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it is for, as a person reads it; may be empty.
    pub name: String,
    pub scope: Scope,
    /// `None`: every store.
    pub store: Option<StoreId>,
    /// Only this key and those below it; the root: all.
    pub prefix: Key,
    /// Unix milliseconds; `None`: it doesn't expire.
    pub expires_ms: Option<u64>,
}

impl Grant {
    /// Whether a key is within what it sees.
    pub fn sees(&self, key: &Key) -> bool {
        self.prefix.is_root() || *key == self.prefix || key.is_below(&self.prefix)
    }

    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| now_ms >= at)
    }

    /// Whether it allows nothing that `other` doesn't: who has a token can make others, but none that can do more.
    pub fn within(&self, other: &Self) -> bool {
        let outlives = match (self.expires_ms, other.expires_ms) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(limit)) => own > limit,
        };
        self.scope <= other.scope
            && (other.store.is_none() || self.store == other.store)
            && other.sees(&self.prefix)
            && !outlives
    }
}

/// What the root store keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// SHA-256 of the secret.
    hash: [u8; 32],
    /// Who wrote the record: it counts while that is a member. Not in the value: the entry's author says it.
    pub by: NodeId,
    pub grant: Grant,
}

impl TokenRecord {
    pub fn new(secret: &TokenSecret, by: NodeId, grant: Grant) -> Self {
        let name = clean_name(&grant.name).unwrap_or_default();
        Self { hash: secret.hash(), by, grant: Grant { name, ..grant } }
    }

    pub fn id(&self) -> TokenId {
        TokenId::of(&self.hash)
    }

    /// Whether it was made with this secret. Takes as long whatever the answer.
    pub fn is_of(&self, secret: &TokenSecret) -> bool {
        self.hash.ct_eq(&secret.hash()).into()
    }

    /// The value of `tokens/<id>/record`.
    pub fn to_value(&self) -> String {
        let Grant { name, scope, store, prefix, expires_ms } = &self.grant;
        format!(
            "{RECORD}\nsha256 {}\nscope {scope}\nstore {}\nprefix {}\nexpires {}\nname {name}\n",
            HEXLOWER.encode(&self.hash),
            store.map_or_else(|| "*".into(), |id| id.to_string()),
            BASE64URL_NOPAD.encode(prefix.as_bytes()),
            expires_ms.map_or_else(|| "never".into(), |ms| ms.to_string()),
        )
    }

    /// From a value that `by` wrote. `None`: it is no record in the one form that [`TokenRecord::to_value`] gives.
    pub fn from_value(value: &[u8], by: NodeId) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|t| t.len() <= MAX_RECORD)?;
        let mut lines = text.lines();
        if lines.next() != Some(RECORD) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let hash = HEXLOWER.decode(field("sha256")?.as_bytes()).ok()?.try_into().ok()?;
        let scope = field("scope")?.parse().ok()?;
        let store = match field("store")? {
            "*" => None,
            id => Some(id.parse().ok()?),
        };
        let prefix = match field("prefix")? {
            "" => Key::ROOT,
            text => Key::from_wire(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.into()).ok()?,
        };
        let expires_ms = match field("expires")? {
            "never" => None,
            ms => Some(ms.parse().ok()?),
        };
        let name = field("name")?.to_owned();
        let record = Self { hash, by, grant: Grant { name, scope, store, prefix, expires_ms } };
        (record.to_value() == text).then_some(record)
    }
}
