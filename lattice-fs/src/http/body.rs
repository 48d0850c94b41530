//! Bodies as blocking readers and writers, a few buffers deep: memory stays flat whatever the size, and a slow side
//! holds the other one back.

use std::io::{self, Read, Write};

use axum::body::{Body, Bytes};
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes gathered before they are handed on.
pub const BUFFER: usize = 256 * 1024;
/// Buffers under way between the two sides.
const DEPTH: usize = 4;

/// A request's body for blocking code.
#[derive(Debug)]
pub struct BodyReader {
    rx: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

/// Must be called on the runtime: a task of its own moves the body's frames over.
pub fn reader(body: Body) -> BodyReader {
    let (tx, rx) = mpsc::channel(DEPTH);
    tokio::spawn(async move {
        let mut frames = body.into_data_stream();
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(broke_off);
            if tx.send(frame).await.is_err() {
                break;
            }
        }
    });
    BodyReader { rx, current: Bytes::new() }
}

/// What ended a body, of the kind that a listener's limits have given it.
pub fn broke_off(e: axum::Error) -> io::Error {
    let source = e.into_inner();
    let kind = source.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, format!("the request's body broke off: {source}"))
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.rx.blocking_recv() {
                None => return Ok(0),
                Some(frame) => self.current = frame?,
            }
        }
        let n = buf.len().min(self.current.len());
        buf[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

/// The writing end of a response's body, for blocking code. What is dropped unfinished is cut off visibly: a reader
/// never takes half a body for a whole one.
#[derive(Debug)]
pub struct BodyWriter {
    tx: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    finished: bool,
}

pub fn writer() -> (BodyWriter, Body) {
    let (tx, rx) = mpsc::channel(DEPTH);
    let writer = BodyWriter { tx, buffer: Vec::new(), finished: false };
    (writer, Body::from_stream(ReceiverStream::new(rx)))
}

impl BodyWriter {
    /// The body ends here, whole.
    pub fn finish(mut self) -> io::Result<()> {
        self.finished = true;
        self.flush()
    }

    /// The body breaks off here.
    pub fn abort(mut self, why: impl std::fmt::Display) {
        self.finished = true;
        let _ = self.tx.blocking_send(Err(io::Error::other(why.to_string())));
    }

    /// One line of JSON, sent at once.
    pub fn line(&mut self, doc: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, doc)?;
        self.buffer.push(b'\n');
        self.flush()
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.tx.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.send(bytes.into())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A full channel means that the reader is behind; it finds the end of the channel and the missing bytes.
            let _ = self.tx.try_send(Err(io::Error::other("the response broke off")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn what_is_written_is_what_arrives() {
        let bytes: Vec<u8> = (0..3 * BUFFER + 7).map(|i| i as u8).collect();
        let (mut writer, body) = writer();
        let sent = bytes.clone();
        let sender = tokio::task::spawn_blocking(move || {
            writer.write_all(&sent).and_then(|()| writer.finish()).expect("the reader is there");
        });
        let mut source = reader(body);
        let got = tokio::task::spawn_blocking(move || {
            let mut got = Vec::new();
            source.read_to_end(&mut got).map(|_| got)
        });
        assert_eq!(got.await.expect("no panic").expect("no error"), bytes);
        sender.await.expect("no panic");
    }

    #[tokio::test]
    async fn an_unfinished_body_is_an_error_to_its_reader() {
        let (mut writer, body) = writer();
        tokio::task::spawn_blocking(move || writer.write_all(b"half").expect("buffered"))
            .await
            .expect("no panic");
        assert!(body.collect().await.is_err());
    }
}
