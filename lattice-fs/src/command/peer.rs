//! `lattice peer`: the members of the mesh, as this node sees them.

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::{Error, Result};
use super::output::{Paint, Table, count, safe, short};
use crate::http::model::NameDoc;
use crate::http::net_model::{PeerDoc, PeerList, PingDoc, PingList};

/// List, show, name, ping and revoke members.
#[derive(Debug, Args)]
pub struct PeerArgs {
    #[command(subcommand)]
    command: PeerCommand,
}

#[derive(Debug, Subcommand)]
enum PeerCommand {
    /// List the members.
    List,
    /// Show one member.
    Show(OneArgs),
    /// Give a member a name, for everybody.
    Name(NameArgs),
    /// Cut a member off for good, on every node. What it has read it keeps.
    Revoke(RevokeArgs),
    /// Measure the way to a member, or to all.
    Ping(PingArgs),
}

#[derive(Debug, Args)]
struct OneArgs {
    /// Name, id, or a unique prefix of an id.
    peer: String,
}

#[derive(Debug, Args)]
struct NameArgs {
    /// Name, id, or a unique prefix of an id.
    peer: String,
    name: String,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// Name, id, or a unique prefix of an id.
    peer: String,
    /// Revoke this node itself.
    #[arg(long)]
    even_this_node: bool,
}

#[derive(Debug, Args)]
struct PingArgs {
    /// Without it, every member.
    peer: Option<String>,
}

pub async fn run(ctx: &Context, args: PeerArgs) -> Result<()> {
    match args.command {
        PeerCommand::List => list(ctx).await,
        PeerCommand::Show(args) => show(ctx, &args.peer).await,
        PeerCommand::Name(args) => name(ctx, args).await,
        PeerCommand::Revoke(args) => revoke(ctx, &args).await,
        PeerCommand::Ping(args) => ping(ctx, args.peer.as_deref()).await,
    }
}

fn route(peer: &str) -> String {
    format!("/peers/{}", crate::http::encode(peer.as_bytes()).replace('/', "%2F"))
}

async fn list(ctx: &Context) -> Result<()> {
    let doc: PeerList = ctx.client().await?.get("/peers").send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    ctx.out.table(&table(&doc.peers))?;
    tell_revoked(ctx, doc.revoked.as_deref())
}

/// A line that can't be overlooked.
pub fn tell_revoked(ctx: &Context, revoked: Option<&str>) -> Result<()> {
    revoked.map_or(Ok(()), |why| ctx.out.line(ctx.out.paint(Paint::Bad, &safe(why))))
}

/// A line per member.
pub fn table(peers: &[PeerDoc]) -> Table {
    let mut table = Table::new(["PEER", "ID", "STATE", ">RTT", ">BEHIND", "PATH"]);
    for p in peers {
        table.row([
            safe(&p.name),
            short(&p.id).into(),
            p.state.clone(),
            p.rtt_ms.map_or("-".into(), ms),
            p.behind_here.zip(p.behind_there).map_or("-".into(), |(here, there)| match (here, there) {
                (0, 0) => "0".into(),
                (here, 0) => format!("we {here}"),
                (0, there) => format!("it {there}"),
                (here, there) => format!("we {here}, it {there}"),
            }),
            p.path.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    table
}

fn ms(ms: f64) -> String {
    format!("{ms:.1} ms")
}

async fn show(ctx: &Context, peer: &str) -> Result<()> {
    let doc: PeerDoc = ctx.client().await?.get(route(peer)).send().await?.json().await?;
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    let row = |name: &str, value: &str| ctx.out.line(format!("{name:<11}{value}"));
    row("name", &safe(&doc.name))?;
    row("id", &doc.id)?;
    row("state", &doc.state)?;
    row("added", &format!("{} by {}", doc.added, short(&doc.added_by)))?;
    if let Some(path) = &doc.path {
        row("path", path)?;
    }
    if let Some(rtt) = doc.rtt_ms {
        row("rtt", &ms(rtt))?;
    }
    if let Some(seen) = &doc.seen {
        row("seen", seen)?;
    }
    if let Some(error) = &doc.last_error {
        row("last error", &safe(error))?;
    }
    for address in &doc.addresses {
        row("address", address)?;
    }
    for s in &doc.stores {
        let state = match (s.behind_here, s.behind_there) {
            (0, 0) => "level".into(),
            (here, there) => format!("this node lacks {}, the peer {there}", count(here, "entries")),
        };
        row("store", &format!("{}  {state}{}", safe(&s.name), if s.live { "" } else { "  (catching up)" }))?;
    }
    Ok(())
}

async fn name(ctx: &Context, args: NameArgs) -> Result<()> {
    let request = NameDoc { name: args.name };
    let doc: PeerDoc =
        ctx.client().await?.patch(route(&args.peer)).json(&request)?.send().await?.json().await?;
    if ctx.out.json { ctx.out.doc(&doc) } else { ctx.out.line(format!("{}  {}", doc.id, safe(&doc.name))) }
}

async fn revoke(ctx: &Context, args: &RevokeArgs) -> Result<()> {
    let client = ctx.client().await?;
    let doc: PeerDoc = client.get(route(&args.peer)).send().await?.json().await?;
    if doc.state == "this" && !args.even_this_node {
        let why = "that is this node itself: its own stores would take none of its writes. To do it all the same, add \
                   --even-this-node";
        return Err(Error::Usage(why.into()));
    }
    client.delete(route(&doc.id)).send().await?;
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "revoked": doc.id }));
    }
    ctx.out.line(format!("revoked {} ({})", safe(&doc.name), doc.id))
}

async fn ping(ctx: &Context, peer: Option<&str>) -> Result<()> {
    let client = ctx.client().await?;
    let path = peer.map_or_else(|| "/peers/ping".into(), |peer| format!("{}/ping", route(peer)));
    let doc: PingList = client.post(path).patient().send().await?.json().await?;
    if ctx.out.json {
        ctx.out.doc(&doc)?;
    } else {
        doc.pings.iter().try_for_each(|p| ctx.out.line(pinged(ctx, p)))?;
        if doc.pings.is_empty() {
            ctx.out.note("there is no other member: `lattice invite` makes a ticket for one");
        }
    }
    match doc.pings.iter().filter(|p| p.error.is_some()).count() {
        0 => Ok(()),
        n if n == doc.pings.len() => Err(Error::TimedOut(match n {
            1 => "no answer".into(),
            n => format!("none of {n} members answered"),
        })),
        n => Err(Error::Partly(format!("{n} of {} members did not answer", doc.pings.len()))),
    }
}

fn pinged(ctx: &Context, ping: &PingDoc) -> String {
    let p = &ping.peer;
    let who = format!("{} ({})", safe(&p.name), short(&p.id));
    if let Some(why) = &ping.error {
        return format!("{who}  {}", ctx.out.paint(Paint::Bad, &safe(why)));
    }
    let tips: u64 = p.stores.iter().map(|s| s.tips).sum();
    let behind = match (p.behind_here, p.behind_there) {
        (Some(0), Some(0)) => "level".into(),
        (Some(here), Some(there)) => format!("this node lacks {}, it lacks {there}", count(here, "entries")),
        _ => "not exchanging".into(),
    };
    let path = p.path.as_deref().unwrap_or("?");
    format!(
        "{who}  {}  {path}  {} in {}  {behind}",
        ping.rtt_ms.map_or("?".into(), ms),
        count(tips, "tips"),
        count(p.stores.len() as u64, "stores")
    )
}
