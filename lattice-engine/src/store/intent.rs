//! Staged files: a large file whose writer has closed it lies complete in `staging/`, but chunking it would keep `close`
//! waiting. An intent in the log says what it is to become, so that a kill loses nothing; promoting it adopts the file as
//! content and commits the entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use crate::disk::Open;
use crate::entry::{Content, Node, Value};
use crate::id::EntryId;
use crate::key::Key;
use crate::log::RecordRef;
use crate::merge::{EntryRef, Head};
use crate::wire::v1;

use super::change::{Change, Cites, Expect};
use super::error::{Result, StoreError};
use super::handle::Handle;

/// A staged file and what it is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: u64,
    /// In the store's `staging/`. Where `size` is 0 there need not be one.
    pub file: PathBuf,
    pub key: Key,
    /// A file without content: that is the staged file's.
    pub node: Node,
    pub cites: Cites,
    /// Bytes.
    pub size: u64,
}

/// The directory of staged files in a store's.
const STAGING: &str = "staging";

impl Handle {
    /// A fresh path in `staging/`, for a large file while it is written. The caller creates the file.
    pub fn staging_path(&self) -> Result<PathBuf> {
        self.store.writable()?;
        let mut name = [0u8; 8];
        getrandom::fill(&mut name)
            .map_err(|e| StoreError::Refused(format!("no random numbers to name a staged file: {e}")))?;
        let dir = self.store.dir.join(STAGING);
        Ok(dir.join(format!("{:016x}", u64::from_le_bytes(name))))
    }

    /// Logs that the staged file is to become this key's value: from now on that survives a kill.
    pub fn stage(&self, file: PathBuf, key: Key, node: Node, cites: Cites, size: u64) -> Result<Intent> {
        let store = &self.store;
        store.writable()?;
        let mut writer = store.writer.lock();
        let intent = Intent { id: writer.chains.next_intent, file, key, node, cites, size };
        let body: Bytes = encode(&intent).into();
        let record = RecordRef::Intent { body: &body };
        store.unsynced.add(&intent);
        let positions = writer.log.append(&[record]).map_err(|e| {
            store.unsynced.forget(intent.id);
            let e = writer.log_error(e);
            store.freeze_on(&e);
            e
        })?;
        writer.chains.next_intent += 1;
        let mut overlay = store.view.overlay.write();
        overlay.put_intent(intent.id, Some(body));
        overlay.publish(Some(positions[0]));
        let bytes = overlay.bytes();
        drop(overlay);
        drop(writer);
        store.work.dirty(bytes);
        Ok(intent)
    }

    /// Turns the staged file into content and commits it: the intent is done. Killed at any point, it can be done again.
    pub fn promote(&self, intent: &Intent) -> Result<EntryRef> {
        let pin = self.store.content.pin();
        let content = match intent.size {
            0 => Content::EMPTY,
            size => self.store.content.adopt(&intent.file, size)?,
        };
        if let Some(at) = self.committed(intent, &content)? {
            self.finish(intent)?;
            return Ok(at);
        }
        let node = Node { value: Value::File(content), ..intent.node.clone() };
        let at = self.commit(vec![Change::Put {
            key: intent.key.clone(),
            node,
            cites: intent.cites.clone(),
            expect: Expect::Beside,
        }])?;
        drop(pin);
        self.finish(intent)?;
        Ok(at)
    }

    /// The entry that this intent has become, when a kill came between that and the record that it is done.
    fn committed(&self, intent: &Intent, content: &Content) -> Result<Option<EntryRef>> {
        let Some(record) = self.get(&intent.key)? else { return Ok(None) };
        let ours = |head: &&Head| {
            head.entry.author == self.author()
                && head
                    .node
                    .as_ref()
                    .is_some_and(|n| n.file_id == intent.node.file_id && n.content() == Some(content))
        };
        Ok(record.heads.iter().find(ours).map(|h| h.entry))
    }

    /// The staged file is not wanted any more: it is removed.
    pub fn unstage(&self, intent: &Intent) -> Result<()> {
        self.finish(intent)
    }

    /// The intents that are not done, oldest first: what a kill has left.
    pub fn intents(&self) -> Result<Vec<Intent>> {
        Ok(self.open_intents()?.0)
    }

    /// And how many there are that can't be read.
    fn open_intents(&self) -> Result<(Vec<Intent>, usize)> {
        let store = &self.store;
        let mut open: BTreeMap<u64, Bytes>;
        {
            // IMPORTANT: one lock around both, so that what the applier moves meanwhile is in the one or in the other. Of an
            // intent that was missed here an opening would remove the file.
            let overlay = store.view.overlay.read();
            open = store.view.state.read()?.intents()?.into_iter().collect();
            for (id, body) in overlay.intents() {
                match body {
                    Some(body) => drop(open.insert(*id, body.clone())),
                    None => drop(open.remove(id)),
                }
            }
        }
        let dir = store.dir.join(STAGING);
        let intents: Vec<_> = open.values().filter_map(|body| decode(body, &dir)).collect();
        let unreadable = open.len() - intents.len();
        Ok((intents, unreadable))
    }

    /// Waits until the files that were closed before are entries, `at_most` so long. False: some aren't. Blocks.
    pub fn wait_promoted(&self, at_most: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(at_most);
        let Some(last) = self.intents()?.iter().map(|intent| intent.id).max() else { return Ok(true) };
        let (lock, finished) = &self.store.finished;
        let mut held = lock.lock();
        // IMPORTANT: looked at under the lock that `finish` takes afterwards, so that none is missed.
        while self.intents()?.iter().any(|intent| intent.id <= last) {
            match deadline {
                None => finished.wait(&mut held),
                Some(deadline) if finished.wait_until(&mut held, deadline).timed_out() => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(true)
    }

    fn finish(&self, intent: &Intent) -> Result<()> {
        let store = &self.store;
        {
            let mut writer = store.writer.lock();
            let record = RecordRef::IntentDone { id: intent.id };
            let positions = writer.log.append(&[record]).map_err(|e| writer.log_error(e))?;
            let mut overlay = store.view.overlay.write();
            overlay.put_intent(intent.id, None);
            store.unsynced.forget(intent.id);
            overlay.publish(Some(positions[0]).filter(|_| store.stalled.read().is_none()));
        }
        store.work.dirty(0);
        drop(store.finished.0.lock());
        store.finished.1.notify_all();
        // The name in `staging/`: an adopted file has another one among the packs.
        match store.disk.remove(&intent.file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(format!("cannot remove {}", intent.file.display()))(e))
            }
            _ => Ok(()),
        }
    }

    /// Promotes what a kill has left, and removes staged files that no intent names. For a store just opened. What can't be
    /// promoted now (the disk is full, the file can't be read) keeps nothing else: it stays staged until the next opening.
    pub fn recover_staged(&self) -> Result<()> {
        let (intents, unreadable) = self.open_intents()?;
        intents.iter().for_each(|intent| self.store.unsynced.add(intent));
        if let Err(e) = self.store.unsynced.sync(&*self.store.disk) {
            tracing::warn!(store = %self.store.id, "what was closed last may not survive a power loss: {e}");
        }
        let mut left = BTreeSet::new();
        for (i, intent) in intents.iter().enumerate() {
            if let Err(e) = self.recover(intent, &intents[i + 1..]) {
                tracing::error!(
                    store = %self.store.id, key = %intent.key, file = %intent.file.display(),
                    "what was closed last can't be stored ({e}): it stays there, and is tried again when the store is opened"
                );
                left.insert(intent.file.clone());
            }
        }
        let dir = self.store.dir.join(STAGING);
        if unreadable > 0 {
            tracing::error!(
                store = %self.store.id,
                "{unreadable} records of staged files can't be read: nothing is removed from {}", dir.display()
            );
            return Ok(());
        }
        let files = self.store.disk.list(&dir).unwrap_or_default();
        for file in files.into_iter().map(|name| dir.join(name)).filter(|file| !left.contains(file)) {
            // Nothing has been closed into it: its writer died first.
            let _ = self.store.disk.remove(&file);
        }
        Ok(())
    }

    /// Does what an intent says, given those that were logged after it.
    fn recover(&self, intent: &Intent, later: &[Intent]) -> Result<()> {
        if later.iter().any(|later| later.replaces(intent)) {
            // The same file at an earlier close: before it is cut or looked at, because both names lead to the same
            // bytes, and those are the later one's.
            return self.finish(intent);
        }
        if intent.size == 0 && self.is_outdated(intent)? {
            return self.finish(intent);
        }
        if self.is_whole(intent)? {
            return self.promote(intent).map(drop);
        }
        tracing::warn!(key = %intent.key, "a staged file did not survive a power loss; it was not fsynced");
        self.finish(intent)
    }

    /// Whether a file that was logged while empty has been written since, and the kill came before the record that this
    /// is done: one of the key's heads is this node's version of the same file, and not one that it was made from.
    fn is_outdated(&self, intent: &Intent) -> Result<bool> {
        let Some(record) = self.get(&intent.key)? else { return Ok(false) };
        let Cites::Heads(seen) = &intent.cites else { return Ok(false) };
        Ok(record.heads.iter().any(|head| {
            head.entry.author == self.author()
                && !seen.contains(&head.entry.id)
                && head.node.as_ref().is_some_and(|n| n.file_id == intent.node.file_id)
        }))
    }

    /// Whether the staged file has all that was closed into it. A kill leaves at least that: what was written after the
    /// close, and never closed, is cut off. So does a power loss after a sync of the log, which [`Unsynced`] makes wait for
    /// the file; before one it may leave less, and then what was there before stays: nothing was promised of it.
    ///
    /// [`Unsynced`]: super::unsynced::Unsynced
    fn is_whole(&self, intent: &Intent) -> Result<bool> {
        if intent.size == 0 {
            return Ok(true);
        }
        let disk = &self.store.disk;
        let len = match disk.open(&intent.file, Open::Read).and_then(|f| f.len()) {
            Ok(len) => len,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StoreError::io(format!("cannot open {}", intent.file.display()))(e)),
        };
        if len > intent.size {
            let cut = disk.open(&intent.file, Open::Write).and_then(|f| f.set_len(intent.size));
            cut.map_err(StoreError::io(format!("cannot cut {}", intent.file.display())))?;
        }
        Ok(len >= intent.size)
    }
}

impl Intent {
    /// Whether this one, logged later, was made of the same open file: then the other is what it held before.
    fn replaces(&self, other: &Self) -> bool {
        self.key == other.key && self.node.file_id == other.node.file_id && self.cites == other.cites
    }
}

fn encode(intent: &Intent) -> Vec<u8> {
    let (cites_all, cites) = match &intent.cites {
        Cites::All => (true, Vec::new()),
        Cites::Heads(ids) => (false, ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect()),
    };
    let node = Node { value: Value::File(Content::EMPTY), ..intent.node.clone() };
    v1::IntentRow {
        id: intent.id,
        file: intent.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        key: intent.key.to_bytes(),
        node: Some((&node).into()),
        cites_all,
        cites,
        size: intent.size,
    }
    .encode_to_vec()
}

/// An intent's id; 0 when the body is not one.
pub(super) fn id_of(body: &Bytes) -> u64 {
    v1::IntentRow::decode(body.clone()).map_or(0, |row| row.id)
}

/// `None`: it can't be read.
fn decode(body: &Bytes, dir: &Path) -> Option<Intent> {
    let row = v1::IntentRow::decode(body.clone()).ok()?;
    let cites = if row.cites_all {
        Cites::All
    } else {
        Cites::Heads(row.cites.iter().map(|id| EntryId::from_slice(id)).collect::<Option<_>>()?)
    };
    Some(Intent {
        id: row.id,
        file: dir.join(&row.file),
        key: Key::from_wire(row.key).ok()?,
        node: row.node?.try_into().ok()?,
        cites,
        size: row.size,
    })
}
