//! `lattice ls`: which keys there are.

use std::ffi::OsString;

use clap::Args;

use super::context::Context;
use super::error::{Error, Result};
use super::output::{Paint, Table, bytes, safe};
use super::target::{Target, store_route};
use crate::client::Client;
use crate::http::model::{KeyDoc, KeyList};

/// Keys asked for at once.
const PAGE: &str = "1000";

/// List keys.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// STORE, STORE:KEY, or a path inside a mount.
    target: OsString,
    /// Kind, mode, size and time too.
    #[arg(short, long)]
    long: bool,
    /// All that is below, too.
    #[arg(short = 'R', long)]
    recursive: bool,
}

pub async fn run(ctx: &Context, args: LsArgs) -> Result<()> {
    let (target, as_dir) = Target::listed(&args.target)?;
    let client = ctx.client().await?;
    if target.key.is_empty() {
        return below(ctx, &client, &target, &args).await;
    }
    match exact(&client, &target).await? {
        Some(doc) if doc.kind == "dir" => below(ctx, &client, &target, &args).await,
        Some(_) if as_dir => Err(Error::Failed(format!("{} is not a directory", target.name()))),
        Some(doc) => print(ctx, &[doc], 0, args.long),
        None => Err(Error::NotFound(format!("{}: no such key", target.name()))),
    }
}

/// The key itself, if it is there: it stands before all that begin with it.
async fn exact(client: &Client, target: &Target) -> Result<Option<KeyDoc>> {
    let request = client.get(store_route(&target.store, "keys")).query_bytes("prefix", &target.key);
    let list: KeyList = request.query("delimiter", "/").query("limit", "1").send().await?.json().await?;
    Ok(list.keys.into_iter().next().filter(|doc| doc.key.bytes().is_some_and(|k| k == target.key)))
}

/// What is below a directory, page by page.
async fn below(ctx: &Context, client: &Client, target: &Target, args: &LsArgs) -> Result<()> {
    let mut prefix = target.key.clone();
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    let (mut all, mut cursor): (Vec<KeyDoc>, Option<String>) = (Vec::new(), None);
    loop {
        let mut request = client.get(store_route(&target.store, "keys")).query_bytes("prefix", &prefix);
        if !args.recursive {
            request = request.query("delimiter", "/");
        }
        let request = request.query("limit", PAGE).query_opt("cursor", cursor.as_deref());
        let page: KeyList = request.send().await?.json().await?;
        if ctx.out.json {
            all.extend(page.keys);
        } else {
            print(ctx, &page.keys, prefix.len(), args.long)?;
        }
        match page.cursor {
            Some(next) => cursor = Some(next),
            None if ctx.out.json => return ctx.out.doc(&KeyList { keys: all, cursor: None }),
            None => return Ok(()),
        }
    }
}

fn print(ctx: &Context, keys: &[KeyDoc], skip: usize, long: bool) -> Result<()> {
    if ctx.out.json {
        return ctx.out.doc(&KeyList { keys: keys.to_vec(), cursor: None });
    }
    if !long {
        return keys.iter().try_for_each(|k| ctx.out.line(name(ctx, k, skip)));
    }
    let mut table = Table::new(["MODE", ">SIZE", "MODIFIED", "NAME"]);
    for k in keys {
        let size = if k.kind == "file" { bytes(k.size) } else { "-".into() };
        table.row([mode(k), size, k.mtime.clone(), name(ctx, k, skip)]);
    }
    if table.is_empty() { Ok(()) } else { ctx.out.table(&table) }
}

fn name(ctx: &Context, doc: &KeyDoc, skip: usize) -> String {
    let key = doc.key.bytes().unwrap_or_default();
    let shown = safe(&String::from_utf8_lossy(key.get(skip..).unwrap_or_default()));
    let shown = if doc.kind == "dir" { format!("{shown}/") } else { shown };
    if doc.conflict == 0 {
        return shown;
    }
    format!("{shown}  {}", ctx.out.paint(Paint::Warn, &format!("({} versions in conflict)", doc.conflict)))
}

/// As `ls -l` shows it.
fn mode(doc: &KeyDoc) -> String {
    let kind = match doc.kind.as_str() {
        "dir" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "socket" => 's',
        _ => '-',
    };
    let bits = "rwxrwxrwx".chars().enumerate();
    let bits = bits.map(|(i, c)| if doc.mode >> (8 - i) & 1 == 1 { c } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}
