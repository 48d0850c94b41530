//! Debian's Chromium without a window, driven as a person would: by looking for a name, moving the mouse there and pressing
//! keys. It speaks the DevTools protocol over a pair of named pipes, so nothing listens anywhere, and resolves no name but
//! those that a test gives it. Refuses to wait for anything without a deadline.

mod page;
mod wire;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::fixture::{Scratch, wait_for_exit};
pub use page::{Page, Scheme};
use wire::Wire;

/// Debian's name of it.
pub const PROGRAM: &str = "chromium";

/// How long the browser may take to end.
const END: Duration = Duration::from_secs(10);

/// What keeps it from the network and from asking its user things.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--lang=en",
    "--remote-debugging-pipe",
];

/// A running browser; it ends with this.
#[derive(Debug)]
pub struct Browser {
    wire: Arc<Mutex<Wire>>,
    child: Child,
    // Last: its profile is removed when it has ended.
    _scratch: Scratch,
}

impl Browser {
    /// Starts it. Names resolve as `names` says (`evil.example` to `127.0.0.1`), and no others.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(names: &[(&str, &str)]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let (input, output) = (scratch.join("in"), scratch.join("out"));
        for pipe in [&input, &output] {
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        }
        let mut rules: Vec<String> = names.iter().map(|(name, at)| format!("MAP {name} {at}")).collect();
        rules.push("MAP * ~NOTFOUND".into());
        rules.push("EXCLUDE 127.0.0.1".into());
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<\"$BROWSER_IN\" 4>\"$BROWSER_OUT\"")
            .arg(PROGRAM)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", scratch.join("profile").display()))
            .arg(format!("--host-resolver-rules={}", rules.join(", ")))
            .arg("about:blank")
            .env("BROWSER_IN", &input)
            .env("BROWSER_OUT", &output)
            .env("HOME", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("the browser can't be started")?;
        let wire = Arc::new(Mutex::new(Wire::open(&input, output)?));
        Ok(Self { wire, child, _scratch: scratch })
    }

    /// A new tab. `isolated`: with cookies of its own.
    ///
    /// # Errors
    /// What the browser said.
    pub fn page(&self, isolated: bool) -> Result<Page> {
        let mut wanted = json!({ "url": "about:blank" });
        if isolated {
            let context = self.wire.lock().call(None, "Target.createBrowserContext", &json!({}))?;
            wanted["browserContextId"] = context["browserContextId"].clone();
        }
        self.made(&wanted)
    }

    /// A new window. Of tabs only the last one can be seen; windows all can.
    ///
    /// # Errors
    /// What the browser said.
    pub fn window(&self) -> Result<Page> {
        self.made(&json!({ "url": "about:blank", "newWindow": true }))
    }

    fn made(&self, wanted: &Value) -> Result<Page> {
        let mut wire = self.wire.lock();
        let target = wire.call(None, "Target.createTarget", wanted)?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = wire.call(None, "Target.attachToTarget", &attach)?;
        let session = session["sessionId"].as_str().context("a session has an id")?.to_owned();
        drop(wire);
        Page::new(self.wire.clone(), session)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself in the meantime.
            let _gone = kill_process_group(pid, Signal::KILL);
        }
        // Whether it could be waited for or not, there is nothing more to do about it.
        let _ended = wait_for_exit(&mut self.child, END);
    }
}
