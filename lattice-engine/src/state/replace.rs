//! A state that is made anew beside the one in use, and takes its place in one step: readers see the old records or the
//! new ones. What isn't derived from the log, where chunks are, stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Durability, ReadableDatabase, ReadableTable};

use crate::disk::Disk;
use crate::id::NodeId;

use super::db::{State, StateError};
use super::tables::*;

/// How much of a chain is projected, where that isn't all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// The last entry that is.
    pub upto: u64,
    /// The last entry that one which is projected builds on, directly or not; at most `upto`: none beyond.
    pub needed: u64,
}

impl State {
    /// An empty state in `path` whose rows name authors as this one's do.
    pub fn beside(&self, disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, StateError> {
        let _ = disk.remove(path);
        let new = Self::open(disk, path)?;
        new.adopt_authors(self).map_err(|e| new.damaged(&e))?;
        Ok(new)
    }

    /// Takes over everything that `new`, made by [`State::beside`], derives from the log. Nothing may be applied to either
    /// meanwhile. Not durable by itself: a crash leaves the old one, whose marks and cuts tell what it is.
    pub fn take_over(&self, new: &Self) -> Result<(), StateError> {
        self.adopt_authors(new).and_then(|()| self.copy(new)).map_err(|e| self.damaged(&e))
    }

    /// Forgets everything that is derived from the log, as if nothing had been applied.
    pub fn clear(&self) -> Result<(), StateError> {
        let clear = || -> Result<(), redb::Error> {
            let mut txn = self.db.begin_write()?;
            txn.set_durability(Durability::None)?;
            wipe(&txn)?;
            txn.commit()?;
            self.committed();
            Ok(())
        };
        clear().map_err(|e| self.damaged(&e))
    }

    /// The chains that are not projected whole.
    pub fn cuts(&self) -> Result<BTreeMap<NodeId, Cut>, StateError> {
        let read = || -> Result<BTreeMap<NodeId, Cut>, redb::Error> {
            let mut cuts: BTreeMap<NodeId, Cut> = BTreeMap::new();
            for row in self.db.begin_read()?.open_table(META)?.iter()? {
                let (name, value) = row?;
                let (name, value) = (name.value(), value.value());
                if let Some(author) = name.strip_prefix(META_CUT).and_then(|a| a.parse().ok()) {
                    cuts.entry(author).or_default().upto = value;
                } else if let Some(author) = name.strip_prefix(META_NEEDED).and_then(|a| a.parse().ok()) {
                    cuts.entry(author).or_default().needed = value;
                }
            }
            Ok(cuts)
        };
        read().map_err(|e| self.damaged(&e))
    }

    fn copy(&self, new: &Self) -> Result<(), redb::Error> {
        let from = new.db.begin_read()?;
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::None)?;
        wipe(&txn)?;
        macro_rules! copy {
            ($($table:ident),*) => {$({
                let mut to = txn.open_table($table)?;
                for row in from.open_table($table)?.iter()? {
                    let (key, value) = row?;
                    to.insert(key.value(), value.value())?;
                }
            })*};
        }
        copy!(RECORDS, CONFLICTS, DORMANT, ENTRIES, TIPS, BRANCHES, INTENTS, META);
        txn.commit()?;
        self.committed();
        Ok(())
    }
}

/// Empties the tables that a replay fills.
fn wipe(txn: &redb::WriteTransaction) -> Result<(), redb::Error> {
    macro_rules! empty {
        ($($table:ident),*) => {$({
            txn.delete_table($table)?;
            txn.open_table($table)?;
        })*};
    }
    empty!(RECORDS, CONFLICTS, DORMANT, ENTRIES, TIPS, BRANCHES, INTENTS);
    txn.open_table(META)?.retain(|name, _| name == META_VERSION)?;
    Ok(())
}
