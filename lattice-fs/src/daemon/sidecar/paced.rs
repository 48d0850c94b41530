//! Streams and bodies that may not stand still: a client that has stopped to read, or to send, is cut off.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::timed_out;

/// A clock that runs while something waits.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, running: false }
    }

    /// Something has moved.
    fn rest(&mut self) {
        self.running = false;
    }

    /// Still nothing: ready once it has been so for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.running {
            timer.as_mut().reset(Instant::now() + limit);
            self.running = true;
        }
        timer.as_mut().poll(cx)
    }
}

/// A connection whose writes fail when the other side doesn't read for `limit`. Reads wait for as long as it takes: who
/// follows events has nothing to say.
#[derive(Debug)]
pub struct PacedStream<S> {
    stream: S,
    patience: Patience,
}

impl<S> PacedStream<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, patience: Patience::new(limit) }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.patience.rest();
            return done;
        }
        ready!(self.patience.wait(cx));
        Poll::Ready(Err(timed_out("the other side has stopped to read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A request's body of at most so many bytes, each run of which comes within `limit` of the one before.
#[derive(Debug)]
pub struct PacedBody {
    body: Incoming,
    left: u64,
    patience: Patience,
}

impl PacedBody {
    pub fn new(body: Incoming, most: u64, limit: Duration) -> Self {
        Self { body, left: most, patience: Patience::new(limit) }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.patience.wait(cx));
            return Poll::Ready(Some(Err(timed_out("no more bytes have come").into())));
        };
        self.patience.rest();
        if let Some(Ok(frame)) = &frame {
            let size = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            let Some(left) = self.left.checked_sub(size) else {
                let e = io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than requests may be");
                return Poll::Ready(Some(Err(e.into())));
            };
            self.left = left;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_reader_that_has_stopped_is_cut_off() {
        let (ours, theirs) = tokio::io::duplex(16);
        let mut stream = PacedStream::new(ours, LIMIT);
        let e = stream.write_all(&[0; 1000]).await.expect_err("nobody reads");
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_gets_all_of_it() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = PacedStream::new(ours, LIMIT);
        let writer = tokio::spawn(async move { stream.write_all(&[7; 400]).await });
        let mut got = [0; 16];
        let began = Instant::now();
        for _ in 0..25 {
            // Longer in all than may pass without a byte.
            sleep(LIMIT / 10).await;
            theirs.read_exact(&mut got).await.expect("more");
        }
        writer.await.expect("no panic").expect("all of it");
        assert!(got == [7; 16] && began.elapsed() > LIMIT);
    }
}
