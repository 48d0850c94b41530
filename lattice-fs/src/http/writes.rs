//! Writes of many clients to one store: those that wait together are committed together ([`Together`]), by one thread, and
//! those that are to survive a power loss share a flush of the disk. A request waits without a thread.
//!
//! Those that are to be durable are a group of their own: the others don't wait for the disk. One thread commits such a
//! group and flushes it; what comes meanwhile is the next.

use lattice_engine::content::Pin;
use lattice_engine::key::Key;
use lattice_engine::merge::EntryRef;
use lattice_engine::store::{Change, Expect, Handle, StoreError};

use super::problem::{Code, Problem, Result};
use super::together::{Pace, Together};

/// The writes of one process.
#[derive(Debug)]
pub struct Writes {
    logged: Together<Write, Result<EntryRef>>,
    durable: Together<Write, Result<EntryRef>>,
}

impl Default for Writes {
    fn default() -> Self {
        Self { logged: Together::new(Pace::Prompt), durable: Together::new(Pace::Patient) }
    }
}

/// What is to happen together or not at all.
#[derive(Debug)]
pub struct Write {
    pub store: Handle,
    pub changes: Vec<Change>,
    /// Keeps what the changes name from being collected until they are made.
    pub pin: Option<Pin>,
    /// Answer once it survives a power loss.
    pub durable: bool,
}

impl Writes {
    /// Makes the changes. They are made also if nobody waits for it any more.
    pub async fn make(&self, write: Write) -> Result<EntryRef> {
        let groups = if write.durable { &self.durable } else { &self.logged };
        let done = groups.with(write.store.id(), write, make).await;
        done.unwrap_or_else(|| {
            Err(Problem::new(Code::Internal, "the write's work panicked: the log says where"))
        })
    }
}

/// Makes those of a group, which are durable all of them or none.
fn make(mut group: Vec<Write>) -> Vec<Result<EntryRef>> {
    let mut done = Vec::with_capacity(group.len());
    while let Some(first) = group.first() {
        // A store that was deleted and has come back is another one.
        let others = group.iter().position(|write| !write.store.is_same(&first.store));
        let rest = others.map(|at| group.split_off(at)).unwrap_or_default();
        done.extend(make_in_one(group));
        group = rest;
    }
    done
}

fn make_in_one(mut group: Vec<Write>) -> Vec<Result<EntryRef>> {
    let Some((store, durable)) = group.first().map(|first| (first.store.clone(), first.durable)) else {
        return Vec::new();
    };
    let changes = group.iter_mut().map(|write| std::mem::take(&mut write.changes)).collect::<Vec<_>>();
    let new: Vec<Vec<Key>> = changes.iter().map(|changes| new_keys(changes)).collect();
    let committed = store.commit_each(changes);
    // Pinned until here: now what was committed names it.
    drop(group);
    let flush = durable && committed.iter().any(|done| done.is_ok());
    let synced = if flush { store.sync().map_err(Problem::from) } else { Ok(()) };
    let each = new.iter().zip(committed);
    each.map(|(new, done)| done.map_err(|e| refused(new, e)).and_then(|at| synced.clone().map(|()| at)))
        .collect()
}

/// Keys that must not be there.
fn new_keys(changes: &[Change]) -> Vec<Key> {
    let new = changes.iter().filter_map(|change| match change {
        Change::Put { key, expect: Expect::Absent, .. } => Some(key.clone()),
        _ => None,
    });
    new.collect()
}

/// A key that appeared after the condition was judged is a failed precondition like one that stood before.
fn refused(new: &[Key], e: StoreError) -> Problem {
    match e.cause() {
        StoreError::Exists(key) if new.contains(key) => {
            Problem::new(Code::Precondition, format!("{key} exists already"))
        }
        _ => e.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use futures::future::{join, join_all};
    use lattice_engine::entry::{Content, Value};
    use lattice_engine::node::Node;

    use super::*;
    use crate::http::etag::Condition;
    use crate::http::upload::put_change;

    fn write(store: &Handle, key: &str, condition: &Condition, durable: bool) -> Write {
        let key = Key::parse(key.as_bytes()).expect("a key");
        let change = put_change(None, key, Value::File(Content::EMPTY), condition).expect("a change");
        Write { store: store.clone(), changes: vec![change], pin: None, durable }
    }

    #[tokio::test]
    async fn what_waits_together_is_one_entry_and_each_is_judged_by_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        Node::init(&data).expect("initialised");
        Node::open(&data).expect("opened").create_store("home").expect("a store");
        // Opened anew, so that its first write can be held up.
        let node = Node::open(&data).expect("opened again");
        let store = node.find("home").expect("the store");
        let held = store.hold_writes().expect("it was made by another");
        let before = store.status().expect("a status").entries;
        let writes = Writes::default();
        let each =
            (0..20).map(|n| writes.make(write(&store, &format!("k{n}"), &Condition::None, n % 2 == 0)));
        let mut all = Box::pin(join_all(each));
        let waits = poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "all of them, behind the first");
        drop(held);
        assert!(all.await.iter().all(Result::is_ok));
        // That of who was first, and that of all who came meanwhile.
        let entries = store.status().expect("a status").entries - before;
        assert!((1..=2).contains(&entries), "{entries} entries");
        let new = || writes.make(write(&store, "new", &Condition::Absent, false));
        let (one, other) = join(new(), new()).await;
        let refused = one.and(other).expect_err("one of them was too late");
        assert_eq!(refused.code, Code::Precondition);
        assert!(store.get(&Key::parse(b"new").expect("a key")).expect("read").is_some());
    }
}
