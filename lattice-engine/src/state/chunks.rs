//! The chunk index on redb: `content`'s rows beside the records', in the same file.
//!
//! So what content makes durable takes along the records that were applied before. It goes through a [`Door`]: whoever
//! applies records says how the state is made durable without getting ahead of their log.

use std::sync::OnceLock;

use redb::{Durability, ReadableDatabase, ReadableTable};

use crate::content::{ChunkIndex, IndexBatch, IndexError, Location};
use crate::id::ChunkId;

use super::db::State;
use super::overlay::Snapshot;
use super::tables::{CHUNKS, ChunkRow, PACKS};

type Result<T> = std::result::Result<T, IndexError>;

/// Makes durable what was applied.
type MakeDurable = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// How a state is made durable; without a word of it, at once.
#[derive(Default)]
pub(super) struct Door(OnceLock<MakeDurable>);

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

impl State {
    /// From now on content makes this durable by `make_durable`, which ends in a durable [`State::apply`]. To be said once.
    pub fn door(&self, make_durable: impl Fn() -> Result<()> + Send + Sync + 'static) {
        // A second one would come from a second store over one file, which its lock rules out.
        let _ = self.door.0.set(Box::new(make_durable));
    }

    fn apply_chunks(
        txn: &redb::WriteTransaction,
        batch: &IndexBatch,
    ) -> std::result::Result<(), redb::Error> {
        let mut chunks = txn.open_table(CHUNKS)?;
        for id in &batch.removes {
            chunks.remove(id.as_bytes())?;
        }
        for (id, l) in &batch.inserts {
            chunks.insert(id.as_bytes(), (l.pack, l.offset, l.stored_len, l.len, l.flags))?;
        }
        let mut packs = txn.open_table(PACKS)?;
        for (pack, mark) in &batch.marks {
            match mark {
                Some(mark) => packs.insert(pack, mark)?.is_some(),
                None => packs.remove(pack)?.is_some(),
            };
        }
        Ok(())
    }

    fn commit_chunks(&self, batch: &IndexBatch) -> std::result::Result<(), redb::Error> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::None)?;
        Self::apply_chunks(&txn, batch)?;
        txn.commit()?;
        self.committed();
        Ok(())
    }
}

fn location((pack, offset, stored_len, len, flags): ChunkRow) -> Location {
    Location { pack, offset, stored_len, len, flags }
}

impl ChunkIndex for State {
    fn get(&self, id: &ChunkId) -> Result<Option<Location>> {
        Ok(self.begin()?.chunks.get(id.as_bytes())?.map(|row| location(row.value())))
    }

    fn apply(&self, batch: &IndexBatch, durable: bool) -> Result<()> {
        if !batch.is_empty() {
            self.commit_chunks(batch)?;
        }
        match self.door.0.get() {
            _ if !durable => Ok(()),
            Some(make_durable) => make_durable(),
            None => Ok(State::apply(self, &Snapshot::default(), true)?),
        }
    }

    fn marks(&self) -> Result<Vec<(u64, u64)>> {
        let table = self.db.begin_read()?.open_table(PACKS)?;
        table.iter()?.map(|row| row.map(|(k, v)| (k.value(), v.value())).map_err(Into::into)).collect()
    }

    fn for_each(&self, visit: &mut dyn FnMut(ChunkId, Location)) -> Result<()> {
        let table = self.db.begin_read()?.open_table(CHUNKS)?;
        for row in table.iter()? {
            let (id, row) = row?;
            visit(ChunkId(*id.value()), location(row.value()));
        }
        Ok(())
    }
}
