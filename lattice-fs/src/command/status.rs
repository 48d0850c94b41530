//! `lattice status`: the node, its mounts and its stores; with `--watch` again and again.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::error::Result;
use super::output::{Line, Paint, Table, bytes, count, short};
use super::peer;
use super::target::{Target, store_route};
use crate::http::model::{OpenDoc, StatusDoc, StoreStatusDoc};

/// Show this node, its mounts and its stores.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One store only.
    store: Option<OsString>,
    /// Again and again, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2.0, requires = "watch")]
    interval: f64,
}

pub async fn run(ctx: &Context, args: StatusArgs) -> Result<()> {
    let store = args.store.as_deref().map(Target::store).transpose()?;
    let pause = Duration::from_secs_f64(args.interval.clamp(0.1, 3600.0));
    loop {
        match &store {
            None => node(ctx, args.watch).await?,
            Some(store) => one(ctx, store, args.watch).await?,
        }
        if !args.watch {
            return Ok(());
        }
        // Another command may want the data directory meanwhile.
        ctx.release().await?;
        tokio::time::sleep(pause).await;
    }
}

async fn node(ctx: &Context, again: bool) -> Result<()> {
    let doc: StatusDoc = ctx.client().await?.get("/status").send().await?.json().await?;
    if ctx.out.json {
        return if again { ctx.out.doc(&Line { r#type: "status", doc: &doc }) } else { ctx.out.doc(&doc) };
    }
    clear(ctx, again)?;
    let daemon = match doc.daemon_pid {
        Some(pid) => format!("daemon {pid}"),
        None => ctx.out.paint(Paint::Dim, "no daemon"),
    };
    ctx.out.line(format!(
        "node {}{}  lattice {}  {daemon}  {}",
        doc.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default(),
        short(&doc.node),
        doc.version,
        doc.data_dir
    ))?;
    for m in &doc.mounts {
        let passthrough = if m.passthrough { "  passthrough" } else { "" };
        ctx.out.line(format!("mount {}  {}{passthrough}", m.source, m.dir))?;
    }
    if let Some(why) = &doc.network {
        ctx.out.line(ctx.out.paint(Paint::Warn, &format!("no network: {why}")))?;
    }
    peer::tell_revoked(ctx, doc.revoked.as_deref())?;
    if doc.peers.len() > 1 {
        ctx.out.table(&peer::table(&doc.peers))?;
    }
    if doc.stores.is_empty() {
        ctx.out.note("no stores: `lattice store create NAME` makes one");
        return Ok(());
    }
    let mut table = Table::new(["STORE", "ID", ">KEYS", ">ENTRIES", ">CONFLICTS", ">SIZE", "STATE"]);
    for s in &doc.stores {
        let number = |f: fn(&OpenDoc) -> u64| s.open.as_ref().map_or("-".into(), |o| f(o).to_string());
        table.row([
            s.store.name.clone(),
            short(&s.store.id).into(),
            number(|o| o.live_keys),
            number(|o| o.entries),
            number(|o| o.conflicts),
            s.open.as_ref().map_or("-".into(), |o| bytes(o.log_bytes + o.pack_bytes + o.state_bytes)),
            match state(s).as_str() {
                "ok" if doc.revoked.is_some() => "not shared: this node was revoked".into(),
                state => state.into(),
            },
        ]);
    }
    ctx.out.table(&table)
}

/// In a word, what is wrong with a store, if anything.
fn state(s: &StoreStatusDoc) -> String {
    match (&s.store, &s.open) {
        (store, _) if store.broken.is_some() => {
            format!("broken: {}", store.broken.as_deref().unwrap_or_default())
        }
        (_, Some(open)) => match (&open.read_only, &open.stalled) {
            (Some(why), _) => format!("read-only: {why}"),
            (_, Some(why)) => format!("stalled: {why}"),
            _ if !open.forked.is_empty() => forked(&open.forked),
            _ => "ok".into(),
        },
        (_, None) => "closed".into(),
    }
}

/// What is written by one of the two doesn't come here: each reader keeps the one that it had first.
fn forked(nodes: &[String]) -> String {
    let nodes: Vec<&str> = nodes.iter().map(|id| short(id)).collect();
    format!("{} writes in two places: a copied data directory or a restored backup", nodes.join(", "))
}

async fn one(ctx: &Context, store: &str, again: bool) -> Result<()> {
    let doc: StoreStatusDoc =
        ctx.client().await?.get(store_route(store, "")).query("here", "true").send().await?.json().await?;
    if ctx.out.json {
        return if again { ctx.out.doc(&Line { r#type: "status", doc: &doc }) } else { ctx.out.doc(&doc) };
    }
    clear(ctx, again)?;
    print_store(ctx, &doc)
}

/// All that is known of a store, a line each.
pub fn print_store(ctx: &Context, doc: &StoreStatusDoc) -> Result<()> {
    let row = |name: &str, value: &str| ctx.out.line(format!("{name:<11}{value}"));
    row("name", &doc.store.name)?;
    row("id", &doc.store.id)?;
    row("created", &doc.store.created)?;
    row("state", &state(doc))?;
    let Some(open) = &doc.open else { return Ok(()) };
    print_open(ctx, open)
}

pub fn print_open(ctx: &Context, open: &OpenDoc) -> Result<()> {
    let row = |name: &str, value: String| ctx.out.line(format!("{name:<11}{value}"));
    row("keys", open.live_keys.to_string())?;
    row("entries", format!("{} by {}", open.entries, count(open.authors, "authors")))?;
    row("conflicts", open.conflicts.to_string())?;
    row("log", bytes(open.log_bytes))?;
    row("packs", bytes(open.pack_bytes))?;
    row("index", bytes(open.state_bytes))?;
    row("unsigned", open.unsigned.to_string())?;
    row("unapplied", bytes(open.unapplied_bytes))?;
    row("staged", open.staged.to_string())?;
    row("policy", policy_line(open))?;
    row("cursor", open.cursor.clone())
}

/// What is fetched unasked, and how much is here.
pub fn policy_line(open: &OpenDoc) -> String {
    let pins = match open.pins.len() {
        0 => String::new(),
        1 => ", 1 pin".into(),
        n => format!(", {n} pins"),
    };
    let here = open.here.map_or_else(String::new, |h| {
        format!("; {} of {} here, {} of {} files whole", bytes(h.here), bytes(h.bytes), h.whole, h.files)
    });
    format!("{}{pins}{here}", open.policy)
}

/// A fresh screen for each look, on a terminal.
fn clear(ctx: &Context, again: bool) -> Result<()> {
    use std::io::IsTerminal;
    if again && std::io::stdout().is_terminal() { ctx.out.raw(b"\x1b[H\x1b[2J") } else { Ok(()) }
}
