//! Starting a daemon in the background: this program again, in a session of its own, its stdout a pipe on which it says
//! when it is ready, its stderr the log file. No fork, so no thread is lost in one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ready::Report;
use super::{DaemonError, Result};
use crate::http::model::MountDoc;
use crate::paths::{Paths, make_private_dir};

/// A log larger than this is set aside at a start; one older one is kept.
const MAX_LOG: u64 = 8 << 20;
/// How much of a log is shown when a daemon dies without a word.
const TAIL: u64 = 2000;

/// What a daemon that was started has said.
#[derive(Debug)]
pub struct Started {
    /// What it mounted, if it was to mount something.
    pub mount: Option<MountDoc>,
    pub pid: u32,
    /// Where it serves HTTP.
    pub http: Option<String>,
}

/// Starts `lattice` with these arguments and returns when it is ready.
pub fn start(paths: &Paths, args: &[std::ffi::OsString]) -> Result<Started> {
    let log = open_log(paths).map_err(|source| DaemonError::Io {
        what: "cannot write the log",
        path: paths.log.clone(),
        source,
    })?;
    let from = log.metadata().map_or(0, |m| m.len());
    let exe = std::env::current_exe().map_err(DaemonError::Spawn)?;
    let mut command = Command::new(exe);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    if let Some(home) = &paths.home {
        command.env("LATTICE_HOME", home);
    }
    let mut child = command.spawn().map_err(DaemonError::Spawn)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(DaemonError::Spawn)?;
    }
    match serde_json::from_str(&line) {
        Ok(Report::Ready { mount, pid, http }) => Ok(Started { mount, pid, http }),
        Ok(Report::Failed { message, code }) => {
            // It has said its last word; its end is not far.
            let _ = child.wait();
            Err(DaemonError::Relayed { message, code })
        }
        Err(_) => {
            let _ = child.wait();
            Err(DaemonError::Died { log: paths.log.clone(), tail: tail(&paths.log, from) })
        }
    }
}

/// Leaves the terminal's session: its end doesn't end us.
pub fn detach() {
    if let Err(e) = rustix::process::setsid() {
        // The leader of a group already: a terminal that closes still sends it nothing but SIGHUP, which stops it cleanly.
        tracing::debug!("no session of its own: {e}");
    }
}

/// The log, or nowhere at all on a read-only file system.
fn open_log(paths: &Paths) -> io::Result<File> {
    match make_private_dir(&paths.state).and_then(|()| open_writable_log(&paths.log)) {
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            File::options().append(true).open("/dev/null")
        }
        opened => opened,
    }
}

fn open_writable_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// What the log says since `from`, at most its last lines.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        let start = from.max(len.saturating_sub(TAIL));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    match read() {
        Ok(text) if text.is_empty() => "(nothing)".into(),
        Ok(text) => text,
        Err(e) => format!("(it can't be read: {e})"),
    }
}
