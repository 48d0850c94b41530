//! Access tokens as data of the root store: `tokens/<id>/record` and `tokens/<id>/revoked` ([`crate::access::token`]). Made on one
//! node, a token works on every node that has heard of it; a revocation ends it there as soon as it is heard of.
//!
//! It refuses, all with the same words, what isn't the whole truth: an unknown id, a wrong secret, a record in conflict,
//! one whose writer is no member any more.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::{Grant, TokenId, TokenRecord, TokenSecret};
use crate::entry::{Content, MAX_INLINE};
use crate::hlc::Hlc;
use crate::identity::random_bytes;
use crate::key::Key;
use crate::merge::Record;

use super::Node;
use super::declare::{key, put};
use super::error::{NodeError, Result};

/// Bytes of a prefix: longer ones don't stand in an entry with the rest of the record.
const MAX_PREFIX: usize = 1024;
/// Records kept in memory.
const MAX_KEPT: usize = 4096;

/// A token as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: TokenId,
    pub record: TokenRecord,
    pub created: Hlc,
    pub state: TokenState,
}

/// Whether a token lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    Active,
    Expired,
    Revoked,
    /// Its maker is no member any more.
    Orphaned,
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error(
        "this token is not known here, or its secret is another: `lattice token list` shows which there are"
    )]
    Unknown,
    #[error("this token has expired: make a new one with `lattice token create`")]
    Expired,
    #[error("this token was revoked: make a new one with `lattice token create`")]
    Revoked,
}

/// Records that were read, as long as the root store is the same.
#[derive(Debug, Default)]
pub(super) struct TokenCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The root store's, when they were read.
    generation: u64,
    tokens: HashMap<TokenId, Option<Arc<TokenInfo>>>,
}

impl Node {
    /// Makes a token. The secret is for its holder: it isn't kept.
    pub fn create_token(&self, grant: Grant) -> Result<(TokenInfo, TokenSecret)> {
        self.writable()?;
        if grant.prefix.as_bytes().len() > MAX_PREFIX {
            return Err(NodeError::Refused(format!("a token's prefix has at most {MAX_PREFIX} bytes")));
        }
        if grant.expired(self.now_ms()) {
            return Err(NodeError::Refused("a token has to last some time: it would have expired".into()));
        }
        let bits = random_bytes().map_err(|e| NodeError::Refused(e.to_string()))?;
        let secret = TokenSecret::new(bits);
        let record = TokenRecord::new(&secret, self.id(), grant);
        let id = record.id();
        self.act(vec![put(key(&id.record_path())?, &record.to_value())?])?;
        let info =
            self.token(&id)?.ok_or_else(|| NodeError::Refused("the token could not be kept".into()))?;
        Ok((info.as_ref().clone(), secret))
    }

    /// All tokens, by when they were made; those that let nobody in any more too.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let mut found = Vec::new();
        for (name, _) in self.0.root.list(&key("tokens")?, None, usize::MAX)? {
            let id = std::str::from_utf8(&name).ok().and_then(|n| n.parse().ok());
            if let Some(id) = id
                && let Some(info) = self.token(&id)?
            {
                found.push(TokenInfo { state: self.token_state(&info), ..info.as_ref().clone() });
            }
        }
        found.sort_by_key(|t| (t.created, t.id));
        Ok(found)
    }

    /// Ends a token, everywhere and for good.
    pub fn revoke_token(&self, id: &TokenId) -> Result<()> {
        self.writable()?;
        if self.0.root.get(&key(&id.record_path())?)?.is_none() {
            return Err(NodeError::NoSuchToken(*id));
        }
        self.act(vec![put(key(&id.revoked_path())?, "")?])
    }

    /// What a token allows, if `secret` is its.
    pub fn check_token(
        &self,
        id: &TokenId,
        secret: &TokenSecret,
    ) -> Result<Result<Arc<TokenInfo>, TokenRefusal>> {
        Ok(self.judge_token(self.token(id)?, secret))
    }

    /// As [`Node::check_token`], where what there is of the token is in memory: it never waits for the disk. `None`: it
    /// isn't.
    pub fn check_token_now(
        &self,
        id: &TokenId,
        secret: &TokenSecret,
    ) -> Option<std::result::Result<Arc<TokenInfo>, TokenRefusal>> {
        let known = {
            let cache = self.0.tokens.0.lock();
            let current = cache.generation == self.0.root.generation();
            cache.tokens.get(id).filter(|_| current)?.clone()
        };
        Some(self.judge_token(known, secret))
    }

    fn judge_token(
        &self,
        found: Option<Arc<TokenInfo>>,
        secret: &TokenSecret,
    ) -> std::result::Result<Arc<TokenInfo>, TokenRefusal> {
        let info = found.filter(|info| info.record.is_of(secret)).ok_or(TokenRefusal::Unknown)?;
        match self.token_state(&info) {
            TokenState::Active => Ok(info),
            TokenState::Expired => Err(TokenRefusal::Expired),
            TokenState::Revoked => Err(TokenRefusal::Revoked),
            TokenState::Orphaned => Err(TokenRefusal::Unknown),
        }
    }

    /// Whether there is a token of this id, whatever it allows.
    pub fn knows_token(&self, id: &TokenId) -> Result<bool> {
        Ok(self.token(id)?.is_some())
    }

    /// Whether a token that was let in still would be.
    pub fn token_holds(&self, id: &TokenId) -> Result<bool> {
        Ok(self.token(id)?.is_some_and(|info| self.token_state(&info) == TokenState::Active))
    }

    fn token_state(&self, info: &TokenInfo) -> TokenState {
        match info.state {
            TokenState::Active if !self.membership().contains(&info.record.by) => TokenState::Orphaned,
            TokenState::Active if info.record.grant.expired(self.now_ms()) => TokenState::Expired,
            state => state,
        }
    }

    /// A token, from memory as long as nothing has changed in the root store.
    fn token(&self, id: &TokenId) -> Result<Option<Arc<TokenInfo>>> {
        let generation = self.0.root.generation();
        {
            let mut cache = self.0.tokens.0.lock();
            if cache.generation != generation || cache.tokens.len() > MAX_KEPT {
                *cache = Kept { generation, tokens: HashMap::new() };
            }
            if let Some(found) = cache.tokens.get(id) {
                return Ok(found.clone());
            }
        }
        let found = self.read_token(id)?.map(Arc::new);
        let mut cache = self.0.tokens.0.lock();
        // What was asked before a change is not what was read after it.
        if cache.generation == generation {
            cache.tokens.insert(*id, found.clone());
        }
        Ok(found)
    }

    fn read_token(&self, id: &TokenId) -> Result<Option<TokenInfo>> {
        let root = &self.0.root;
        let Some(record) = root.get(&key(&id.record_path())?)? else { return Ok(None) };
        let Some((content, at)) = only_version(&record) else { return Ok(None) };
        let value = root.read(content)?.read_all()?;
        let Some(record) = TokenRecord::from_value(&value, at.author).filter(|r| r.id() == *id) else {
            return Ok(None);
        };
        // Whatever stands there, or stood there: a token that was ended doesn't come back.
        let revoked = root.get(&key(&id.revoked_path())?)?.is_some();
        let state = if revoked { TokenState::Revoked } else { TokenState::Active };
        Ok(Some(TokenInfo { id: *id, record, created: at.hlc, state }))
    }
}

/// A small value that nobody has written another one beside.
fn only_version(record: &Record) -> Option<(&Content, crate::merge::EntryRef)> {
    let [head] = &record.heads[..] else { return None };
    let content = head.node.as_ref()?.content()?;
    (content.size() <= MAX_INLINE as u64).then_some((content, head.entry))
}

/// The prefix that a text names: a key, or nothing for all of them.
pub fn prefix_of(text: &[u8]) -> Result<Key> {
    let path = text.strip_prefix(b"/").unwrap_or(text);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path.is_empty() {
        return Ok(Key::ROOT);
    }
    Key::parse(path).map_err(|e| NodeError::Refused(format!("the prefix is not a key: {e}")))
}
