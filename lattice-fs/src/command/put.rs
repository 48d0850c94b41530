//! `lattice put`: gives a key a value.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use axum::body::Body;
use axum::http::header;
use clap::Args;

use super::bundle::{open, upload};
use super::context::Context;
use super::error::Result;
use super::output::short;
use super::progress;
use super::target::Target;
use crate::http::model::Written;

/// Give a key a value.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// The value itself; - is stdin, @FILE a file's bytes.
    value: OsString,
    /// Only if this is still the key's tag, all of it: its `entry` in `lattice --json ls`, or the `etag` in
    /// `lattice --json conflicts` where it is in conflict.
    #[arg(long, value_name = "TAG", conflicts_with = "if_absent")]
    if_match: Option<String>,
    /// Only if there is no such key yet.
    #[arg(long)]
    if_absent: bool,
}

pub async fn run(ctx: &Context, args: PutArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let body = value(args.value)?;
    let client = ctx.client().await?;
    let mut request = client.put(target.route("keys")).body(body);
    if let Some(tag) = &args.if_match {
        request = request.header(header::IF_MATCH, &quoted(tag));
    }
    if args.if_absent {
        request = request.header(header::IF_NONE_MATCH, "*");
    }
    let doc: Written = request.send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(short(&doc.entry)) }
}

fn value(value: OsString) -> Result<Body> {
    match value.as_bytes() {
        b"-" => file(Path::new("-")),
        [b'@', path @ ..] => file(Path::new(std::ffi::OsStr::from_bytes(path))),
        _ => Ok(Body::from(value.into_vec())),
    }
}

fn file(path: &Path) -> Result<Body> {
    let (source, size) = open(path)?;
    Ok(upload(source, progress::bytes(size, "put")))
}

/// A tag as a header wants it.
pub fn quoted(tag: &str) -> String {
    if tag == "*" { tag.into() } else { format!("\"{}\"", tag.trim_matches('"')) }
}
