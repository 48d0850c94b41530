//! Directories, space, descriptors, the socket.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Finding, fail, ok, warn};
use crate::client::{Client, ClientError};
use crate::command::context::Context;
use crate::command::output::bytes;
use crate::config::Config;
use crate::http::model::StatusDoc;
use crate::paths::Paths;

/// Free space under which a store soon can't be written; under which that is near.
const LITTLE: u64 = 1 << 30;
const NOTHING: u64 = 64 << 20;
/// Descriptors that a daemon with many open files can need.
const DESCRIPTORS: u64 = 4096;

pub fn config(paths: &Paths) -> Finding {
    let file = paths.config_file.display();
    match Config::load(&paths.config_file) {
        Ok(_) if !paths.config_file.exists() => ok("config", format!("no {file}: the defaults hold")),
        Ok(_) => ok("config", file.to_string()),
        Err(e) => fail("config", e.to_string(), "the README has all keys, under Settings"),
    }
}

pub fn directories(paths: &Paths) -> Vec<Finding> {
    let looked = [&paths.data, &paths.state, &paths.runtime].map(|dir| directory(dir));
    let mut findings: Vec<Finding> = looked.into_iter().flatten().collect();
    if !paths.data.exists() {
        findings.push(warn("data", format!("{} doesn't exist", paths.data.display()), "run `lattice init`"));
    }
    if findings.is_empty() {
        findings.push(ok(
            "directories",
            format!("{} and the others are private and writable", paths.data.display()),
        ));
    }
    findings
}

/// What is wrong with a directory that is there.
fn directory(dir: &Path) -> Option<Finding> {
    let meta = std::fs::metadata(dir).ok()?;
    let name = dir.display();
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_dir() {
        return Some(fail("directories", format!("{name} is not a directory"), "move it away"));
    }
    if meta.uid() != us {
        let detail = format!("{name} belongs to uid {}", meta.uid());
        return Some(fail("directories", detail, format!("run as that user, or chown -R {us} {name}")));
    }
    if meta.mode() & 0o077 != 0 {
        let detail = format!("{name} has mode {:o}: others can look in", meta.mode() & 0o777);
        return Some(warn("directories", detail, format!("chmod 700 {name}")));
    }
    if rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err() {
        return Some(warn(
            "directories",
            format!("{name} can't be written: stores are opened for reading only, mounts are read-only"),
            "is its disk mounted read-only?",
        ));
    }
    None
}

/// The nearest directory above that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).into()
}

pub fn space(paths: &Paths) -> Finding {
    let dir = existing(&paths.data);
    match rustix::fs::statvfs(&dir) {
        Err(e) => warn("space", format!("{}: {e}", dir.display()), "df says more"),
        Ok(fs) => {
            let free = fs.f_bavail.saturating_mul(fs.f_frsize);
            let detail = format!("{} free for {}", bytes(free), paths.data.display());
            let inodes = fs.f_files > 0 && fs.f_favail < 1000;
            match free {
                n if n < NOTHING || inodes => fail("space", detail, "free some, or `lattice gc`"),
                n if n < LITTLE => warn("space", detail, "free some before it runs out, or `lattice gc`"),
                _ => ok("space", detail),
            }
        }
    }
}

pub fn files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum.or(limit.current) {
        Some(n) if n < DESCRIPTORS => {
            let detail = format!("at most {n} open files");
            warn(
                "descriptors",
                detail,
                format!("raise it: ulimit -Hn {DESCRIPTORS}, or LimitNOFILE= of the service"),
            )
        }
        _ => ok("descriptors", "enough open files allowed"),
    }
}

/// Whether the daemon answers, is of this version, and still has others to exchange with.
pub async fn socket(ctx: &Context) -> Vec<Finding> {
    let Some(path) = ctx.paths.sockets().into_iter().find(|path| path.exists()) else {
        return vec![ok("daemon", "none runs")];
    };
    let path = path.display();
    let answer = match Client::daemon(&ctx.paths, ctx.timeout).await {
        Ok(Some(daemon)) => match daemon.get("/status").send().await {
            Ok(answer) => answer.json::<StatusDoc>().await,
            Err(e) => Err(e),
        },
        Ok(None) => {
            return vec![warn(
                "daemon",
                format!("{path} is left from a daemon that is gone"),
                "the next `lattice mount` clears it",
            )];
        }
        Err(e) => Err(e),
    };
    let revoked = answer.as_ref().ok().and_then(|status| status.revoked.clone());
    let revoked =
        revoked.map(|why| warn("membership", why, "`lattice peer list` shows the members, and who says so"));
    let daemon = match answer {
        Ok(status) if status.version == env!("CARGO_PKG_VERSION") => {
            let with = status.mounts.iter().filter(|m| m.passthrough).count();
            let pid = status.daemon_pid.unwrap_or_default();
            ok(
                "daemon",
                format!("process {pid} answers; {with} of {} mounts have passthrough", status.mounts.len()),
            )
        }
        Ok(status) => {
            let detail =
                format!("the daemon is version {}, this is {}", status.version, env!("CARGO_PKG_VERSION"));
            warn("daemon", detail, "unmount and mount again")
        }
        Err(ClientError::TimedOut { seconds }) => fail(
            "daemon",
            format!("no answer within {seconds} s"),
            "see its log (`lattice paths`); kill it if it is stuck",
        ),
        Err(e) => fail("daemon", e.to_string(), format!("whose is {path}?")),
    };
    std::iter::once(daemon).chain(revoked).collect()
}
