//! `lattice diff`: what differs between two versions of a key.

use std::ffi::OsString;
use std::io::{self, Write};

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use similar::TextDiff;

use super::context::Context;
use super::error::{Error, Result};
use super::output::{bytes, short};
use super::target::Target;
use crate::client::Client;
use crate::http::key_text::KeyText;
use crate::http::model::{History, VersionDoc};

/// Texts up to this size are compared line by line.
const MAX_TEXT: u64 = 32 << 20;

/// Show what differs between two versions of a key.
///
/// Without versions: the current one and the one before it, or the first two that are in conflict. With one: that and the
/// current one.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// Ids of versions, or unique prefixes: see `lattice history`.
    #[arg(num_args = 0..=2)]
    versions: Vec<String>,
    /// Lines around a difference.
    #[arg(short = 'U', long, default_value_t = 3)]
    context: usize,
}

/// What `--json` prints: `key`, and `key_base64` where that isn't UTF-8; `from` and `to` are the entries' ids, null where the
/// key wasn't there yet; `diff` is null where the bytes are equal or no text.
#[derive(Debug, Serialize)]
struct DiffDoc<'a> {
    #[serde(flatten)]
    key: &'a KeyText,
    from: Option<String>,
    to: Option<String>,
    equal: bool,
    binary: bool,
    from_size: u64,
    to_size: u64,
    diff: Option<String>,
}

pub async fn run(ctx: &Context, args: DiffArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let client = ctx.client().await?;
    let history: History = client.get(target.route("history")).send().await?.json().await?;
    let (from, to) = choose(&history.versions, &args.versions)?;
    let (old, new) =
        (Side::load(&client, &target, from).await?, Side::load(&client, &target, Some(to)).await?);
    let equal = old.bytes == new.bytes && old.too_large == new.too_large && !old.too_large;
    let text = (!equal).then(|| old.text().zip(new.text())).flatten();
    if ctx.out.json {
        return ctx.out.doc(&DiffDoc {
            key: &history.key,
            equal,
            binary: !equal && text.is_none(),
            from_size: old.size,
            to_size: new.size,
            diff: text.map(|(a, b)| unified(a, b, &old.name, &new.name, args.context)),
            from: old.id,
            to: new.id,
        });
    }
    match (equal, text) {
        (true, _) => {
            ctx.out.note("no difference");
            Ok(())
        }
        (false, Some((a, b))) => {
            Ok(io::stdout().lock().write_all(unified(a, b, &old.name, &new.name, args.context).as_bytes())?)
        }
        (false, None) => ctx.out.line(format!(
            "{} and {} differ: binary or over {} ({} and {})",
            old.name,
            new.name,
            bytes(MAX_TEXT),
            bytes(old.size),
            bytes(new.size)
        )),
    }
}

fn unified(a: &str, b: &str, from: &str, to: &str, context: usize) -> String {
    TextDiff::from_lines(a, b).unified_diff().context_radius(context).header(from, to).to_string()
}

/// The older and the newer side; no older one: the key was made then.
fn choose<'a>(
    versions: &'a [VersionDoc],
    ids: &[String],
) -> Result<(Option<&'a VersionDoc>, &'a VersionDoc)> {
    let current = versions.iter().find(|v| v.winner).or(versions.first());
    let current = current.ok_or_else(|| Error::NotFound("the key has no versions".into()))?;
    let find = |id: &String| {
        let mut found = versions.iter().filter(|v| v.entry.starts_with(&id.to_ascii_lowercase()));
        match (found.next(), found.next()) {
            (Some(v), None) => Ok(v),
            (None, _) => {
                Err(Error::NotFound(format!("no version {id}: `lattice history` shows what there is")))
            }
            (Some(_), Some(_)) => {
                Err(Error::Usage(format!("{id} names more than one version: give more digits")))
            }
        }
    };
    match ids {
        [] => {
            let rival = versions.iter().find(|v| v.head && v.kind != "deleted" && v.entry != current.entry);
            let parent = || versions.iter().find(|v| current.parents.contains(&v.entry));
            Ok((rival.or_else(parent), current))
        }
        [from] => Ok((Some(find(from)?), current)),
        [from, to, ..] => Ok((Some(find(from)?), find(to)?)),
    }
}

/// One side of a comparison.
struct Side {
    id: Option<String>,
    name: String,
    size: u64,
    too_large: bool,
    bytes: Bytes,
}

impl Side {
    async fn load(client: &Client, target: &Target, version: Option<&VersionDoc>) -> Result<Self> {
        let Some(v) = version.filter(|v| v.kind != "deleted") else {
            let id = version.map(|v| v.entry.clone());
            return Ok(Self { id, name: "/dev/null".into(), size: 0, too_large: false, bytes: Bytes::new() });
        };
        let name = format!("{} {} {}", target.name(), short(&v.entry), v.time);
        let too_large = v.size > MAX_TEXT;
        let bytes = if too_large {
            Bytes::new()
        } else {
            client.get(target.route("keys")).query("version", &v.entry).send().await?.bytes().await?
        };
        Ok(Self { id: Some(v.entry.clone()), name, size: v.size, too_large, bytes })
    }

    fn text(&self) -> Option<&str> {
        if self.too_large || self.bytes.contains(&0) { None } else { std::str::from_utf8(&self.bytes).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, head: bool, winner: bool, parents: &[&str]) -> VersionDoc {
        VersionDoc {
            entry: id.into(),
            author: String::new(),
            hlc: String::new(),
            time: String::new(),
            kind: "file".into(),
            size: 0,
            parents: parents.iter().map(|p| (*p).to_owned()).collect(),
            head,
            winner,
        }
    }

    #[test]
    fn two_versions_in_conflict_are_compared_before_a_version_and_its_parent() {
        let plain = [version("bb", true, true, &["aa"]), version("aa", false, false, &[])];
        let (from, to) = choose(&plain, &[]).expect("two");
        assert_eq!((from.map(|v| v.entry.as_str()), to.entry.as_str()), (Some("aa"), "bb"));
        let split = [
            version("cc", true, true, &["aa"]),
            version("bb", true, false, &["aa"]),
            version("aa", false, false, &[]),
        ];
        let (from, to) = choose(&split, &[]).expect("two");
        assert_eq!((from.map(|v| v.entry.as_str()), to.entry.as_str()), (Some("bb"), "cc"));
        assert!(matches!(choose(&split, &["dd".into()]), Err(Error::NotFound(_))));
    }
}
