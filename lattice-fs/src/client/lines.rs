//! Bodies that are read line by line: JSON Lines and Server-Sent Events.

use bytes::{Buf, BytesMut};

use super::{Response, Result};

/// The lines of a body.
#[derive(Debug)]
pub struct Lines {
    response: Response,
    buffer: BytesMut,
    ended: bool,
}

/// One Server-Sent Event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    pub event: String,
    pub id: String,
    pub data: String,
}

impl Lines {
    pub(super) fn new(response: Response) -> Self {
        Self { response, buffer: BytesMut::new(), ended: false }
    }

    /// The next line, without its end; `None` at the body's end.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(at);
                self.buffer.advance(1);
                return Ok(Some(text(&line)));
            }
            if self.ended {
                let rest = self.buffer.split();
                return Ok((!rest.is_empty()).then(|| text(&rest)));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }

    /// The next event; heartbeats are passed over.
    pub async fn next_event(&mut self) -> Result<Option<SseEvent>> {
        let mut event = SseEvent::default();
        while let Some(line) = self.next().await? {
            if line.is_empty() {
                if event != SseEvent::default() {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.event = value.into(),
                "id" => event.id = value.into(),
                "data" => {
                    if !event.data.is_empty() {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}
