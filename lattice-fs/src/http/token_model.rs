//! The documents of access tokens and web sessions. As with the others, fields are only ever added.

use serde::{Deserialize, Serialize};

/// A token as `token list` shows it. Its secret is nowhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenDoc {
    pub id: String,
    /// What it is for; may be empty.
    pub name: String,
    /// `ro`, `rw` or `admin`.
    pub scope: String,
    /// The only store that it is for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_name: Option<String>,
    /// Only this key and those below it; empty: all.
    pub prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_base64: Option<String>,
    pub created: String,
    /// Absent: it doesn't expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `active`, `expired`, `revoked`, or `orphaned`: its maker is no member any more.
    pub state: String,
    /// The node that it was made on.
    pub by: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenList {
    pub tokens: Vec<TokenDoc>,
}

/// What a new token is to allow.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    #[serde(default)]
    pub name: String,
    /// `ro`, `rw` or `admin`.
    pub scope: String,
    /// A store's name or id; absent: all stores.
    #[serde(default)]
    pub store: Option<String>,
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub prefix_base64: Option<String>,
    /// Absent: it doesn't expire.
    #[serde(default)]
    pub expires_seconds: Option<u64>,
}

/// A new token. The secret is told this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct MadeTokenDoc {
    #[serde(flatten)]
    pub token: TokenDoc,
    pub secret: String,
}

/// Without the secret.
impl std::fmt::Debug for MadeTokenDoc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeTokenDoc").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A one-time link to the web page.
#[derive(Clone, Serialize, Deserialize)]
pub struct WebLinkDoc {
    pub url: String,
    pub expires: String,
}

/// Without the code.
impl std::fmt::Debug for WebLinkDoc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebLinkDoc").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Of a one-time link: what stands behind the `#`.
    pub code: String,
}

/// Who asks, and what they may.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionDoc {
    /// The node that answers.
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub version: String,
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    pub prefix: String,
    /// The token's id, where one was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of a browser's session: to be shown in `X-Lattice-CSRF` by what changes something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

/// Without the code.
impl std::fmt::Debug for SessionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionRequest(..)")
    }
}

/// Without the CSRF token.
impl std::fmt::Debug for SessionDoc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionDoc")
            .field("node", &self.node)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
