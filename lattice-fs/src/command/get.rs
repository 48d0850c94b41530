//! `lattice get`: a key's bytes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::bundle::{Download, download, to_file};
use super::context::Context;
use super::error::{Error, Result};
use super::progress;
use super::target::Target;

/// Write a key's bytes to stdout or to a file.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// To this file instead of stdout; it appears when it is whole. - is stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// An earlier version, or a losing one: its id or a unique prefix.
    #[arg(long, value_name = "ID")]
    version: Option<String>,
}

pub async fn run(ctx: &Context, args: GetArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let client = ctx.client().await?;
    let request = client.get(target.route("keys")).query_opt("version", args.version.as_deref());
    let path = request.path().to_owned();
    let answer = Download::with_rest(request.send().await?, &client, path);
    let what = |e| match e {
        Error::Failed(detail) => Error::Failed(format!("{}: {detail}", target.name())),
        other => other,
    };
    let done = match args.output.filter(|file| file.as_os_str() != "-") {
        Some(file) => to_file(answer, &file, "get").await,
        None => {
            // A bar would mix with what is shown.
            let hidden = indicatif::ProgressBar::hidden();
            let bar = if ctx.out.to_terminal() { hidden } else { progress::bytes(answer.size(), "get") };
            download(answer, &mut std::io::stdout().lock(), &bar).await
        }
    };
    done.map(|_| ()).map_err(what)
}
