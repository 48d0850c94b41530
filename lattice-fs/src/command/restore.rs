//! `lattice restore`: an earlier version becomes the current one again.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::output::short;
use super::target::{Target, store_route};
use crate::http::key_text::KeyText;
use crate::http::model::{Batch, BatchOp, History, VersionDoc, Written};

/// Make an earlier version of a key the current one. What is there now stays in its history.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// STORE:KEY, or a path inside a mount.
    key: OsString,
    /// The version's id or a unique prefix: see `lattice history`. Without it, what a deleted key held before its deletion.
    #[arg(long, value_name = "ID")]
    version: Option<String>,
}

pub async fn run(ctx: &Context, args: RestoreArgs) -> Result<()> {
    let target = Target::key(&args.key)?;
    let KeyText { key, key_base64 } = KeyText::of(&target.key);
    let client = ctx.client().await?;
    let version = match args.version {
        Some(version) => version,
        None => {
            let history: History = client.get(target.route("history")).send().await?.json().await?;
            before_deletion(&history.versions)
                .map_err(|why| Error::Usage(format!("{}: {why}", target.name())))?
        }
    };
    let batch = Batch { ops: vec![BatchOp::Restore { key, key_base64, version }] };
    let doc: Written =
        client.post(store_route(&target.store, "batch")).json(&batch)?.send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(short(&doc.entry)) }
}

/// The version that the last deletion ended; why not, where the key is there, or never held anything.
fn before_deletion(versions: &[VersionDoc]) -> std::result::Result<String, &'static str> {
    let live = |v: &&VersionDoc| v.kind != "deleted";
    let last = versions.first().ok_or("it has no versions")?;
    if versions.iter().any(|v| v.head && live(&v)) {
        return Err(
            "it is there: say which version is to come back by --version (`lattice history` shows them)",
        );
    }
    let ended = versions.iter().filter(live).find(|v| last.parents.contains(&v.entry));
    let newest = || versions.iter().find(live);
    ended.or_else(newest).map(|v| v.entry.clone()).ok_or("none of its versions is still here")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, kind: &str, head: bool, parents: &[&str]) -> VersionDoc {
        VersionDoc {
            entry: id.into(),
            author: String::new(),
            hlc: String::new(),
            time: String::new(),
            kind: kind.into(),
            size: 0,
            parents: parents.iter().map(|p| (*p).to_owned()).collect(),
            head,
            winner: head,
        }
    }

    #[test]
    fn what_a_deletion_ended_comes_back() {
        let split = [
            version("dd", "deleted", true, &["bb"]),
            version("cc", "file", false, &["aa"]),
            version("bb", "file", false, &["aa"]),
            version("aa", "file", false, &[]),
        ];
        assert_eq!(before_deletion(&split).as_deref(), Ok("bb"));
        let twice = [version("cc", "deleted", true, &["bb"]), version("bb", "deleted", false, &["aa"])];
        assert!(before_deletion(&twice).is_err());
        let once_more = [twice[0].clone(), twice[1].clone(), version("aa", "file", false, &[])];
        assert_eq!(before_deletion(&once_more).as_deref(), Ok("aa"));
        assert!(before_deletion(&[version("aa", "file", true, &[])]).is_err(), "nothing was deleted");
    }
}
