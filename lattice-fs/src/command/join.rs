//! `lattice join`: makes this machine a member of the mesh that a ticket is for, starts the daemon, and waits until every
//! store of the mesh is here.

use std::time::{Duration, Instant};

use clap::Args;
use lattice_engine::access::{Ticket, TicketError, clean_name};
use lattice_engine::net::{self, NetError};
use lattice_engine::node::NodeError;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use super::context::Context;
use super::error::{Error, Result, exit, problem_exit_code};
use super::net_args::NetArgs;
use super::output::{count, safe, short};
use super::typed::Typed;
use super::{progress, serve};
use crate::client::Client;
use crate::http::model::{StatusDoc, StoreDoc, StoreList};
use crate::http::net_model::{PeerDoc, PeerList};
use crate::http::problem::Problem;
use crate::paths::make_private_dir;

/// Without a limit of the caller's own.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// More than any ticket.
const MAX_INPUT: u64 = 64 << 10;

/// Become a member of a mesh by a ticket from `lattice invite`.
///
/// A node under whose identity somebody else writes too (a copied data directory, a restored backup) writes no more. It goes on
/// as a new node: `lattice --home NEW join TICKET` with a ticket from another member. What both have written under the old identity
/// comes to it like everything else, once both have been connected; what they did to one file is a conflict. Then `lattice peer
/// revoke` the old one. `lattice --home OLD mount --offline STORE DIR` shows what an old directory has.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The ticket, or `-` to read it from standard input, where other users of this machine can't see it.
    ticket: String,
    /// What this node is to be called; the machine's name without it. One that is taken gets a number.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    net: Typed<NetArgs>,
}

#[derive(Debug, Serialize)]
struct JoinDoc {
    node: String,
    root_store: String,
    admitted_by: String,
    stores: Vec<StoreDoc>,
}

pub async fn run(ctx: &Context, args: JoinArgs) -> Result<()> {
    let text = match args.ticket.as_str() {
        "-" => stdin().await?,
        text => text.to_owned(),
    };
    let ticket = Ticket::parse_at(&text, now_ms()).map_err(bad_ticket)?;
    let Some(mut config) = args.net.config(&ctx.config.network) else {
        return Err(Error::Usage("a node can't join with --offline".into()));
    };
    if let Some(name) = args.name {
        config.name = clean_name(&name).filter(|clean| *clean == name).ok_or_else(|| {
            Error::Usage(format!("{name:?} can't be a node's name: it is empty, too long or can't be shown"))
        })?;
    }
    may_join(ctx, &ticket).await?;
    ctx.release().await?;
    let data = ctx.paths.data.clone();
    if let Some(parent) = data.parent().filter(|p| !p.exists()) {
        make_private_dir(parent).map_err(|source| Error::File {
            path: parent.into(),
            done: "made",
            source,
        })?;
    }
    let spinner = progress::spinner("asking to be let in");
    let joined = net::join(&data, &ticket, &config).await.map_err(refused)?;
    spinner.set_message("fetching the stores");
    serve::start(ctx, &args.net, &Typed::default()).await?;
    let stores = wait(ctx, &joined.node.to_string()).await;
    spinner.finish_and_clear();
    let doc = JoinDoc {
        node: joined.node.to_string(),
        root_store: joined.root.to_string(),
        admitted_by: joined.by.to_string(),
        stores: stores?,
    };
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    ctx.out.line(format!("node {} has joined, let in by {}", doc.node, short(&doc.admitted_by)))?;
    for store in &doc.stores {
        ctx.out.line(format!("store {} ({})", safe(&store.name), store.id))?;
    }
    ctx.out.note("Next: lattice mount DIR");
    Ok(())
}

/// Whether this data directory can become the member of a mesh. One that has stores of its own is refused by the engine.
async fn may_join(ctx: &Context, ticket: &Ticket) -> Result<()> {
    let client = match ctx.client().await {
        Ok(client) => client,
        Err(e) if e.exit_code() == exit::NOT_INITIALISED => return Ok(()),
        Err(e) => return Err(e),
    };
    let status: StatusDoc = client.get("/status").send().await?.json().await?;
    let others = status.peers.iter().filter(|p| !matches!(p.state.as_str(), "this" | "revoked")).count();
    let mesh = others > 0;
    let others = count(others as u64, "others");
    let another = "use another data directory (lattice --home DIR join TICKET)";
    let why = if let Some(revoked) = status.revoked {
        revoked
    } else if status.root_store == ticket.root().to_string() {
        format!("this node is a member of that mesh already, with {others}: `lattice peer list` shows them")
    } else if mesh {
        format!(
            "this node is a member of a mesh already, with {others} (`lattice peer list`), and a node is of one \
             mesh. To join another, {another}"
        )
    } else if client.is_daemon() {
        format!(
            "a daemon runs here already, with a data directory of its own: {another}, or stop it with `lattice serve \
             --stop` if it holds nothing"
        )
    } else {
        return Ok(());
    };
    Err(Error::Failed(why))
}

async fn stdin() -> Result<String> {
    let mut text = String::new();
    let read = tokio::io::stdin().take(MAX_INPUT).read_to_string(&mut text).await;
    read.map_err(|source| Error::File { path: "standard input".into(), done: "read", source })?;
    Ok(text)
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as u64)
}

fn bad_ticket(e: TicketError) -> Error {
    match e {
        TicketError::Expired => Error::NotAuthorised(e.to_string()),
        e => Error::Usage(e.to_string()),
    }
}

/// Being turned away is told from not getting there.
fn refused(e: NetError) -> Error {
    match e {
        NetError::Node(NodeError::Refused(why)) => Error::Failed(why),
        NetError::Node(e) => {
            let problem = Problem::from(e);
            Error::Daemon { code: problem_exit_code(&problem), message: problem.to_string() }
        }
        NetError::Refused(_) => Error::NotAuthorised(e.to_string()),
        NetError::Unreachable(_) | NetError::NoAnswer { .. } => Error::TimedOut(e.to_string()),
        e => Error::Failed(e.to_string()),
    }
}

/// Until the root store says that we are a member, and every store that it declares is here and level with a peer.
async fn wait(ctx: &Context, node: &str) -> Result<Vec<StoreDoc>> {
    let client = ctx.client().await?;
    let patience = ctx.timeout.unwrap_or(PATIENCE);
    let began = Instant::now();
    loop {
        if let Some(stores) = all_here(&client, node).await? {
            return Ok(stores);
        }
        if began.elapsed() > patience {
            return Err(Error::TimedOut(format!(
                "this node is a member now, but not everything has come within {} s; it goes on in the background: \
                 `lattice status` shows how far it is",
                patience.as_secs()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The stores, once the root store is here, and with it which there are, and then each of them.
async fn all_here(client: &Client, node: &str) -> Result<Option<Vec<StoreDoc>>> {
    let peers: PeerList = client.get("/peers").send().await?.json().await?;
    let known = peers.peers.iter().any(|p| p.id == node && p.state == "this");
    let root = peers.peers.iter().any(|p| p.root_live == Some(true));
    if !known || !root {
        return Ok(None);
    }
    // Only now: before, the list could lack what was still to come.
    let list: StoreList = client.get("/stores").send().await?.json().await?;
    let peers: PeerList = client.get("/peers").send().await?.json().await?;
    let level =
        |p: &PeerDoc, id: &str| p.stores.iter().any(|s| s.store == id && s.live && s.behind_here == 0);
    let here = |s: &StoreDoc| s.broken.is_none() && peers.peers.iter().any(|p| level(p, &s.id));
    Ok(list.stores.iter().all(here).then_some(list.stores))
}
