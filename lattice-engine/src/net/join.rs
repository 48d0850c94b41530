//! Becoming a member by a ticket, and admitting who shows one. The joiner proves to hold the invite; the member that it
//! asks adds it to the root store, and answers with the root store's genesis, whose id the ticket has. Everything else
//! comes by sync, as between any two members.
//!
//! Refuses, with a sentence that the person at the other end reads: a ticket of another mesh, one that is forged, used up,
//! expired or taken back, and a node that was revoked. A data directory that has stores of its own is left as it is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::Connection;
use iroh::{EndpointAddr, PublicKey, TransportAddr};

use super::book::{Address, Book};
use super::config::Config;
use super::error::{NetError, Result};
use super::gate::Gate;
use super::hints::Lines;
use super::{DIR, JOIN_ALPN, Shared, code, endpoint, frame, genesis, introducers, link, members};
use crate::access::{Proof, Ticket};
use crate::entry::Entry;
use crate::id::{NodeId, StoreId};
use crate::node::Node;
use crate::wire::v1;
use crate::wire::v1::join_answer::Kind as Answer;

/// How long one attempt to reach the inviter may take, and all of them.
const ATTEMPT: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
/// How long the inviter may take to write the new member down.
const ANSWER: Duration = Duration::from_secs(20);
/// And the joiner with closing, once it has been answered. A busy machine is slow to read; closing takes away what it hasn't.
const GOODBYE: Duration = Duration::from_secs(10);
const MAX_REQUEST: usize = 1024;
/// A genesis and 64 peers' addresses.
const MAX_ANSWER: usize = 256 << 10;

/// What came of joining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub node: NodeId,
    pub root: StoreId,
    pub by: NodeId,
}

/// Joins the mesh of `ticket`: makes the data directory, with the mesh's root store as its own. What the stores hold comes
/// when the node runs.
pub async fn join(dir: &Path, ticket: &Ticket, config: &Config) -> Result<Joined> {
    let place = dir.to_owned();
    let identity = blocking(move || Node::prepare_to_join(&place)).await??;
    let net = dir.join(DIR);
    let bound = endpoint::bind(&net, &identity, config, Gate::default(), Lines::default()).await?;
    let asked = ask(&bound.endpoint, ticket, identity.node_id(), config).await;
    bound.endpoint.close().await;
    let admitted = asked?;
    let genesis = genesis_of(admitted.genesis.unwrap_or_default(), ticket)?;
    let book = Book::load(net.join("addresses"));
    book.learn(ticket.inviter, addresses(ticket));
    for told in admitted.known.unwrap_or_default().peers {
        if let Some(id) = NodeId::from_slice(&told.node).filter(|id| *id != identity.node_id()) {
            book.hear(id, told.addresses.iter().filter_map(|a| a.parse().ok()));
        }
    }
    let introducer = format!("{}\n", ticket.inviter);
    introducers::keep(&net, &introducer)
        .map_err(NetError::io(format!("cannot write below {}", net.display())))?;
    let (place, node) = (dir.to_owned(), identity.node_id());
    let root = blocking(move || Node::init_joined(&place, &genesis)).await??;
    Ok(Joined { node, root, by: ticket.inviter })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NetError::Stopping)
}

fn addresses(ticket: &Ticket) -> Vec<Address> {
    let text = |bytes: &Bytes| std::str::from_utf8(bytes).ok()?.parse().ok();
    ticket.addresses.iter().filter_map(text).collect()
}

fn genesis_of(signed: v1::SignedEntry, ticket: &Ticket) -> Result<Entry> {
    let bad = |why| NetError::Join(format!("the root store that was sent is not the ticket's: {why}"));
    let entry = genesis::decode(signed).map_err(bad)?;
    if entry.id != ticket.genesis {
        return Err(bad("it is another store's".into()));
    }
    Ok(entry)
}

async fn ask(
    endpoint: &iroh::Endpoint,
    ticket: &Ticket,
    me: NodeId,
    config: &Config,
) -> Result<v1::Admitted> {
    let id = PublicKey::from_bytes(ticket.inviter.as_bytes());
    let id = id.map_err(|_| NetError::Join("the ticket's inviter is no node".into()))?;
    let addrs = addresses(ticket).into_iter().map(|a| match a {
        Address::Ip(at) => TransportAddr::Ip(at),
        Address::Relay(url) => TransportAddr::Relay(url),
    });
    let addr = EndpointAddr::from_parts(id, addrs);
    let request = v1::JoinRequest {
        version: link::VERSION,
        root_store: Bytes::copy_from_slice(ticket.root().as_bytes()),
        proof: Bytes::copy_from_slice(&ticket.secret.prove(&ticket.root(), &me, &ticket.inviter).to_bytes()),
        name: config.name.clone(),
    };
    let no_answer = || NetError::NoAnswer { peer: ticket.inviter, seconds: ANSWER.as_secs() };
    let began = Instant::now();
    let answer = loop {
        let conn = reach(endpoint, &addr, ticket.inviter).await?;
        let answered = tokio::time::timeout(ANSWER, question(&conn, &request)).await;
        let lost = conn.close_reason().is_some();
        conn.close(code::DONE, b"thank you");
        match answered.map_err(|_| no_answer())? {
            // A lost answer is given again, and that uses nothing up: the inviter may have admitted us already.
            Err(e) if lost && began.elapsed() < PATIENCE => {
                tracing::debug!("{e}; it is asked again");
                tokio::time::sleep(PAUSE).await;
            }
            answered => break answered?,
        }
    };
    match answer.kind {
        Some(Answer::Admitted(admitted)) => Ok(admitted),
        Some(Answer::Refused(refused)) => {
            let why: String = refused.why.chars().filter(|c| !c.is_control()).take(300).collect();
            Err(NetError::Refused(format!("{} did not let this node in: {why}", ticket.inviter.short())))
        }
        None => Err(NetError::Join("the answer is of a newer lattice: use that here, too".into())),
    }
}

/// A connection to the inviter; it may be about to start.
async fn reach(endpoint: &iroh::Endpoint, addr: &EndpointAddr, inviter: NodeId) -> Result<Connection> {
    let began = Instant::now();
    loop {
        let why = match tokio::time::timeout(ATTEMPT, endpoint.connect(addr.clone(), JOIN_ALPN)).await {
            Ok(Ok(conn)) => return Ok(conn),
            Ok(Err(e)) => endpoint::why(&e),
            Err(_) => "no answer".into(),
        };
        if began.elapsed() > PATIENCE {
            return Err(NetError::Unreachable(format!(
                "{} can't be reached ({why}): is its daemon running, and is it on a network with this machine?",
                inviter.short()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn question(conn: &Connection, request: &v1::JoinRequest) -> Result<v1::JoinAnswer> {
    let lost = |e: &dyn std::fmt::Display| NetError::Join(format!("the connection broke off: {e}"));
    let (mut send, mut recv) = conn.open_bi().await.map_err(|e| lost(&e))?;
    frame::write(&mut send, request).await.map_err(|e| lost(&e))?;
    send.finish().map_err(|e| lost(&e))?;
    frame::read(&mut recv, MAX_ANSWER).await.map_err(|e| lost(&e))
}

/// Answers a node that wants to join.
pub(super) async fn serve(shared: &Arc<Shared>, conn: Connection, joiner: NodeId) {
    let served = tokio::time::timeout(ANSWER, answer(shared, &conn, joiner)).await;
    let ended = match served {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(e.to_string()),
        Err(_) => Some("it took too long".into()),
    };
    if let Some(why) = ended {
        tracing::info!(node = %joiner.short(), "a node did not join: {why}");
    }
    conn.close(code::DONE, b"");
}

async fn answer(shared: &Arc<Shared>, conn: &Connection, joiner: NodeId) -> Result<()> {
    let lost = |e: &dyn std::fmt::Display| NetError::lost(joiner, e);
    let (mut send, mut recv) = conn.accept_bi().await.map_err(|e| lost(&e))?;
    let request: v1::JoinRequest = frame::read(&mut recv, MAX_REQUEST).await.map_err(|e| lost(&e))?;
    let task = shared.clone();
    let admitted = blocking(move || admit(&task, joiner, &request)).await?;
    let kind = match &admitted {
        Ok(genesis) => Answer::Admitted(v1::Admitted {
            genesis: Some(genesis.clone()),
            known: Some(shared.known_addresses(&joiner)),
        }),
        Err(e) => Answer::Refused(v1::JoinRefused { why: e.to_string() }),
    };
    if admitted.is_ok() {
        let at = conn.paths().iter().filter_map(|p| Address::of(p.remote_addr())).collect::<Vec<_>>();
        shared.book.learn(joiner, at);
        tracing::info!(node = %joiner.short(), "joined");
    }
    frame::write(&mut send, &v1::JoinAnswer { kind: Some(kind) }).await.map_err(|e| lost(&e))?;
    send.finish().map_err(|e| lost(&e))?;
    // The joiner closes when it has read the answer; closing first could take it away.
    if tokio::time::timeout(GOODBYE, conn.closed()).await.is_err() {
        tracing::debug!(node = %joiner.short(), "it didn't say goodbye");
    }
    admitted.map(|_| ())
}

/// Adds the joiner to the root store. It may connect when this returns.
fn admit(shared: &Arc<Shared>, joiner: NodeId, request: &v1::JoinRequest) -> Result<v1::SignedEntry> {
    let root = shared.node.root();
    if request.version < link::VERSION {
        return Err(NetError::Join("its lattice is too old for this mesh".into()));
    }
    if request.root_store[..] != root.id().as_bytes()[..] {
        return Err(NetError::Join("the ticket is for another mesh than this node's".into()));
    }
    let proof = Proof::from_slice(&request.proof);
    let proof = proof.ok_or_else(|| NetError::Join("it showed no proof of its ticket".into()))?;
    shared.node.admit(joiner, &proof, &request.name)?;
    members::refresh(shared);
    Ok(root.genesis_entry()?)
}

#[cfg(test)]
mod tests {
    use iroh::Watcher;

    use super::*;
    use crate::access::Secret;
    use crate::id::EntryId;
    use crate::identity::Identity;

    /// Reads a joiner's request.
    async fn asked(inviter: &iroh::Endpoint) -> (Connection, iroh::endpoint::SendStream) {
        let incoming = inviter.accept().await.expect("a connection");
        let conn = incoming.await.expect("a handshake");
        let (send, mut recv) = conn.accept_bi().await.expect("a stream");
        let _: v1::JoinRequest = frame::read(&mut recv, MAX_REQUEST).await.expect("a request");
        (conn, send)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_was_lost_is_asked_for_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config::loopback();
        let [inviter, joiner] = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
        let bind = async |name: &str, who: &Identity| {
            endpoint::bind(&dir.path().join(name), who, &config, Gate::default(), Lines::default())
                .await
                .expect("bound")
                .endpoint
        };
        let (there, here) = (bind("there", &inviter).await, bind("here", &joiner).await);
        let ticket = Ticket {
            genesis: EntryId([3; 32]),
            secret: Secret::new([4; 32]),
            expires_ms: u64::MAX,
            inviter: inviter.node_id(),
            addresses: there.watch_addr().get().addrs.iter().filter_map(Address::of).map(text).collect(),
        };
        tokio::spawn(async move {
            let (conn, _) = asked(&there).await;
            conn.close(code::CLOSED, b"it stops");
            let (conn, mut send) = asked(&there).await;
            let refused = v1::JoinRefused { why: "the second time".into() };
            frame::write(&mut send, &v1::JoinAnswer { kind: Some(Answer::Refused(refused)) })
                .await
                .expect("said");
            send.finish().expect("said");
            conn.closed().await;
        });
        let why = ask(&here, &ticket, joiner.node_id(), &config).await.expect_err("refused").to_string();
        assert!(why.contains("the second time"), "{why}");
    }

    fn text(address: Address) -> Bytes {
        address.to_string().into()
    }
}
