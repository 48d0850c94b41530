//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::paced::{PacedBody, PacedStream};
use super::{Limits, Serving};
use crate::http::Front;
use crate::http::problem::{Code, Problem};

/// A handshake may take so long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// And so long may take who is only told that there are too many.
const TURN_AWAY: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of what was asked for; a key of 4096 bytes, percent-encoded, is three times that.
const MAX_URI: usize = 16 * 1024;

pub async fn serve(serving: &Serving, stream: TcpStream, from: SocketAddr) {
    let answer = |request| answer(&serving.front, &serving.limits, from, request);
    begin(serving, stream, answer).await;
}

/// Says that there are too many, and closes.
pub async fn turn_away(serving: &Serving, stream: TcpStream, from: SocketAddr) {
    tracing::debug!(%from, "turned away: too many connections");
    let answer = async |_: Request<Incoming>| {
        let detail = "there are too many connections: try again later";
        let mut response = Problem::new(Code::Busy, detail).into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(response)
    };
    // Long enough to be asked and to answer; others wait for its place.
    if tokio::time::timeout(TURN_AWAY, begin(serving, stream, answer)).await.is_err() {
        tracing::debug!(%from, "cut off");
    }
}

async fn begin<F>(serving: &Serving, stream: TcpStream, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let Some(tls) = &serving.tls else { return speak(serving, stream, answer).await };
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls.now()).accept(stream)).await {
        Ok(Ok(stream)) => speak(serving, stream, answer).await,
        Ok(Err(e)) => tracing::debug!("a handshake failed: {e}"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

async fn speak<F>(
    serving: &Serving,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let stream = TokioIo::new(PacedStream::new(stream, serving.limits.idle));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.limits.header)
        .max_buf_size(MAX_HEAD)
        .serve_connection(stream, hyper::service::service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = serving.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!("a connection ended: {e}");
    }
}

async fn answer(
    front: &Front,
    limits: &Limits,
    from: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Err(problem) = fits(&request, limits) {
        return Ok(problem.into_response());
    }
    let paced = |body| Body::new(PacedBody::new(body, limits.body, limits.idle));
    Ok(front.answer(request, from, paced).await)
}

/// Refuses what is known to be too much before a byte of it is read.
fn fits(request: &Request<Incoming>, limits: &Limits) -> Result<(), Problem> {
    let uri = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if uri > MAX_URI {
        let detail = format!("the request line has {uri} bytes, and {MAX_URI} are read");
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    let size = request.body().size_hint().lower();
    if size > limits.body {
        let detail = format!("the body has {size} bytes, and a request may have {}", limits.body);
        return Err(Problem::new(Code::TooLarge, detail));
    }
    Ok(())
}
