//! Following the root store: stores that peers declare, rename or delete appear and vanish here without a restart. A store
//! that is declared and whose data isn't here waits for its genesis, which a peer has; all else about it then comes by
//! sync.

use crate::entry::Entry;
use crate::id::{EntryId, StoreId};
use crate::store;

use super::declare;
use super::error::{NodeError, Result};
use super::{Node, Opened};

impl Node {
    /// Makes the open stores agree with the declarations. Gives the stores that wait for their genesis, with its id.
    pub fn follow_root(&self) -> Result<Vec<(StoreId, EntryId)>> {
        let _naming = self.0.naming.lock();
        let declared = declare::read_all(&self.0.root)?;
        let gone: Vec<(StoreId, Opened)> = {
            let mut open = self.0.stores.write();
            let ids: Vec<StoreId> = open.keys().filter(|id| !declared.contains_key(id)).copied().collect();
            ids.into_iter().filter_map(|id| Some((id, open.remove(&id)?))).collect()
        };
        self.reconcile()?;
        self.notice_changes();
        for (id, opened) in gone {
            tracing::info!(store = %id, "the store was deleted by a member");
            if let Opened::Open(handle) = opened
                && let Err(e) = handle.close()
            {
                tracing::warn!(store = %id, "did not close cleanly: {e}");
            }
        }
        let open = self.0.stores.read();
        let waiting = |id: &StoreId| matches!(open.get(id), Some(Opened::Waiting));
        Ok(declared.values().filter(|d| waiting(&d.id)).map(|d| (d.id, d.genesis)).collect())
    }

    /// Whether a store is declared and waits for its genesis.
    pub fn is_waiting(&self, id: &StoreId) -> bool {
        matches!(self.0.stores.read().get(id), Some(Opened::Waiting))
    }

    /// Tells those who follow the set of stores, if what lists and mounts show of it has changed since the last look.
    fn notice_changes(&self) {
        let now = self.shown();
        let before = std::mem::replace(&mut *self.0.shown.lock(), now.clone());
        if now != before {
            self.changed();
        }
    }

    /// What lists and mounts show of the stores.
    fn shown(&self) -> Vec<(StoreId, Option<String>)> {
        self.stores()
            .unwrap_or_default()
            .into_iter()
            .map(|s| (s.id, Some(s.name).filter(|_| s.broken.is_none())))
            .collect()
    }

    /// Makes the store that begins with `genesis`, which the root store declares and a peer has sent.
    pub fn take_genesis(&self, genesis: &Entry) -> Result<()> {
        self.writable()?;
        let id = StoreId::of_genesis(&genesis.id);
        let _naming = self.0.naming.lock();
        let declared = declare::read_all(&self.0.root)?;
        if declared.get(&id).is_none_or(|d| d.genesis != genesis.id) {
            return Err(NodeError::NoSuchStore(id.to_string()));
        }
        if matches!(self.0.stores.read().get(&id), Some(Opened::Open(_))) {
            return Ok(());
        }
        let handle = store::adopt(&self.0.layout.stores(), genesis, &self.store_options())?;
        self.keep(&handle)?;
        self.changed();
        Ok(())
    }
}
