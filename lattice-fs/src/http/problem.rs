//! Errors as RFC 9457 documents. Every failure of the router is one of these, axum's own included; the `code` is stable
//! and is what a client acts on, the `detail` is for people and says what to do next.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lattice_engine::content::ContentError;
use lattice_engine::key::KeyError;
use lattice_engine::node::NodeError;
use lattice_engine::store::StoreError;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, as a client tells it apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Code {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }
            fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest = "bad-request", BAD_REQUEST, "The request can't be understood";
    BadKey = "bad-key", BAD_REQUEST, "Not a key";
    BadName = "bad-name", BAD_REQUEST, "Not a name";
    BadCursor = "bad-cursor", BAD_REQUEST, "Not a cursor";
    BadVersion = "bad-version", BAD_REQUEST, "Not a version's id";
    /// Nobody has shown who they are.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A token is needed";
    NotAuthorised = "not-authorised", FORBIDDEN, "Not allowed";
    /// The request thinks it talks to somebody else.
    WrongHost = "wrong-host", MISDIRECTED_REQUEST, "Not a name of this service";
    ForeignOrigin = "foreign-origin", FORBIDDEN, "Not for pages of other origins";
    /// A session's cookie without the token beside it.
    Csrf = "csrf", FORBIDDEN, "Not from the page itself";
    NoHttp = "no-http", CONFLICT, "No HTTP is served";
    TooManyFailures = "too-many-failures", TOO_MANY_REQUESTS, "Too many wrong tokens";
    UriTooLong = "uri-too-long", URI_TOO_LONG, "The request line is too long";
    /// The sender has stopped to send.
    TooSlow = "too-slow", REQUEST_TIMEOUT, "The request took too long";
    /// As much as there is room for is under way already.
    Busy = "busy", SERVICE_UNAVAILABLE, "Too much at once";
    NoSuchToken = "no-such-token", NOT_FOUND, "No such token";
    NotInitialised = "not-initialised", SERVICE_UNAVAILABLE, "No data directory";
    AlreadyInitialised = "already-initialised", CONFLICT, "There is a data directory already";
    Locked = "locked", CONFLICT, "In use by another process";
    NoRoute = "no-such-resource", NOT_FOUND, "No such resource";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed here";
    NoSuchStore = "no-such-store", NOT_FOUND, "No such store";
    Ambiguous = "ambiguous", CONFLICT, "More than one fits";
    NameTaken = "name-taken", CONFLICT, "The name is taken";
    NotFound = "not-found", NOT_FOUND, "No such key";
    NoSuchVersion = "no-such-version", NOT_FOUND, "No such version";
    NoSuchMount = "no-such-mount", NOT_FOUND, "No such mount";
    Exists = "exists", CONFLICT, "The key exists";
    NotEmpty = "not-empty", CONFLICT, "The directory is not empty";
    IsADirectory = "is-a-directory", CONFLICT, "The key is a directory";
    NotADirectory = "not-a-directory", CONFLICT, "The key is not a directory";
    NotAFile = "not-a-file", CONFLICT, "The key holds no bytes";
    Precondition = "precondition-failed", PRECONDITION_FAILED, "The precondition doesn't hold";
    BadRange = "range-not-satisfiable", RANGE_NOT_SATISFIABLE, "No such range";
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "Too large";
    TooMany = "too-many", CONFLICT, "Too many at once";
    ReadOnly = "read-only", SERVICE_UNAVAILABLE, "The store is read-only";
    NoSpace = "no-space", INSUFFICIENT_STORAGE, "The disk is full";
    Damaged = "damaged", INTERNAL_SERVER_ERROR, "Damaged data";
    Refused = "refused", UNPROCESSABLE_ENTITY, "Refused";
    /// What a mount needs is not there, or the mount point is not fit.
    MountFailed = "mount-failed", CONFLICT, "The mount failed";
    MountBusy = "mount-busy", CONFLICT, "The mount is in use";
    Stopping = "stopping", SERVICE_UNAVAILABLE, "The daemon is about to end";
    NoDaemon = "no-daemon", CONFLICT, "No daemon runs";
    NoSuchPeer = "no-such-peer", NOT_FOUND, "No such member";
    /// The daemon has no network, or it did not start.
    NoNetwork = "no-network", SERVICE_UNAVAILABLE, "No network";
    TimedOut = "timed-out", GATEWAY_TIMEOUT, "It took too long";
    Internal = "internal", INTERNAL_SERVER_ERROR, "It failed here";
}

impl Code {
    /// What HTTP wants to be said beside the status.
    fn header(self) -> Option<(header::HeaderName, &'static str)> {
        match self {
            Self::Unauthenticated => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"lattice\"")),
            Self::TooManyFailures | Self::Busy => Some((header::RETRY_AFTER, "1")),
            _ => None,
        }
    }
}

/// An RFC 9457 problem document.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:lattice:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: Code,
}

/// What handlers return.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:lattice:problem:{}", code.as_str()),
            title: code.title().into(),
            status: code.status().as_u16(),
            detail: detail.into(),
            code,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.code == Code::Internal || self.code == Code::Damaged {
            tracing::warn!(code = self.code.as_str(), "{}", self.detail);
        }
        let code = self.code;
        let mut response = (code.status(), Json(self)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = code.header() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<KeyError> for Problem {
    fn from(e: KeyError) -> Self {
        Self::new(Code::BadKey, e.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        let code = match e.cause() {
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::Exists(_) => Code::Exists,
            StoreError::NotEmpty(_) => Code::NotEmpty,
            StoreError::IsADirectory(_) => Code::IsADirectory,
            StoreError::NotADirectory(_) => Code::NotADirectory,
            StoreError::Precondition(_) => Code::Precondition,
            StoreError::TooMany(_) => Code::TooMany,
            StoreError::Key(..) => Code::BadKey,
            StoreError::ReadOnly { .. } => Code::ReadOnly,
            StoreError::NoSpace(_) => Code::NoSpace,
            StoreError::Log(_) | StoreError::State(_) => Code::Damaged,
            StoreError::Content(e) => content_code(e),
            StoreError::NotHere { .. } | StoreError::Interrupted => Code::TimedOut,
            StoreError::IntoItself(_) | StoreError::Refused(_) | StoreError::Entry(_) => Code::Refused,
            StoreError::Io { .. } | StoreError::Shared(_) => Code::Internal,
        };
        Self::new(code, e.to_string())
    }
}

fn content_code(e: &ContentError) -> Code {
    match e {
        ContentError::TooManyChunks { .. } | ContentError::ChunkTooLarge { .. } => Code::TooLarge,
        ContentError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Code::NoSpace,
        ContentError::Missing { .. } | ContentError::Corrupt { .. } | ContentError::Truncated { .. } => {
            Code::Damaged
        }
        ContentError::BadManifest { .. } | ContentError::Version { .. } => Code::Damaged,
        ContentError::GcRunning => Code::Refused,
        ContentError::Poisoned { .. } => Code::ReadOnly,
        _ => Code::Internal,
    }
}

impl From<NodeError> for Problem {
    fn from(e: NodeError) -> Self {
        let code = match e {
            NodeError::Store(e) => return e.into(),
            NodeError::NotInitialised(_) => Code::NotInitialised,
            NodeError::AlreadyInitialised(_) => Code::AlreadyInitialised,
            NodeError::Locked { .. } => Code::Locked,
            NodeError::NoSuchStore(_) => Code::NoSuchStore,
            NodeError::NoSuchToken(_) => Code::NoSuchToken,
            NodeError::Ambiguous { .. } => Code::Ambiguous,
            NodeError::NameTaken(_) | NodeError::NodeNameTaken { .. } => Code::NameTaken,
            NodeError::BadName { .. } | NodeError::BadNodeName { .. } => Code::BadName,
            NodeError::Refused(_) | NodeError::Join(_) => Code::Refused,
            NodeError::Broken { .. } | NodeError::Identity(_) => Code::Damaged,
            NodeError::Io { .. } => Code::Internal,
        };
        Self::new(code, e.to_string())
    }
}

/// Runs blocking store work off the async workers.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    begin(work).await
}

/// The same, begun at once and not when it is waited for.
pub fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    let work = tokio::task::spawn_blocking(work);
    async move {
        match work.await {
            Ok(result) => result,
            Err(_) => Err(Problem::new(Code::Internal, "the request's work panicked: the log says where")),
        }
    }
}

/// The same, but for work that is known to need nothing that isn't in memory: a change of threads costs more than it.
pub async fn blocking_unless<T: Send + 'static>(
    in_memory: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if in_memory { work() } else { blocking(work).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_the_code_and_the_status_agree() {
        let p = Problem::new(Code::NoSuchStore, "no store \"x\"");
        let json = serde_json::to_value(&p).expect("serialises");
        assert_eq!(json["type"], "urn:lattice:problem:no-such-store");
        assert_eq!(json["code"], "no-such-store");
        assert_eq!(json["status"], 404);
        let back: Problem = serde_json::from_value(json).expect("reads back");
        assert_eq!(back.code, Code::NoSuchStore);
    }
}
