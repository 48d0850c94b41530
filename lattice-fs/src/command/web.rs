//! `lattice web`: a one-time link to the web page.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use crate::http::token_model::WebLinkDoc;

/// Print a link to the web page, good once and for five minutes: whoever opens it first is signed in.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// Open it in this machine's browser instead.
    #[arg(long)]
    open: bool,
}

pub async fn run(ctx: &Context, args: WebArgs) -> Result<()> {
    let link: WebLinkDoc = ctx.client().await?.post("/session/links").send().await?.json().await?;
    if args.open {
        let page = stepping_stone(&ctx.paths.runtime, &link.url)?;
        // What is in an argument can be read by others on this machine, so the browser is given a file of ours.
        let opened = Command::new("xdg-open").arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).status();
        return match opened {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(Error::Failed(format!("xdg-open ended with {status}: open the link of `lattice web`")))
            }
            Err(e) => {
                Err(Error::Failed(format!("xdg-open can't be run ({e}): open the link of `lattice web`")))
            }
        };
    }
    if ctx.out.json {
        return ctx.out.doc(&link);
    }
    ctx.out.line(&link.url)?;
    ctx.out.note(format!("good once, until {}", link.expires));
    Ok(())
}

/// A page that leads to the link, for this user's eyes only.
fn stepping_stone(dir: &Path, url: &str) -> Result<PathBuf> {
    let path = dir.join("open.html");
    let failed = |source| Error::File { path: path.clone(), done: "written", source };
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url={url}\">\n"
    );
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(path)
}
