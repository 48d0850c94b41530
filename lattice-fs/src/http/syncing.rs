//! `…/sync`: exchange now, and wait until the peers have it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use lattice_engine::store::Handle;

use super::app::App;
use super::extract::{self, InStore};
use super::net_model::{SyncDoc, SyncRequest};
use super::peers;
use super::problem::{Code, Problem, Result, blocking};

/// A day: nobody waits longer, and no arithmetic overflows.
const LONGEST: f64 = 86_400.0;

/// Large files that were closed before become entries: they are cut into chunks after their close has returned.
async fn closed_files(app: &App, store: &Handle, timeout: Duration) -> Result<()> {
    let now = store.clone();
    if blocking(move || Ok(now.intents()?)).await?.is_empty() {
        return Ok(());
    }
    let (store, place) = (store.clone(), app.long_wait()?);
    let promoted = blocking(move || {
        let _place = place;
        Ok(store.wait_promoted(timeout)?)
    });
    match promoted.await? {
        true => Ok(()),
        false => Err(Problem::new(Code::TimedOut, "files that were closed are still being stored")),
    }
}

pub async fn sync(
    State(app): State<App>,
    InStore(store): InStore,
    extract::Json(request): extract::Json<SyncRequest>,
) -> Result<Json<SyncDoc>> {
    let net = app.net()?.clone();
    let timeout = Duration::from_secs_f64(request.timeout_seconds.clamp(0.0, LONGEST));
    let id = store.id();
    let info = app.info(id)?;
    let task = app.clone();
    let others = blocking(move || Ok(peers::others(&task)?.len())).await?;
    if let Some(n) = request.wait_peers.filter(|n| *n > others) {
        let why = format!(
            "{n} members are to hold it, and there {}: wait for fewer, or let more in (`lattice invite`)",
            match others {
                0 => "is no other one".into(),
                1 => "is one other".into(),
                n => format!("are {n} others"),
            }
        );
        return Err(Problem::new(Code::Refused, why));
    }
    closed_files(&app, &store, timeout).await?;
    let publisher = net.clone();
    let tips = blocking(move || Ok(publisher.publish(id)?)).await?;
    net.dial_now();
    let task = app.clone();
    blocking(move || peers::not_revoked(&task)).await?;
    let done = match request.wait_peers {
        Some(n) => net.wait_held(id, &tips, n, timeout).await,
        None => net.wait_level(id, timeout).await,
    };
    let held_by = net.holders(id, &tips);
    if !done {
        let what = match request.wait_peers {
            Some(n) => format!("{} of the {n} peers hold store {:?} durably", held_by.len(), info.name),
            None => format!("store {:?} is not level with every connected peer", info.name),
        };
        let why = format!("after {} s {what}: `lattice peer list` shows who is away", timeout.as_secs());
        return Err(Problem::new(Code::TimedOut, why));
    }
    Ok(Json(SyncDoc {
        store: id.to_string(),
        name: info.name,
        held_by: held_by.iter().map(ToString::to_string).collect(),
        members: others,
        connected: net.connected(),
    }))
}

#[cfg(test)]
mod tests {
    use lattice_engine::entry::{Attrs, Content, Node as FileNode, Value};
    use lattice_engine::id::FileId;
    use lattice_engine::key::Key;
    use lattice_engine::node::Node;
    use lattice_engine::store::Cites;

    use super::*;
    use crate::http::app::MAX_LONG_WAITS;

    #[tokio::test]
    async fn a_file_that_was_closed_is_waited_for_until_it_is_an_entry() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        let node = Node::open(&data).expect("opened");
        let store = node.create_store("home").expect("a store");
        let app = App::in_process(node);
        closed_files(&app, &store, Duration::ZERO).await.expect("nothing to wait for");
        let staged = store.staging_path().expect("a place");
        std::fs::write(&staged, "large").expect("staged");
        let file = FileNode {
            file_id: FileId([1; 16]),
            value: Value::File(Content::EMPTY),
            attrs: Attrs::default(),
        };
        let key = Key::parse(b"f").expect("a key");
        let closed = store.stage(staged, key, file, Cites::All, 5).expect("closed");
        let late = closed_files(&app, &store, Duration::from_millis(20)).await;
        assert_eq!(late.expect_err("it is not an entry yet").code, Code::TimedOut);
        let task = (app.clone(), store.clone());
        let waiting =
            tokio::spawn(async move { closed_files(&task.0, &task.1, Duration::from_secs(20)).await });
        store.promote(&closed).expect("an entry");
        waiting.await.expect("no panic").expect("in time");
        let all: Vec<_> = std::iter::from_fn(|| app.long_wait().ok()).collect();
        assert_eq!(all.len(), MAX_LONG_WAITS);
        closed_files(&app, &store, Duration::ZERO).await.expect("a place is for who has to wait");
    }
}
