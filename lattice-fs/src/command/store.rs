//! `lattice store`: making, listing, renaming, deleting stores, and carrying them as files.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::bundle::{self, ExportArgs, ImportArgs};
use super::context::Context;
use super::error::Result;
use super::output::{Table, safe};
use super::status::{policy_line, print_store};
use super::target::{Target, store_route};
use crate::http::model::{NameDoc, PolicyDoc, StoreDoc, StoreList, StoreStatusDoc};

/// Make, list, rename, delete, export and import stores.
#[derive(Debug, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    Create(CreateArgs),
    /// List the stores.
    List(ListArgs),
    /// Show one store.
    Show(OneArgs),
    Rename(RenameArgs),
    Policy(PolicyArgs),
    /// Delete a store. Its data stays until `lattice gc --stores`.
    Delete(OneArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// Make a store.
#[derive(Debug, Args)]
pub struct CreateArgs {
    name: String,
}

/// List the stores.
#[derive(Debug, Args)]
pub struct ListArgs {}

/// A store.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Name, UUID, a unique prefix of it, or a path in it.
    store: OsString,
}

/// Give a store another name, here and on every member.
#[derive(Debug, Args)]
pub struct RenameArgs {
    store: OsString,
    name: String,
}

/// Say which content of a store this node fetches, or show it.
///
/// A choice of this node alone. `eager`, the default, fetches the bytes of all files in the background. `on-demand` fetches
/// what somebody reads, and what is pinned (`setfattr -n user.lattice.pin -v 1 PATH` in a mount, for a file or all below a
/// directory).
#[derive(Debug, Args)]
pub struct PolicyArgs {
    store: OsString,
    #[arg(value_parser = ["eager", "on-demand"])]
    policy: Option<String>,
}

pub async fn run(ctx: &Context, args: StoreArgs) -> Result<()> {
    match args.command {
        StoreCommand::Create(args) => create(ctx, args).await,
        StoreCommand::List(args) => list(ctx, args).await,
        StoreCommand::Show(args) => show(ctx, args).await,
        StoreCommand::Rename(args) => rename(ctx, args).await,
        StoreCommand::Policy(args) => policy(ctx, args).await,
        StoreCommand::Delete(args) => delete(ctx, args).await,
        StoreCommand::Export(args) => bundle::export(ctx, args).await,
        StoreCommand::Import(args) => bundle::import(ctx, args).await,
    }
}

pub async fn create(ctx: &Context, args: CreateArgs) -> Result<()> {
    let request = NameDoc { name: args.name };
    let doc: StoreDoc = ctx.client().await?.post("/stores").json(&request)?.send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(format!("{}  {}", doc.id, doc.name)) }
}

pub async fn list(ctx: &Context, _: ListArgs) -> Result<()> {
    let doc: StoreList = ctx.client().await?.get("/stores").send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let mut table = Table::new(["NAME", "ID", "CREATED", "STATE"]);
    for s in doc.stores {
        let state = match (&s.broken, &s.read_only) {
            (Some(why), _) => format!("broken: {why}"),
            (None, Some(why)) => format!("read-only: {why}"),
            (None, None) => "ok".into(),
        };
        table.row([safe(&s.name), s.id, s.created, state]);
    }
    if table.is_empty() {
        ctx.out.note("no stores: `lattice store create NAME` makes one");
        return Ok(());
    }
    ctx.out.table(&table)
}

async fn show(ctx: &Context, args: OneArgs) -> Result<()> {
    let store = Target::store(&args.store)?;
    let doc: StoreStatusDoc =
        ctx.client().await?.get(store_route(&store, "")).query("here", "true").send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { print_store(ctx, &doc) }
}

async fn rename(ctx: &Context, args: RenameArgs) -> Result<()> {
    let store = Target::store(&args.store)?;
    let request = NameDoc { name: args.name };
    let answer = ctx.client().await?.patch(store_route(&store, "")).json(&request)?.send().await?;
    let doc: StoreDoc = answer.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(format!("{}  {}", doc.id, doc.name)) }
}

async fn policy(ctx: &Context, args: PolicyArgs) -> Result<()> {
    let store = Target::store(&args.store)?;
    let client = ctx.client().await?;
    let answer = match args.policy {
        None => client.get(store_route(&store, "")).query("here", "true").send().await?,
        Some(policy) => client.put(store_route(&store, "policy")).json(&PolicyDoc { policy })?.send().await?,
    };
    let doc: StoreStatusDoc = answer.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let Some(open) = &doc.open else { return print_store(ctx, &doc) };
    ctx.out.line(policy_line(open))?;
    open.pins.iter().try_for_each(|pin| ctx.out.line(format!("pin {}", safe(&pin.key))))
}

pub async fn delete(ctx: &Context, args: OneArgs) -> Result<()> {
    let store = Target::store(&args.store)?;
    ctx.client().await?.delete(store_route(&store, "")).send().await?;
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "deleted": store }));
    }
    ctx.out.note(format!("deleted {store}; its data stays until `lattice gc --stores`"));
    Ok(())
}
