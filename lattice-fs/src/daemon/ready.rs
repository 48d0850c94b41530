//! What a daemon says when it is ready, or why it never will be: one line of JSON to the process that started it.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::http::model::MountDoc;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// `mount`: what was asked to be mounted, if anything was.
    Ready {
        mount: Option<MountDoc>,
        pid: u32,
        /// Where it serves HTTP.
        http: Option<String>,
    },
    Failed {
        message: String,
        code: u8,
    },
}

/// Whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// The process that reads our stdout.
    Parent,
    /// A person at the terminal.
    Terminal,
}

impl Ready {
    /// Once. A parent reads the line and then the end of the pipe; what comes after on stdout goes nowhere.
    pub fn tell(self, report: &Report) {
        match (self, report) {
            (Self::Parent, report) => {
                if let Err(e) = tell_parent(report) {
                    tracing::warn!("the starting process can't be told: {e}");
                }
            }
            (Self::Terminal, Report::Ready { mount, http, .. }) => {
                let text = match mount {
                    Some(mount) => format!("mounted {} on {}; Ctrl-C unmounts", mount.source, mount.dir),
                    None => "ready; Ctrl-C stops".into(),
                };
                // A closed stderr is no reason not to serve.
                let _ = writeln!(std::io::stderr(), "{text}");
                if let Some(url) = http {
                    let _ = writeln!(std::io::stderr(), "HTTP at {url}");
                }
            }
            (Self::Terminal, Report::Failed { .. }) => {}
        }
    }
}

fn tell_parent(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}
