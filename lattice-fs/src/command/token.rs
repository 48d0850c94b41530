//! `lattice token`: access tokens for programs, scripts and devices that speak HTTP.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::Result;
use super::output::{Table, safe};
use super::target::Target;
use super::times;
use crate::http::key_text::KeyText;
use crate::http::token_model::{MadeTokenDoc, TokenDoc, TokenList, TokenRequest};

/// Make, list and revoke access tokens for HTTP.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token, and print it this once: whoever has it may do what it allows, on every node.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it is for, to be told from others in the list.
    #[arg(long, default_value = "")]
    name: String,
    /// Only this store; all without it.
    #[arg(long, value_name = "STORE")]
    store: Option<OsString>,
    /// Only this key and those below it.
    #[arg(long, default_value = "", value_name = "KEY", requires = "store")]
    prefix: OsString,
    /// ro: read; rw: write, too; admin: also stores, members and tokens.
    #[arg(long, default_value = "ro", value_parser = ["ro", "rw", "admin"])]
    scope: String,
    /// How long it lasts (90s, 30m, 24h, 7d); until it is revoked without it.
    #[arg(long, value_name = "TIME", value_parser = times::seconds)]
    expires: Option<u64>,
}

/// List the tokens, without their secrets.
#[derive(Debug, Args)]
pub struct ListArgs {}

/// End a token, on every node.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// As `lattice token list` shows it.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub async fn run(ctx: &Context, args: TokenArgs) -> Result<()> {
    match args.command {
        TokenCommand::Create(args) => create(ctx, args).await,
        TokenCommand::List(args) => list(ctx, args).await,
        TokenCommand::Revoke(args) => revoke(ctx, args).await,
    }
}

pub async fn create(ctx: &Context, args: CreateArgs) -> Result<()> {
    let prefix = KeyText::of(args.prefix.as_bytes());
    let request = TokenRequest {
        name: args.name,
        scope: args.scope,
        store: args.store.as_deref().map(Target::store).transpose()?,
        prefix: prefix.key,
        prefix_base64: prefix.key_base64,
        expires_seconds: args.expires,
    };
    let made: MadeTokenDoc = ctx.client().await?.post("/tokens").json(&request)?.send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&made);
    }
    ctx.out.line(format!("{}:{}", made.token.id, made.secret))?;
    ctx.out.note(format!("{}. It is not shown again", allows(&made.token)));
    Ok(())
}

/// In words.
fn allows(token: &TokenDoc) -> String {
    let what = match token.scope.as_str() {
        "ro" => "reads",
        "rw" => "reads and writes",
        _ => "manages",
    };
    let place = match (&token.store_name, &token.store) {
        (Some(name), _) | (None, Some(name)) if token.prefix.is_empty() => format!("store {}", safe(name)),
        (Some(name), _) | (None, Some(name)) => format!("{}:{}", safe(name), safe(&token.prefix)),
        (None, None) => "every store".into(),
    };
    let until = token.expires.as_ref().map_or("until it is revoked".into(), |at| format!("until {at}"));
    format!("{what} {place} {until}")
}

pub async fn list(ctx: &Context, _: ListArgs) -> Result<()> {
    let doc: TokenList = ctx.client().await?.get("/tokens").send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let mut table = Table::new(["ID", "NAME", "SCOPE", "STORE", "PREFIX", "STATE", "EXPIRES"]);
    for t in doc.tokens {
        let store = t.store_name.or(t.store).map_or("*".into(), |s| safe(&s));
        table.row([
            t.id,
            safe(&t.name),
            t.scope,
            store,
            safe(&t.prefix),
            t.state,
            t.expires.unwrap_or_else(|| "never".into()),
        ]);
    }
    if table.is_empty() {
        ctx.out.note("there are no tokens: `lattice token create` makes one");
        return Ok(());
    }
    ctx.out.table(&table)
}

pub async fn revoke(ctx: &Context, args: RevokeArgs) -> Result<()> {
    let client = ctx.client().await?;
    for id in &args.ids {
        client
            .delete(format!("/tokens/{}", crate::http::encode(id.as_bytes()).replace('/', "%2F")))
            .send()
            .await?;
        if !ctx.out.json {
            ctx.out.line(format!("revoked {}", safe(id)))?;
        }
    }
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "revoked": args.ids }));
    }
    Ok(())
}
