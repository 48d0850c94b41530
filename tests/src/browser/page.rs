//! A tab: what its user does and sees.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::wire::Wire;
use crate::fixture::until;

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// What makes `globalThis.test` on every page.
const FINDER: &str = include_str!("page.js");

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

#[derive(Debug)]
pub struct Page {
    wire: Arc<Mutex<Wire>>,
    session: String,
}

impl Page {
    pub(super) fn new(wire: Arc<Mutex<Wire>>, session: String) -> Result<Self> {
        let page = Self { wire, session };
        for domain in ["Page", "Runtime", "Log", "DOM"] {
            page.call(&format!("{domain}.enable"), &json!({}))?;
        }
        page.call("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": FINDER }))?;
        page.looks(1280, Scheme::Light)?;
        Ok(page)
    }

    /// One method of the protocol, for what has no method here.
    ///
    /// # Errors
    /// What the browser said.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value> {
        self.wire.lock().call(Some(&self.session), method, params)
    }

    /// The window's width in pixels, and the colours that its user prefers.
    ///
    /// # Errors
    /// What the browser said.
    pub fn looks(&self, width: u32, scheme: Scheme) -> Result<()> {
        let screen = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &screen)?;
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }))?;
        Ok(())
    }

    /// Types an address and waits until its document is there.
    ///
    /// # Errors
    /// Nothing answers there.
    pub fn open(&self, url: &str) -> Result<()> {
        let went = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(why) = went.get("errorText") {
            bail!("{url}: {why}");
        }
        self.wait("the document", "document.readyState === 'complete'")?;
        Ok(())
    }

    /// What an expression comes to; promises are waited for.
    ///
    /// # Errors
    /// What it threw.
    pub fn eval(&self, js: &str) -> Result<Value> {
        let params =
            json!({ "expression": js, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let done = self.call("Runtime.evaluate", &params)?;
        if let Some(thrown) = done.get("exceptionDetails") {
            bail!("{js}: {}", thrown["exception"]["description"].as_str().unwrap_or("it threw"));
        }
        Ok(done["result"]["value"].clone())
    }

    /// Waits until an expression is true; gives what it came to.
    ///
    /// # Errors
    /// It wasn't in time; with what the page showed.
    pub fn wait(&self, what: &str, js: &str) -> Result<Value> {
        let truth = format!("(() => {{ try {{ return {js} }} catch {{ return null }} }})()");
        let found = until(what, PATIENCE, || {
            // While the page changes there is nothing to ask.
            let value = self.eval(&truth).unwrap_or(Value::Null);
            Ok((!matches!(value, Value::Null | Value::Bool(false))).then_some(value))
        });
        found.with_context(|| format!("the page showed: {}", self.text().unwrap_or_default()))
    }

    /// What can be read on the page, or in the dialog in front of it.
    ///
    /// # Errors
    /// What the browser said.
    pub fn text(&self) -> Result<String> {
        Ok(self.eval("test.text()")?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows this text.
    ///
    /// # Errors
    /// It doesn't.
    pub fn shows(&self, text: &str) -> Result<()> {
        self.wait(text, &format!("test.text().includes({})", quoted(text)))?;
        Ok(())
    }

    /// Clicks on what has this name, by the mouse.
    ///
    /// # Errors
    /// Nothing has, or something lies above it.
    pub fn click(&self, selector: &str, name: &str) -> Result<()> {
        let find = format!("test.point({}, {})", quoted(selector), quoted(name));
        let at = self.wait(&format!("{selector} {name:?} to click on"), &find)?;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event =
                json!({ "type": kind, "x": at["x"], "y": at["y"], "button": button, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Puts this text into the field of this name, in place of what is there.
    ///
    /// # Errors
    /// There is none.
    pub fn fill(&self, selector: &str, name: &str, text: &str) -> Result<()> {
        self.click(selector, name)?;
        self.wait("the field's focus", "(document.activeElement.select(), true)")?;
        self.enter(text)
    }

    /// Presses a key: `Tab`, `Enter`, `Escape`, `Space`; `Shift+Tab`.
    ///
    /// # Errors
    /// What the browser said.
    pub fn press(&self, name: &str) -> Result<()> {
        let (modifiers, key) = name.strip_prefix("Shift+").map_or((0, name), |key| (8, key));
        let (key, code, text) = match key {
            "Tab" => ("Tab", 9, None),
            "Enter" => ("Enter", 13, Some("\r")),
            "Escape" => ("Escape", 27, None),
            "Space" => (" ", 32, Some(" ")),
            other => bail!("no key {other:?}"),
        };
        let mut event =
            json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers });
        if let Some(text) = text {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", &event)?;
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", &event)?;
        Ok(())
    }

    /// Types where the focus is.
    ///
    /// # Errors
    /// What the browser said.
    pub fn enter(&self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({ "text": text }))?;
        Ok(())
    }

    /// What went wrong on the page since this was asked last: exceptions, what the console says is an error, what the
    /// policy refused, and dialogs, which a script in a name or in a file would have opened.
    pub fn complaints(&self) -> Vec<String> {
        let events = self.wire.lock().take_events(&self.session);
        events.iter().filter_map(complaint).collect()
    }
}

fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(format!("exception: {}", params["exceptionDetails"])),
        "Page.javascriptDialogOpening" => Some(format!("dialog: {}", params["message"])),
        "Runtime.consoleAPICalled" if params["type"] == "error" => {
            Some(format!("console: {}", params["args"]))
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            Some(format!("{}: {}", params["entry"]["text"], params["entry"]["url"]))
        }
        _ => None,
    }
}

/// A text as JavaScript.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
