//! One request and its answer. What is not a success is an error with the router's own problem document.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use super::alive::{Alive, during};
use super::{Client, ClientError, Lines, Result, Transport};
use crate::http::problem::Problem;
use crate::socket;

/// A request under construction.
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Request<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
    /// The answer's head comes when the body has been read, however long that is.
    streamed: bool,
}

impl<'c> Request<'c> {
    pub(super) fn new(client: &'c Client, method: Method, path: String) -> Self {
        Self { client, method, path, headers: HeaderMap::new(), body: Body::empty(), streamed: false }
    }

    /// A header; a value that can't be one is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// A `key=value` of the query, encoded.
    pub fn query(self, name: &str, value: &str) -> Self {
        self.query_bytes(name, value.as_bytes())
    }

    pub fn query_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&crate::http::encode(value));
        self
    }

    pub fn query_opt(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub fn json(mut self, doc: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(doc).map_err(|e| ClientError::Unexpected(e.to_string()))?;
        self.body = Body::from(bytes);
        Ok(self.header(header::CONTENT_TYPE, "application/json"))
    }

    /// Bytes as they come.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self.streamed = true;
        self
    }

    /// An answer that takes as long as the work does, as long as the daemon lives.
    pub fn patient(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// What is asked for, with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub async fn send(self) -> Result<Response> {
        let mut request = axum::http::Request::builder()
            .method(self.method)
            .uri(&self.path)
            .body(self.body)
            .map_err(|e| ClientError::Unexpected(format!("{:?} is not an address: {e}", self.path)))?;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("lattice"));
        let timeout = self.client.timeout.filter(|_| !self.streamed);
        let alive = self.client.alive();
        let answer = match &self.client.transport {
            Transport::InProcess { router, .. } => {
                let Ok(answer) = router.clone().oneshot(request).await;
                answer
            }
            Transport::Socket(path) => {
                let sent = over_socket(path, request);
                match timeout {
                    None => during(alive.as_ref(), sent).await??,
                    Some(limit) => tokio::time::timeout(limit, sent)
                        .await
                        .map_err(|_| ClientError::TimedOut { seconds: limit.as_secs() })??,
                }
            }
        };
        let response = Response {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.into_body(),
            alive,
        };
        response.success().await
    }
}

/// A connection of its own for each request: they cost microseconds, and none outlives a restart of the daemon.
pub(super) async fn over_socket(
    path: &std::path::Path,
    request: axum::http::Request<Body>,
) -> Result<axum::http::Response<Body>> {
    let unreachable = |source| ClientError::Unreachable { socket: path.into(), source };
    let stream = socket::connect(path).await.map_err(unreachable)?;
    let broke_off = |e: hyper::Error| ClientError::BrokeOff(e.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!("the connection to the daemon ended: {e}");
        }
    });
    let answer = sender.send_request(request).await.map_err(broke_off)?;
    Ok(answer.map(Body::new))
}

/// A success, its body yet to be read.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Body,
    alive: Option<Alive>,
}

impl Response {
    async fn success(self) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status;
        let bytes = match self.bytes().await {
            Err(e @ ClientError::TimedOut { .. }) => return Err(e),
            bytes => bytes.unwrap_or_default(),
        };
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(ClientError::Unexpected(format!("HTTP {status}"))),
        }
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's size, where it was told.
    pub fn size(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Unexpected(e.to_string()))
    }

    pub async fn bytes(self) -> Result<Bytes> {
        let collected = during(self.alive.as_ref(), self.body.collect()).await?;
        let body = collected.map_err(|e| ClientError::BrokeOff(e.to_string()))?;
        Ok(body.to_bytes())
    }

    /// The next run of bytes; `None` at the body's end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match during(self.alive.as_ref(), self.body.frame()).await? {
                None => return Ok(None),
                Some(Err(e)) => return Err(ClientError::BrokeOff(e.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }

    pub fn lines(self) -> Lines {
        Lines::new(self)
    }
}
