//! Creating, finding, renaming and deleting stores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::sync::Arc;

use crate::entry::Entry;
use crate::id::{NodeId, StoreId};
use crate::store::{self, BundleReport, FsckReport, Handle, StoreError};

use super::declare::{self, Declaration, bad_name};
use super::error::{NodeError, Result};
use super::{Node, Opened, files, open_store};

/// What is said of a store whose genesis isn't here.
const WAITING: &str = "its data has not come from a peer yet";

/// A declared store, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    pub id: StoreId,
    pub name: String,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Why it can't be opened.
    pub broken: Option<String>,
}

impl Node {
    /// Declared stores (not the root), by name.
    pub fn stores(&self) -> Result<Vec<StoreInfo>> {
        let mut infos: Vec<StoreInfo> = self.declared()?.values().map(|d| self.info(d)).collect();
        infos.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(infos)
    }

    fn declared(&self) -> Result<Arc<BTreeMap<StoreId, Declaration>>> {
        self.0.declared.get_or(&self.0.root, || declare::read_all(&self.0.root).map(Arc::new))
    }

    fn info(&self, d: &Declaration) -> StoreInfo {
        let broken = match self.0.stores.read().get(&d.id) {
            Some(Opened::Broken(why)) => Some(why.clone()),
            Some(Opened::Open(_)) => None,
            Some(Opened::Waiting) | None => Some(WAITING.into()),
        };
        StoreInfo { id: d.id, name: d.name.clone(), created_ms: d.created_ms, broken }
    }

    /// Whether what [`Node::stores`] and [`Node::find`] ask for is in memory: then they never wait for the disk.
    pub fn remembers_stores(&self) -> bool {
        self.0.declared.get(&self.0.root).is_some()
    }

    /// By name, UUID or unique UUID prefix (at least four digits).
    pub fn find(&self, spec: &str) -> Result<Handle> {
        self.opened(self.find_info(spec)?.id)
    }

    /// The open store that a whole id or a name stands for, where that can be told from what is in memory. `None` says
    /// nothing: [`Node::find`] knows.
    pub fn find_now(&self, spec: &str) -> Option<Handle> {
        if let Some(store) = spec.parse().ok().and_then(|id| self.store(id)) {
            return Some(store);
        }
        let declared = self.0.declared.get(&self.0.root)?;
        let mut found = declared.values().filter(|d| d.name == spec);
        match (found.next(), found.next()) {
            (Some(one), None) => self.store(one.id),
            _ => None,
        }
    }

    /// A store that is declared and open; else why it isn't.
    pub fn opened(&self, id: StoreId) -> Result<Handle> {
        match self.0.stores.read().get(&id) {
            Some(Opened::Open(handle)) => Ok(handle.clone()),
            Some(Opened::Broken(why)) => Err(NodeError::Broken { id, why: why.clone() }),
            Some(Opened::Waiting) => Err(NodeError::Broken { id, why: WAITING.into() }),
            None => Err(NodeError::NoSuchStore(id.to_string())),
        }
    }

    /// As [`Node::find`], also for a store that can't be opened.
    pub fn find_info(&self, spec: &str) -> Result<StoreInfo> {
        let declared = self.declared()?;
        let mut found: Vec<&Declaration> = declared.values().filter(|d| d.name == spec).collect();
        if found.is_empty() {
            let hex = spec.to_ascii_lowercase().replace('-', "");
            let begins = |d: &&Declaration| d.id.to_string().replace('-', "").starts_with(&hex);
            found.extend(declared.values().filter(|d| hex.len() >= 4 && begins(d)));
        }
        match &found[..] {
            [one] => Ok(self.info(one)),
            [] => Err(NodeError::NoSuchStore(spec.into())),
            several => Err(NodeError::Ambiguous {
                spec: spec.into(),
                candidates: several.iter().map(|d| d.id.to_string()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    pub fn create_store(&self, name: &str) -> Result<Handle> {
        self.writable()?;
        let _naming = self.0.naming.lock();
        self.check_name(name, None)?;
        let handle = store::create(&self.0.layout.stores(), &self.store_options())?;
        self.declare(&handle, name)?;
        Ok(handle)
    }

    pub fn rename_store(&self, id: StoreId, name: &str) -> Result<()> {
        let _naming = self.0.naming.lock();
        self.check_name(name, Some(id))?;
        declare::rename(&self.0.root, id, name)?;
        self.changed();
        Ok(())
    }

    /// A tombstone in the root store; the data stays until [`Node::gc_stores`].
    pub fn delete_store(&self, id: StoreId) -> Result<()> {
        let _naming = self.0.naming.lock();
        declare::delete(&self.0.root, id)?;
        let removed = self.0.stores.write().remove(&id);
        self.changed();
        match removed {
            Some(Opened::Open(handle)) => Ok(handle.close()?),
            _ => Ok(()),
        }
    }

    /// Removes the data of stores that are no longer declared. Gives which.
    pub fn gc_stores(&self) -> Result<Vec<StoreId>> {
        self.writable()?;
        let _naming = self.0.naming.lock();
        let declared = declare::read_all(&self.0.root)?;
        let stores = self.0.layout.stores();
        let failed = |e| NodeError::io(format!("cannot clean {}", stores.display()))(e);
        let mut removed = Vec::new();
        for entry in std::fs::read_dir(&stores).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|n| n.parse::<StoreId>().ok()) else { continue };
            if id != self.0.root.id() && !declared.contains_key(&id) {
                std::fs::remove_dir_all(entry.path()).map_err(failed)?;
                removed.push(id);
            }
        }
        Ok(removed)
    }

    /// Takes in a bundle; a store that is new here is declared, under the bundle's name or one made from it. The bundle is
    /// kept in a file while it is checked, so one that is refused has changed nothing.
    pub fn import(
        &self,
        bundle: &mut dyn Read,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(StoreId, BundleReport)> {
        self.writable()?;
        let _one_at_a_time = self.0.importing.lock();
        let spool = files::spool(&self.0.layout.dir, bundle)?;
        let mut bundle = BufReader::with_capacity(1 << 20, &spool);
        let header = store::read_bundle_header(&mut bundle)?;
        let genesis = store::read_bundle_genesis(&header, &mut bundle)?;
        if header.store == self.0.root.id() {
            return Err(NodeError::Refused(
                "this bundle is of the root store, which peers sync and files don't".into(),
            ));
        }
        let here = self.store(header.store);
        // What is here already and the bundle builds on must not be collected between the two readings.
        let _pin = here.as_ref().map(|handle| handle.content().pin());
        store::check_bundle(&spool, here.as_ref(), self.0.options.clock.now_ms(), progress)?;
        let handle = match here {
            Some(handle) => handle,
            None => self.adopt(&header.name, &genesis)?,
        };
        // Who brings a bundle vouches for those who wrote it, in that store. A member could as well write the same itself.
        let mut vouch = |authors: &BTreeSet<NodeId>| match self.vouch(header.store, authors) {
            Err(NodeError::Store(e)) => Err(e),
            Err(e) => Err(StoreError::Refused(e.to_string())),
            Ok(()) => Ok(()),
        };
        let report = handle.import_vouched(&mut bundle, &mut vouch, progress)?;
        Ok((header.store, report))
    }

    fn adopt(&self, name: &str, genesis: &Entry) -> Result<Handle> {
        let _naming = self.0.naming.lock();
        let handle = store::adopt(&self.0.layout.stores(), genesis, &self.store_options())?;
        let base = if bad_name(name).is_none() { name } else { "imported" };
        let free = (1..).map(|n| if n == 1 { base.to_owned() } else { format!("{base}-{n}") });
        let taken = self.stores()?;
        let name = free.into_iter().find(|n| taken.iter().all(|s| s.name != *n)).unwrap_or_default();
        self.declare(&handle, &name)?;
        Ok(handle)
    }

    fn declare(&self, handle: &Handle, name: &str) -> Result<()> {
        let declaration = Declaration {
            id: handle.id(),
            name: name.into(),
            created_ms: self.0.options.clock.now_ms(),
            genesis: handle.genesis(),
        };
        declare::write(&self.0.root, &declaration)?;
        self.keep(handle)?;
        self.changed();
        Ok(())
    }

    fn check_name(&self, name: &str, except: Option<StoreId>) -> Result<()> {
        if let Some(why) = bad_name(name) {
            return Err(NodeError::BadName { name: name.into(), why });
        }
        let taken = |s: &StoreInfo| s.name == name && Some(s.id) != except;
        if self.stores()?.iter().any(taken) {
            return Err(NodeError::NameTaken(name.into()));
        }
        Ok(())
    }

    /// Opens what is declared and not open. A store that can't be opened doesn't keep the others.
    pub(super) fn reconcile(&self) -> Result<()> {
        let declared: BTreeMap<StoreId, Declaration> = declare::read_all(&self.0.root)?;
        for id in declared.into_keys() {
            if matches!(self.0.stores.read().get(&id), Some(Opened::Open(_) | Opened::Broken(_))) {
                continue;
            }
            let dir = self.0.layout.stores().join(id.to_string());
            if !dir.join("log").exists() {
                self.0.stores.write().insert(id, Opened::Waiting);
                continue;
            }
            match open_store(&dir, id, &self.store_options(), self.0.read_only) {
                Ok(handle) => self.keep(&handle)?,
                Err(e) => {
                    tracing::error!(store = %id, "cannot be opened: {e}");
                    self.0.stores.write().insert(id, Opened::Broken(e.to_string()));
                }
            };
        }
        Ok(())
    }

    /// Counts an open store among the others: from now on it hears of changes of the members.
    pub(super) fn keep(&self, handle: &Handle) -> Result<()> {
        self.0.stores.write().insert(handle.id(), Opened::Open(handle.clone()));
        // What has changed while it was opened; and once more, if it has changed again since it was asked.
        loop {
            let membership = self.membership();
            handle.set_membership(membership.clone())?;
            if *membership == *self.membership() {
                return Ok(());
            }
        }
    }
}

impl Node {
    /// Checks what can be checked of a store that can't be opened. With `rebuild` its state is moved aside first, and made
    /// anew from the log: that mends a state that is damaged or that a newer lattice wrote.
    pub fn fsck_broken(&self, id: StoreId, rebuild: bool) -> Result<FsckReport> {
        let dir = self.0.layout.stores().join(id.to_string());
        let options = &self.0.options;
        let why = match self.0.stores.read().get(&id) {
            Some(Opened::Broken(why)) => why.clone(),
            _ => return Err(NodeError::NoSuchStore(id.to_string())),
        };
        let mut report = store::check_closed(&*options.disk, &dir, &id)?;
        if !rebuild || !report.problems.is_empty() {
            report.problems.insert(0, why);
            return Ok(report);
        }
        let state = dir.join("state.redb");
        options
            .disk
            .rename(&state, &state.with_extension("redb.aside"))
            .map_err(NodeError::io(format!("cannot move {} aside", state.display())))?;
        let handle = open_store(&dir, id, &self.store_options(), self.0.read_only)?;
        self.keep(&handle)?;
        self.changed();
        Ok(handle.fsck(false, &mut |_| {})?)
    }
}
