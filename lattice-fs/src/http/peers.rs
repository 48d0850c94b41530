//! `/peers`: the members, as the root store has them, with what the network knows of each.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lattice_engine::access::{Member, MemberState};
use lattice_engine::id::NodeId;
use lattice_engine::net::{self, NetError, PeerState, PeerStatus};

use super::app::App;
use super::describe;
use super::extract::{self, Path};
use super::model::NameDoc;
use super::net_model::{PeerDoc, PeerList, PeerStoreDoc, PingDoc, PingList};
use super::problem::{Code, Problem, Result, blocking};
use crate::view::revoked;

/// How long one ping may take, with the dial before it.
const PING: Duration = Duration::from_secs(5);

pub async fn list(State(app): State<App>) -> Result<Json<PeerList>> {
    blocking(move || Ok(Json(PeerList { revoked: revoked(&app)?, peers: docs(&app)? }))).await
}

/// What a node is told that was revoked: by the root store where that has come, else by the members that cut it off.
pub fn revoked(app: &App) -> Result<Option<String>> {
    let members = app.node.members()?;
    let name =
        |id: &NodeId| members.get(id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.short().to_string());
    if let Some(MemberState::Revoked { by, at, .. }) = members.get(&app.node.id()).map(|m| &m.state) {
        return Ok(Some(revoked::known(&name(by), *at)));
    }
    let by = match &app.control.net {
        Ok(net) if net.connected() > 0 => return Ok(None),
        Ok(net) => net.revoked_by(),
        Err(_) => net::revoked_by(app.node.data_dir()),
    };
    if by.is_empty() {
        return Ok(None);
    }
    Ok(Some(revoked::told(&by.iter().map(name).collect::<Vec<_>>())))
}

/// Refuses what a revoked node can't have.
pub fn not_revoked(app: &App) -> Result<()> {
    revoked(app)?.map_or(Ok(()), |why| Err(Problem::new(Code::NotAuthorised, why)))
}

/// Every member, this node first, then by name.
pub fn docs(app: &App) -> Result<Vec<PeerDoc>> {
    let members = app.node.members()?;
    let mut peers: Vec<PeerDoc> = members.iter().map(|m| doc(app, m)).collect::<Result<_>>()?;
    peers.sort_by(|a, b| (a.state != "this", &a.name, &a.id).cmp(&(b.state != "this", &b.name, &b.id)));
    Ok(peers)
}

pub async fn show(State(app): State<App>, Path(peer): Path<String>) -> Result<Json<PeerDoc>> {
    blocking(move || Ok(Json(doc(&app, &find(&app, &peer)?)?))).await
}

pub async fn rename(
    State(app): State<App>,
    Path(peer): Path<String>,
    extract::Json(name): extract::Json<NameDoc>,
) -> Result<Json<PeerDoc>> {
    blocking(move || {
        let member = find(&app, &peer)?;
        app.node.name_member(member.id, &name.name)?;
        Ok(Json(doc(&app, &find(&app, &member.id.to_string())?)?))
    })
    .await
}

/// Revokes: its connections close at once, here and wherever the root store goes.
pub async fn revoke(State(app): State<App>, Path(peer): Path<String>) -> Result<StatusCode> {
    blocking(move || {
        let member = find(&app, &peer)?;
        app.node.revoke_member(member.id)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

pub async fn ping(State(app): State<App>, Path(peer): Path<String>) -> Result<Json<PingList>> {
    app.net()?;
    let task = app.clone();
    let member = blocking(move || find(&task, &peer)).await?;
    answered(&app, vec![ping_one(&app, member).await?]).await
}

/// Where nobody answers, that may be because this node was revoked.
async fn answered(app: &App, pings: Vec<PingDoc>) -> Result<Json<PingList>> {
    if pings.iter().all(|p| p.error.is_some()) {
        let app = app.clone();
        blocking(move || not_revoked(&app)).await?;
    }
    Ok(Json(PingList { pings }))
}

/// All of them side by side: one that is away holds no other up.
pub async fn ping_all(State(app): State<App>) -> Result<Json<PingList>> {
    let us = app.net()?.id();
    let node = app.node.clone();
    let members = blocking(move || Ok(node.members()?)).await?;
    let others = members.iter().filter(|m| m.is_active() && m.id != us).cloned();
    let pings = others.map(|member| {
        let app = app.clone();
        tokio::spawn(async move { ping_one(&app, member).await })
    });
    let mut done = Vec::new();
    for ping in pings.collect::<Vec<_>>() {
        done.push(ping.await.map_err(|_| Problem::new(Code::Internal, "a ping panicked"))??);
    }
    answered(&app, done).await
}

async fn ping_one(app: &App, member: Member) -> Result<PingDoc> {
    let rtt = app.net()?.ping(&member.id, PING).await;
    let task = app.clone();
    let peer = blocking(move || doc(&task, &member)).await?;
    let error = rtt.as_ref().err().map(|e| match (e, &peer.last_error) {
        (NetError::NotConnected(_), Some(why)) => why.clone(),
        (e, _) => e.to_string(),
    });
    Ok(PingDoc { peer, rtt_ms: rtt.ok().map(ms), error })
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// A member by id, unique prefix of one, or name.
fn find(app: &App, spec: &str) -> Result<Member> {
    let members = app.node.members()?;
    let named: Vec<&Member> =
        members.iter().filter(|m| m.name.as_deref() == Some(spec) && m.is_active()).collect();
    let hex = spec.to_ascii_lowercase();
    let by_id = |m: &&Member| hex.len() >= 4 && m.id.to_string().starts_with(&hex);
    let found = if named.is_empty() { members.iter().filter(by_id).collect() } else { named };
    match &found[..] {
        [one] => Ok((*one).clone()),
        [] => Err(Problem::new(
            Code::NoSuchPeer,
            format!("no member {spec:?}: `lattice peer list` shows who there is"),
        )),
        several => Err(Problem::new(
            Code::Ambiguous,
            format!(
                "{spec:?} could be {}: give more of the id",
                several.iter().map(|m| m.id.to_string()).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

fn doc(app: &App, member: &Member) -> Result<PeerDoc> {
    let net = app.control.net.as_ref().ok();
    let status = net.and_then(|net| net.peer_status(&member.id).ok());
    let state = match (&member.state, &status) {
        _ if member.id == app.node.id() => "this",
        (MemberState::Revoked { .. }, _) => "revoked",
        (_, Some(PeerStatus { state: PeerState::Connected, .. })) => "connected",
        (_, Some(PeerStatus { state: PeerState::Refuses, .. })) => "refuses",
        (_, Some(_)) => "away",
        (_, None) => "unknown",
    };
    let calls_itself = status.as_ref().and_then(|s| s.calls_itself.clone());
    let name = member.name.clone().or(calls_itself).unwrap_or_else(|| member.id.short().to_string());
    let mut doc = PeerDoc {
        id: member.id.to_string(),
        name,
        state: state.into(),
        rtt_ms: None,
        path: None,
        connected_seconds: None,
        seen: None,
        last_error: None,
        addresses: Vec::new(),
        added: describe::time(member.added_at),
        added_by: member.added_by.to_string(),
        behind_here: None,
        behind_there: None,
        root_live: None,
        stores: Vec::new(),
    };
    if member.id == app.node.id() {
        doc.addresses = net.map(|net| net.addresses()).unwrap_or_default();
    }
    if let Some(status) = status {
        fill(app, &mut doc, status)?;
    }
    Ok(doc)
}

fn fill(app: &App, doc: &mut PeerDoc, status: PeerStatus) -> Result<()> {
    let root = app.node.root().id();
    let names = app.node.stores()?;
    doc.rtt_ms = status.rtt.map(ms);
    doc.path = status.path;
    doc.connected_seconds = status.connected.map(|d| d.as_secs_f64());
    doc.seen = status.seen_ms.map(describe::time_ms);
    doc.last_error = status.last_error;
    doc.addresses = status.addresses;
    if !status.stores.is_empty() {
        doc.behind_here = Some(status.stores.iter().map(|s| s.behind_here).sum());
        doc.behind_there = Some(status.stores.iter().map(|s| s.behind_there).sum());
    }
    for s in status.stores {
        if s.store == root {
            doc.root_live = Some(s.live && s.behind_here == 0);
            continue;
        }
        let name = names.iter().find(|n| n.id == s.store).map(|n| n.name.clone());
        doc.stores.push(PeerStoreDoc {
            store: s.store.to_string(),
            name: name.unwrap_or_else(|| s.store.to_string()),
            live: s.live,
            tips: s.tips,
            behind_here: s.behind_here,
            behind_there: s.behind_there,
            whole: s.whole,
        });
    }
    Ok(())
}

/// Other active members.
pub fn others(app: &App) -> Result<Vec<NodeId>> {
    let us = app.node.id();
    Ok(app.node.members()?.iter().filter(|m| m.is_active() && m.id != us).map(|m| m.id).collect())
}

impl From<NetError> for Problem {
    fn from(e: NetError) -> Self {
        let code = match e {
            NetError::Node(e) => return e.into(),
            NetError::Store(e) => return e.into(),
            NetError::NotAMember(_) => Code::NoSuchPeer,
            NetError::NoSuchStore(_) => Code::NoSuchStore,
            NetError::NotConnected(_) | NetError::NoAnswer { .. } | NetError::Unreachable(_) => {
                Code::TimedOut
            }
            NetError::Refused(_) => Code::NotAuthorised,
            NetError::Stopping => Code::Stopping,
            _ => Code::NoNetwork,
        };
        Self::new(code, e.to_string())
    }
}
