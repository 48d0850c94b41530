//! Where the branches of forked chains stand: a row for each. Derived from the log like everything else here, and nearly
//! always none.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTable};

use crate::chain::ChainId;
use crate::id::NodeId;

use super::db::{State, StateError};
use super::tables::BRANCHES;

/// A branch of a forked chain: entries `first ..` of an author, which follow entry `first - 1` of another chain of that
/// author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    pub author: NodeId,
    pub first: u64,
    /// The chain that it leaves.
    pub parent: ChainId,
}

impl State {
    /// All branches.
    pub fn branches(&self) -> Result<BTreeMap<ChainId, Branch>, StateError> {
        let read = || -> Result<BTreeMap<ChainId, Branch>, redb::Error> {
            let mut branches = BTreeMap::new();
            for row in self.db.begin_read()?.open_table(BRANCHES)?.iter()? {
                let (name, value) = row?;
                let (author, first, parent) = value.value();
                let branch = Branch { author: NodeId(*author), first, parent: NodeId(*parent) };
                branches.insert(NodeId(*name.value()), branch);
            }
            Ok(branches)
        };
        read().map_err(|e| self.damaged(&e))
    }
}
