//! From staged bytes to an entry: the one place where a file's content is committed.
//!
//! Locks are taken in this order: a [`Gate`], the volume's `tree`, an inode's state, the table. Only a gate is closed for
//! long: see there.

use std::sync::Arc;

use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::store::{Change, Cites, Expect, Reader, StoreError};
use parking_lot::MutexGuard;

use super::errno::{self, Errno, Result};
use super::inode::{Inode, State, cites};
use super::staged::{Body, StageError, Staged};
use super::underway::{Gate, Underway};
use super::volume::Volume;
use super::watch::shows_opened;
use super::{Fs, early};

impl Fs {
    /// Commits what is staged, if anything new is.
    pub(super) fn save(&self, volume: &Volume, inode: &Arc<Inode>) -> Result<()> {
        self.save_unless(volume, inode, |_| false)
    }

    /// Whether anything waits to be committed, what was written through a mapping included.
    fn has_news(&self, volume: &Volume, inode: &Arc<Inode>) -> Result<bool> {
        self.write_back(volume, inode)?;
        let mut state = inode.state.lock();
        self.see_mapped(volume, inode, &mut state)?;
        Ok(state.is_dirty())
    }

    /// The same at a close, which need not be the last: a shell that redirects into a file closes a copy of the descriptor
    /// before anything is written, and that emptiness is no version of its own. It is logged, and so survives a kill.
    pub(super) fn save_at_close(&self, volume: &Volume, inode: &Arc<Inode>) -> Result<()> {
        self.save_unless(volume, inode, may_be_later)
    }

    fn save_unless(&self, volume: &Volume, inode: &Arc<Inode>, later: impl Fn(&State) -> bool) -> Result<()> {
        loop {
            if !self.has_news(volume, inode)? {
                return Ok(());
            }
            // With no lock held.
            volume.handle.wait_writes();
            let tree = volume.tree.read();
            let mut state = inode.state.lock();
            if let Some(gate) = state.frozen.clone() {
                // Somebody saves it.
                drop((state, tree));
                drop(gate.lock());
                continue;
            }
            let parts = state.staged.as_ref().filter(|s| s.is_dirty()).map(Staged::twin).transpose();
            let parts = parts.map_err(|e| self.stage_failed(volume, "write", inode, &e.into()))?;
            if let (Some(parts), Some(base), false) =
                (parts.flatten(), state.content().cloned(), state.unlinked)
            {
                let gate = Gate::default();
                let _closed = gate.lock();
                state.frozen = Some(gate.clone());
                drop((state, tree));
                return self.save_parts(volume, inode, &base, &parts);
            }
            let later = later(&state);
            return self.save_as(volume, inode, &mut state, later);
        }
    }

    /// What changed in the middle of a large file may take long to store: with no lock held. Where it goes is known after
    /// that, for it may have been renamed or removed meanwhile.
    fn save_parts(&self, volume: &Volume, inode: &Arc<Inode>, base: &Content, parts: &Staged) -> Result<()> {
        let _pin = volume.handle.content().pin();
        let content = volume.writable().map(|()| update(volume, base, parts));
        let _tree = volume.tree.read();
        let mut state = inode.state.lock();
        state.frozen = None;
        let content = content?;
        let attrs = state.staged.as_ref().map(|s| s.attrs.clone());
        let Some(attrs) = attrs.filter(|_| !state.unlinked) else {
            return Ok(());
        };
        let attrs = Attrs { mtime: Some(state.meta.mtime), ..attrs };
        let key = self.table.key(volume, inode.ino, None)?;
        let content = content.map_err(|e| volume.failed("write", &key, &e))?;
        self.refresh_cites(volume, &key, &mut state)?;
        self.put(volume, inode, &key, &mut state, content, attrs)?;
        self.rebase(volume, &key, &mut state)
    }

    /// [`Fs::save`] with `tree` (shared) and the state held.
    pub(super) fn save_locked(&self, volume: &Volume, inode: &Inode, state: &mut State) -> Result<()> {
        self.save_as(volume, inode, state, false)
    }

    /// [`Fs::save_at_close`] with `tree` (shared) and the state held.
    pub(super) fn save_at_close_locked(
        &self,
        volume: &Volume,
        inode: &Inode,
        state: &mut State,
    ) -> Result<()> {
        let later = may_be_later(state);
        self.save_as(volume, inode, state, later)
    }

    /// `later`: log what is staged, and leave the entry to the release.
    fn save_as(&self, volume: &Volume, inode: &Inode, state: &mut State, later: bool) -> Result<()> {
        if state.unlinked || !state.is_dirty() {
            return Ok(());
        }
        volume.writable()?;
        let key = self.table.key(volume, inode.ino, None)?;
        self.refresh_cites(volume, &key, state)?;
        let Some(staged) = &mut state.staged else {
            return Ok(());
        };
        let mut attrs = staged.attrs.clone();
        attrs.mtime = Some(state.meta.mtime);
        match &staged.body {
            Body::File(_) => return self.log_intent(volume, inode, &key, state, attrs),
            Body::Memory(_) if later => return self.log_intent(volume, inode, &key, state, attrs),
            Body::Memory(bytes) => {
                // Its chunks are spared by a collection until the entry names them.
                let _pin = volume.handle.content().pin();
                let content =
                    volume.handle.put_content(bytes).map_err(|e| volume.failed("write", &key, &e))?;
                self.put(volume, inode, &key, state, content, attrs)?;
            }
            // Only a file is written over, and only what the store knows: see `save_parts`.
            Body::Overlay { .. } => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn put(
        &self,
        volume: &Volume,
        inode: &Inode,
        key: &Key,
        state: &mut State,
        content: Content,
        attrs: Attrs,
    ) -> Result<()> {
        let value = Value::File(content);
        let node = Node { file_id: state.file_id, value: value.clone(), attrs };
        let cites = Cites::Heads(state.cites.clone());
        let put = Change::Put { key: key.clone(), node, cites, expect: Expect::Beside };
        let entry = self.commit(volume, "write", key, vec![put])?;
        state.value = value;
        state.cites.clear();
        state.cites.push(entry.id);
        state.reader = None;
        if let Some(staged) = &mut state.staged {
            staged.set_clean();
            staged.attrs = Attrs::default();
        }
        // Of the same open file when it was still empty, logged at an earlier close.
        if let Some(before) = state.intent.take() {
            self.table.unpin(inode.ino);
            volume.handle.unstage(&before.intent).map_err(|e| volume.failed("write", key, &e))?;
        }
        self.committed(inode, state);
        Ok(())
    }

    /// The store knows the file from now on.
    fn committed(&self, inode: &Inode, state: &mut State) {
        if !std::mem::replace(&mut state.committed, true) {
            self.table.settle(inode.ino);
        } else if !self.table.is_named(inode.ino) {
            // It was changed or deleted elsewhere while it was open here: the name shows something else by now.
            self.queue.recheck(inode);
        }
        self.drop_clean(state);
    }

    /// After a commit, what is written next goes over the new content.
    fn rebase(&self, volume: &Volume, key: &Key, state: &mut State) -> Result<()> {
        let Some(content) = state.content().cloned() else {
            return Ok(());
        };
        let Some(Staged { body: Body::Overlay { base, base_len, over, written, whole }, .. }) =
            &mut state.staged
        else {
            return Ok(());
        };
        *base = volume.handle.read(&content).map_err(|e| volume.failed("write", key, &e))?;
        *base_len = base.size();
        *written = Default::default();
        if *whole {
            return Ok(());
        }
        over.file().and_then(|f| f.set_len(0)).map_err(|e| errno::of_staging("write", &key.to_string(), &e))
    }

    /// A directory was renamed since: if it stood above, the same version has other heads now. Another version, which came
    /// meanwhile, was not seen: it stays beside what is saved.
    fn refresh_cites(&self, volume: &Volume, key: &Key, state: &mut State) -> Result<()> {
        let epoch = volume.epoch();
        if state.epoch == epoch {
            return Ok(());
        }
        if state.committed
            && let Some(record) = self.record(volume, "write", key)?
            && shows_opened(volume, &record, state)
        {
            state.cites = cites(&record);
        }
        state.epoch = epoch;
        Ok(())
    }

    /// Makes sure that there is something to write into: the file's bytes, or none of them.
    pub(super) fn ensure_staged(
        &self,
        volume: &Volume,
        inode: &Arc<Inode>,
        state: &mut State,
        empty: bool,
    ) -> Result<()> {
        self.share(volume, inode, state)?;
        if state.staged.is_some() {
            return Ok(());
        }
        let staged = if empty {
            Staged::empty()
        } else {
            let reader = self.reader(volume, inode, state)?;
            Staged::over(reader, || volume.handle.staging_path())
                .map_err(|e| self.stage_failed(volume, "write", inode, &e))?
        };
        state.staged = Some(staged);
        Ok(())
    }

    /// The version that is open, opened.
    pub(super) fn reader(&self, volume: &Volume, inode: &Inode, state: &mut State) -> Result<Reader> {
        if let Some(reader) = &state.reader {
            return Ok(reader.clone());
        }
        let content = state.content().ok_or(Errno::INVAL)?;
        let reader = volume.handle.read(content).map_err(|e| {
            let key = self.table.key(volume, inode.ino, None).unwrap_or(Key::ROOT);
            volume.failed("read", &key, &e)
        })?;
        state.reader = Some(reader.clone());
        Ok(reader)
    }

    /// Before a file loses its name: who has it open goes on reading it, whatever a collection removes.
    pub(super) fn hold_open(&self, volume: &Volume, inode: &Inode, state: &mut State) -> Result<()> {
        let needs =
            state.opens > 0 && state.staged.is_none() && state.content().is_some_and(|c| c.size() > 0);
        match needs.then(|| self.reader(volume, inode, state)) {
            // What never came can't be held; a peer may still have it.
            None | Some(Ok(_) | Err(errno::NOT_HERE)) => Ok(()),
            Some(Err(e)) => Err(e),
        }
    }

    /// Puts a file on the list of those that are committed when they stay quiet. As long as it is there the kernel may
    /// forget it, and it stays.
    pub(super) fn note_dirty(&self, inode: &Arc<Inode>, state: &mut State) {
        // What has no name yet isn't committed, and is gone once the kernel forgets it.
        if state.linkable {
            return;
        }
        let Some(staged) = state.staged.as_mut().filter(|s| s.is_dirty()) else {
            return;
        };
        if !std::mem::replace(&mut staged.listed, true) {
            self.queue.quiet(inode);
        }
        if !std::mem::replace(&mut state.kept, true) {
            self.table.pin(inode.ino);
        }
    }

    /// It is on that list no more.
    pub(super) fn let_go(&self, inode: &Inode, state: &mut State) {
        if std::mem::take(&mut state.kept) {
            self.table.unpin(inode.ino);
        }
    }

    pub(super) fn stage_failed(
        &self,
        volume: &Volume,
        operation: &'static str,
        inode: &Inode,
        error: &StageError,
    ) -> Errno {
        let key = self.table.key(volume, inode.ino, None).unwrap_or(Key::ROOT);
        match error {
            StageError::Store(e) => volume.failed(operation, &key, e),
            StageError::Io(e) => errno::of_staging(operation, &key.to_string(), e),
        }
    }

    /// Logs that a staged file, or an empty one, is to become this key's value. From here it survives a kill; a thread
    /// does the rest once nobody writes it any more.
    fn log_intent(
        &self,
        volume: &Volume,
        inode: &Inode,
        key: &Key,
        state: &mut State,
        attrs: Attrs,
    ) -> Result<()> {
        let mut path = volume.handle.staging_path().map_err(|e| volume.failed("write", key, &e))?;
        if let Some(Staged { body: Body::File(file), .. }) = &mut state.staged {
            path = file.hand_over(path).map_err(|e| errno::of_staging("write", &key.to_string(), &e))?;
        }
        let size = state.size();
        let node = Node { file_id: state.file_id, value: Value::File(Content::EMPTY), attrs };
        let cites = Cites::Heads(state.cites.clone());
        let intent = volume
            .handle
            .stage(path, key.clone(), node, cites, size)
            .map_err(|e| volume.failed("write", key, &e))?;
        let gate = state.intent.as_ref().map(|before| before.gate.clone()).unwrap_or_default();
        let before = state.intent.replace(Arc::new(Underway::new(intent, gate)));
        match before {
            None => self.table.pin(inode.ino),
            // The same file, as it was at an earlier close.
            Some(before) => {
                volume.handle.unstage(&before.intent).map_err(|e| volume.failed("write", key, &e))?
            }
        }
        if let Some(staged) = &mut state.staged {
            staged.set_clean();
        }
        Ok(())
    }

    /// Waits until a file on its way has arrived, bringing it there if nobody does. Not with `tree` or a state held.
    pub(super) fn settle_intent(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        let Some(underway) = inode.state.lock().intent.clone() else {
            return Ok(());
        };
        let _gate = underway.gate.lock();
        let current = |state: &State| state.intent.as_ref().is_some_and(|c| Arc::ptr_eq(c, &underway));
        let mut latest = underway.clone();
        {
            let _tree = volume.tree.read();
            let mut state = inode.state.lock();
            if !current(&state) {
                return Ok(());
            }
            if state.writers > 0 || underway.intent.size == 0 {
                self.save_locked(volume, inode, &mut state)?;
                match state.intent.clone() {
                    Some(intent) => latest = intent,
                    None => return Ok(()),
                }
                if latest.intent.size == 0 {
                    // It takes no time.
                    let entry = self.promote_file(volume, &latest)?;
                    return self.arrived(volume, inode, &mut state, &latest, entry);
                }
                // Adopted bytes must not change: who writes the file waits at the gate, which is the same, and goes on
                // over its new content.
                state.frozen = Some(latest.gate.clone());
            }
        }
        // With no lock held. Whoever opens it for writing waits at the gate, and so does who would move or remove it.
        let entry = self.promote_file(volume, &latest);
        let mut state = inode.state.lock();
        state.frozen = None;
        self.arrived(volume, inode, &mut state, &latest, entry?)
    }

    fn promote_file(&self, volume: &Volume, underway: &Underway) -> Result<EntryId> {
        let intent = &underway.intent;
        if volume.handle.network().is_some() {
            early::write_out(&intent.file, intent.size);
        }
        let promoted = volume.handle.promote(intent);
        promoted.map(|entry| entry.id).map_err(|e| volume.failed("write", &intent.key, &e))
    }

    /// The store has a large file's content: what was read from the staging directory is the store's now.
    fn arrived(
        &self,
        volume: &Volume,
        inode: &Inode,
        state: &mut State,
        underway: &Underway,
        entry: EntryId,
    ) -> Result<()> {
        let record = self.record(volume, "write", &underway.intent.key)?;
        let head = record.as_ref().and_then(|r| r.heads.iter().find(|h| h.entry.id == entry));
        if let Some(node) = head.and_then(|h| h.node.as_ref()) {
            state.value = node.value.clone();
        }
        state.cites = vec![entry];
        state.intent = None;
        if !state.is_dirty() {
            state.staged = None;
        }
        state.reader = None;
        self.lent_arrived(volume, inode, state);
        self.committed(inode, state);
        self.table.unpin(inode.ino);
        Ok(())
    }

    /// An inode's state, with nothing of it on its way: what changes now can't corrupt that, and is committed after it.
    pub(super) fn settled<'a>(&self, volume: &Volume, inode: &'a Inode) -> Result<MutexGuard<'a, State>> {
        loop {
            self.settle_intent(volume, inode)?;
            let state = inode.state.lock();
            match state.frozen.clone() {
                None if state.intent.is_none() => return Ok(state),
                None => {}
                Some(gate) => {
                    drop(state);
                    drop(gate.lock());
                }
            }
        }
    }

    /// The file is going away: so is what was on its way to it.
    pub(super) fn drop_intent(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        let Some(underway) = inode.state.lock().intent.clone() else {
            return Ok(());
        };
        let _gate = underway.gate.lock();
        let mut state = inode.state.lock();
        if !state.intent.as_ref().is_some_and(|c| Arc::ptr_eq(c, &underway)) {
            return Ok(());
        }
        let key = &underway.intent.key;
        volume.handle.unstage(&underway.intent).map_err(|e| volume.failed("unlink", key, &e))?;
        state.intent = None;
        drop(state);
        self.table.unpin(inode.ino);
        Ok(())
    }

    /// Before directories move: what is on its way to a key below them goes there first.
    pub(super) fn settle_intents_below(&self, volume: &Volume, dirs: &[u64]) -> Result<()> {
        self.table.below(dirs).iter().try_for_each(|inode| self.settle_intent(volume, inode))
    }

    /// Whether anything is on its way to a key below these directories.
    pub(super) fn has_intents_below(&self, dirs: &[u64]) -> bool {
        self.table.below(dirs).iter().any(|inode| inode.state.lock().intent.is_some())
    }

    /// For `fsync`: a large file goes all the way.
    pub(super) fn make_durable(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        self.settle_intent(volume, inode)
    }
}

/// Nothing was written, and somebody's release is still to come.
fn may_be_later(state: &State) -> bool {
    let fresh = state.staged.as_ref().is_some_and(Staged::is_fresh);
    fresh && state.writers > 0 && state.intent.is_none()
}

/// The content of a staged file, of which only what changed is stored anew.
fn update(volume: &Volume, base: &Content, staged: &Staged) -> std::result::Result<Content, StoreError> {
    let changed = staged
        .changed_ranges()
        .map_err(|source| StoreError::Io { what: "read the staged file".into(), source })?;
    volume.handle.content().update(base, staged.size(), &changed, staged).map_err(StoreError::Content)
}
