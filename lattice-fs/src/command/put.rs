//! `lattice put`: gives a key a value.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use axum::body::Body;
use axum::http::header;
use clap::Args;

use super::bundle::{open, upload};
use super::context::Context;
use super::error::{Error, Result};
use super::output::short;
use super::progress;
use super::target::Target;
use crate::client::{Client, ClientError};
use crate::http::model::{ConflictDoc, History, Written};
use crate::http::problem::{Code, Problem};

/// Hex digits of a tag, and the fewest that can stand for it: with less, chance would do.
const TAG: usize = 64;
const MIN_TAG: usize = 4;

/// Give a key a value.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// The value itself; - is stdin, @FILE a file's bytes.
    value: OsString,
    /// Only if this is still what the key holds: its version's id or a unique prefix, as `log` and `history` print it, or the
    /// `etag` in `lattice --json conflicts` where it is in conflict.
    #[arg(long, value_name = "ID", value_parser = tag, conflicts_with = "if_absent")]
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
        request = request.header(header::IF_MATCH, &whole(&client, &target, tag).await?);
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

/// What `--if-match` takes: hex digits, or `*` for whatever there is.
pub fn tag(text: &str) -> std::result::Result<String, String> {
    let bare = text.trim().trim_matches('"').to_ascii_lowercase();
    let hex = bare.bytes().all(|b| b.is_ascii_hexdigit()) && (MIN_TAG..=TAG).contains(&bare.len());
    if hex || bare == "*" {
        return Ok(bare);
    }
    Err(format!(
        "it takes the id of a version, or its first {MIN_TAG} digits or more: `lattice history` shows them"
    ))
}

/// A tag as the header wants it, all of it: the one among the key's that begins so.
///
/// # Errors
/// None does, so what was expected isn't there; more than one does.
pub async fn whole(client: &Client, target: &Target, tag: &str) -> Result<String> {
    if tag == "*" || tag.len() == TAG {
        return Ok(quoted(tag));
    }
    let failed = |why: String| Problem::new(Code::Precondition, format!("{}: {why}", target.name())).into();
    let history: History = match client.get(target.route("history")).send().await {
        Ok(answer) => answer.json().await?,
        Err(ClientError::Problem(p)) if p.code == Code::NotFound => return Err(failed("no such key".into())),
        Err(e) => return Err(e.into()),
    };
    let heads: Option<ConflictDoc> = match client.get(target.route("conflicts")).send().await {
        Ok(answer) => Some(answer.json().await?),
        Err(ClientError::Problem(p)) if p.code == Code::NotFound => None,
        Err(e) => return Err(e.into()),
    };
    let now = heads.map(|h| h.etag.trim_matches('"').to_owned()).unwrap_or_default();
    let mut known: Vec<&str> =
        history.versions.iter().map(|v| v.entry.as_str()).chain([now.as_str()]).collect();
    known.retain(|id| id.starts_with(tag));
    known.sort_unstable();
    known.dedup();
    match known[..] {
        [one] => Ok(quoted(one)),
        [] => Err(failed(format!("it has changed: it holds {}, not {tag}; read it again", short(&now)))),
        _ => Err(Error::Usage(format!(
            "{tag} names more than one version of {}: give more digits",
            target.name()
        ))),
    }
}

/// A tag as a header wants it.
fn quoted(tag: &str) -> String {
    if tag == "*" { tag.into() } else { format!("\"{tag}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_hex_digits_and_enough_of_them() {
        let whole = "Ab12".repeat(16);
        for good in ["abcd", "*", "0123ABCD", "\"abcd\"", &whole] {
            assert!(tag(good).is_ok(), "{good}");
        }
        for bad in ["", "abc", "rubbish", "abcd,ef01", "W/abcd", &format!("{whole}0")] {
            assert!(tag(bad).is_err(), "{bad}");
        }
    }
}
