//! The DevTools protocol on two pipes: JSON documents with a NUL after each.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Events that are kept for whoever asks.
const KEPT: usize = 1000;

#[derive(Debug)]
pub struct Wire {
    to: File,
    from: Receiver<Value>,
    last: u64,
    events: VecDeque<Value>,
}

impl Wire {
    /// The ends of the named pipes that the browser has the other ends of.
    pub fn open(input: &Path, output: PathBuf) -> Result<Self> {
        // Reading and writing: so the open doesn't wait for the browser, which may never come.
        let to = OpenOptions::new().read(true).write(true).open(input).context("the browser's input")?;
        let (tell, from) = mpsc::channel();
        std::thread::spawn(move || {
            let Ok(file) = File::open(output) else { return };
            for document in BufReader::new(file).split(0).map_while(std::io::Result::ok) {
                let Ok(value) = serde_json::from_slice(&document) else { return };
                // Nobody listens any more: the browser has been given up.
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        Ok(Self { to, from, last: 0, events: VecDeque::new() })
    }

    /// Asks and waits for the answer; what happens meanwhile is kept.
    pub fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Result<Value> {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&request)?;
        bytes.push(0);
        self.to.write_all(&bytes).context("the browser doesn't listen")?;
        let until = Instant::now() + DEADLINE;
        loop {
            let mut answer = self.next(until).with_context(|| format!("no answer to {method}"))?;
            if answer["id"] != self.last {
                self.keep(answer);
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            }
            return Ok(answer["result"].take());
        }
    }

    /// The events of a session so far, and no more of them afterwards.
    pub fn take_events(&mut self, session: &str) -> Vec<Value> {
        while let Ok(event) = self.from.try_recv() {
            self.keep(event);
        }
        let (ours, others): (Vec<_>, Vec<_>) = self.events.drain(..).partition(|e| e["sessionId"] == session);
        self.events = others.into();
        ours
    }

    fn next(&mut self, until: Instant) -> Result<Value> {
        let left = until.saturating_duration_since(Instant::now());
        Ok(self.from.recv_timeout(left)?)
    }

    fn keep(&mut self, event: Value) {
        if event.get("method").is_none() {
            return;
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
