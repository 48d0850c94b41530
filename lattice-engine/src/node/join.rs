//! Making a data directory that begins with another node's root store. A directory that has stores of its own is refused:
//! two root stores can't become one. One that was only initialised gives its empty root store up.

use std::path::Path;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::entry::Entry;
use crate::id::StoreId;
use crate::identity::Identity;
use crate::store;

use super::error::{NodeError, Result};
use super::lock::Lock;
use super::{Layout, Node, files, options};

impl Node {
    /// The identity that joins from `dir`: the one that is there, or a new one.
    pub fn prepare_to_join(dir: &Path) -> Result<Identity> {
        let layout = Layout { dir: dir.to_path_buf() };
        if layout.root().exists() {
            let node = Self::open(dir)?;
            let stores = node.stores().map(|s| s.len());
            let others = node.membership().active().any(|id| *id != node.id());
            node.close()?;
            let has = match stores? {
                _ if others => "is a member of a mesh".to_owned(),
                0 => String::new(),
                1 => "has a store of its own".to_owned(),
                n => format!("has {n} stores of its own"),
            };
            if !has.is_empty() {
                return Err(NodeError::Refused(format!(
                    "{} {has}, and a node is of one mesh: join with another data directory (--home DIR), or export the \
                     stores, remove this directory, join, and import them",
                    dir.display()
                )));
            }
        }
        files::make_private_dir(dir)?;
        Ok(Identity::load_or_create(&layout.identity())?)
    }

    /// Makes the data directory with the root store that begins with `genesis`, after [`Node::prepare_to_join`].
    pub fn init_joined(dir: &Path, genesis: &Entry) -> Result<StoreId> {
        let layout = Layout { dir: dir.to_path_buf() };
        let _lock = Lock::take(dir)?;
        files::make_private_dir(&layout.stores())?;
        let before = layout.root().exists().then(|| files::read_root(&layout.root())).transpose()?;
        let options = options(Identity::load(&layout.identity())?, Arc::new(SystemClock));
        let root = store::adopt(&layout.stores(), genesis, &options)?;
        let id = root.id();
        root.close()?;
        files::write_durably(&*options.disk, &layout.root(), format!("{id}\n").as_bytes())?;
        if let Some(empty) = before.filter(|before| *before != id) {
            let dir = layout.stores().join(empty.to_string());
            std::fs::remove_dir_all(&dir)
                .map_err(NodeError::io(format!("cannot remove the empty store {}", dir.display())))?;
        }
        Ok(id)
    }
}
