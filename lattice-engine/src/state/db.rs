//! One state file: opening it, reading from it, applying batches to it.
//!
//! Commits are of two kinds. Most are `Durability::None`: fast, and gone after a crash, which is fine because the log
//! replays them. A durable one, two-phase, happens rarely (write amplification was 13 at one every 500 ms). It makes all
//! that was applied before durable, whoever asks for it, so it may only follow a sync of the log up to there, else the cache
//! would know entries that the log has lost: see [`State::door`].

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use crate::disk::{Disk, DiskFile, Open};
use crate::hlc::Hlc;
use crate::id::{EntryId, FileId, NodeId};
use crate::log::Position;
use crate::merge::{FileAttrs, Record};

use super::backend::Backend;
use super::chunks::Door;
use super::codec;
use super::overlay::{Snapshot, TipRow};
use super::rows::{Authors, RowKey};
use super::tables::*;

/// redb's page cache. At its default it takes most of a gigabyte. A million keys take some 160 bytes each, so that this
/// holds nearly all of them and the process stays under 300 MB.
const CACHE_BYTES: usize = 160 << 20;

/// What went wrong with a state file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by a later program: its meaning is unknown, and so is what it knows that we don't.
    #[error(
        "{} has state version {found}, and this lattice reads up to {STATE_VERSION}: use a newer lattice, or move \
         the file away to have it rebuilt from the log", path.display()
    )]
    Future { path: PathBuf, found: u64 },
    /// Not readable as what it should be. It is only a cache.
    #[error("{} is damaged ({why}): run `lattice fsck --rebuild` to make it anew from the log", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("cannot use {}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, StateError>;

/// What the file holds, as marks and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The last record of the log that is applied; `None`: none is.
    pub to: Option<Position>,
    /// Keys with a live version.
    pub live: u64,
    pub entries: u64,
}

#[derive(Debug, Default)]
pub(super) struct AuthorTable {
    indexes: HashMap<NodeId, u32>,
    authors: Vec<NodeId>,
}

impl Authors for AuthorTable {
    fn index(&mut self, author: &NodeId) -> u32 {
        *self.indexes.entry(*author).or_insert_with(|| {
            self.authors.push(*author);
            (self.authors.len() - 1) as u32
        })
    }

    fn author(&self, index: u32) -> Option<NodeId> {
        self.authors.get(index as usize).copied()
    }
}

/// An open state file. Every call may come from any thread; one `apply` at a time.
#[derive(Debug)]
pub struct State {
    /// What reads share until the next commit. Before `db`: redb is closed without readers.
    latest: RwLock<Option<Arc<Opened>>>,
    pub(super) db: Database,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    authors: RwLock<AuthorTable>,
    pub(super) door: Door,
}

impl State {
    /// Opens the file, or makes an empty one. It is only a cache: an older version is moved aside, and so is what is not
    /// a state file at all, for a replay to make it anew. One of a newer version is refused.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let why = match Self::open_existing(disk, path) {
            Ok(Some(state)) => return Ok(state),
            Ok(None) => "an older version".to_owned(),
            Err(StateError::Damaged { why, .. }) => why,
            Err(e) => return Err(e),
        };
        let aside = path.with_extension("redb.aside");
        tracing::warn!(state = %path.display(), aside = %aside.display(), why, "made anew from the log");
        disk.rename(path, &aside).map_err(|source| StateError::Io { path: path.into(), source })?;
        Self::open_existing(disk, path)?.ok_or_else(|| StateError::Damaged {
            path: path.into(),
            why: "a new file has an old version".into(),
        })
    }

    /// `None`: an older version.
    fn open_existing(disk: &Arc<dyn Disk>, path: &Path) -> Result<Option<Self>> {
        let file =
            disk.open(path, Open::Create).map_err(|source| StateError::Io { path: path.into(), source })?;
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Backend(file.clone()))
            .map_err(|e| open_failed(path, e.into()))?;
        let latest = RwLock::default();
        let (authors, door) = (RwLock::default(), Door::default());
        let mut state = Self { latest, db, path: path.into(), file, authors, door };
        let found = state.prepare().map_err(|e| open_failed(path, e))?;
        if found > STATE_VERSION {
            return Err(StateError::Future { path: path.into(), found });
        }
        if found < STATE_VERSION {
            return Ok(None);
        }
        state.load_authors().map_err(|e| damaged(path, &e))?;
        Ok(Some(state))
    }

    /// Makes the tables, so that readers always find them, and gives the version.
    fn prepare(&mut self) -> std::result::Result<u64, redb::Error> {
        if let Ok(meta) = self.db.begin_read()?.open_table(META)
            && let Some(version) = meta.get(META_VERSION)?
        {
            return Ok(version.value());
        }
        let mut txn = self.db.begin_write()?;
        txn.set_two_phase_commit(true);
        txn.open_table(RECORDS)?;
        txn.open_table(CONFLICTS)?;
        txn.open_table(DORMANT)?;
        txn.open_table(ENTRIES)?;
        txn.open_table(AUTHORS)?;
        txn.open_table(TIPS)?;
        txn.open_table(BRANCHES)?;
        txn.open_table(CHUNKS)?;
        txn.open_table(PACKS)?;
        txn.open_table(INTENTS)?;
        txn.open_table(META)?.insert(META_VERSION, STATE_VERSION)?;
        txn.commit()?;
        Ok(STATE_VERSION)
    }

    fn load_authors(&self) -> std::result::Result<(), redb::Error> {
        let mut authors = self.authors.write();
        for row in self.db.begin_read()?.open_table(AUTHORS)?.iter()? {
            let (index, id) = row?;
            let given = authors.index(&NodeId(*id.value()));
            debug_assert_eq!(given, index.value());
        }
        Ok(())
    }

    /// A consistent view of what has been applied.
    pub fn read(&self) -> Result<StateRead<'_>> {
        let at = self.begin().map_err(|e| self.damaged(&e))?;
        Ok(StateRead { state: self, at })
    }

    pub(super) fn begin(&self) -> std::result::Result<Arc<Opened>, redb::Error> {
        if let Some(at) = self.latest.read().clone() {
            return Ok(at);
        }
        let mut latest = self.latest.write();
        Ok(match &*latest {
            Some(at) => at.clone(),
            // IMPORTANT: begun under the lock, so that `committed`, which takes it after a commit, never leaves here
            // what was begun before that commit.
            None => latest.insert(Arc::new(self.begin_anew()?)).clone(),
        })
    }

    fn begin_anew(&self) -> std::result::Result<Opened, redb::Error> {
        let txn = self.db.begin_read()?;
        let records = txn.open_table(RECORDS)?;
        let chunks = txn.open_table(CHUNKS)?;
        Ok(Opened { txn, records, chunks })
    }

    /// There is something newer to read, and the pages that it replaced can be used again.
    pub(super) fn committed(&self) {
        self.latest.write().take();
    }

    /// Applies a batch. `durable` only after the log and the packs were synced up to it.
    pub fn apply(&self, batch: &Snapshot, durable: bool) -> Result<()> {
        self.try_apply(batch, durable).map_err(|e| open_failed(&self.path, e))
    }

    fn try_apply(&self, batch: &Snapshot, durable: bool) -> std::result::Result<(), redb::Error> {
        let mut txn = self.db.begin_write()?;
        if durable {
            txn.set_two_phase_commit(true);
        } else {
            // IMPORTANT: what this commits is lost with the process; the log must hold it, and does.
            txn.set_durability(Durability::None)?;
        }
        let mut authors = self.authors.write();
        let known = authors.authors.len();
        {
            let mut records = txn.open_table(RECORDS)?;
            let mut conflicts = txn.open_table(CONFLICTS)?;
            // Nearly always: spares a look-up for each record.
            let none = conflicts.is_empty()?;
            for (row, record) in &batch.records {
                records.insert(&row.0[..], &codec::encode(record, &mut *authors)[..])?;
                if record.conflict() > 0 {
                    conflicts.insert(&row.0[..], ())?;
                } else if !none {
                    conflicts.remove(&row.0[..])?;
                }
            }
            let mut dormant = txn.open_table(DORMANT)?;
            for ((row, file), attrs) in &batch.dormant {
                let key = (&row.0[..], file.as_bytes());
                match attrs {
                    Some(attrs) => {
                        let attrs = [(*file, (**attrs).clone())].into_iter().collect();
                        let alone = Record { attrs, ..Record::default() };
                        dormant.insert(key, &codec::encode(&alone, &mut *authors)[..])?;
                    }
                    None => drop(dormant.remove(key)?),
                }
            }
            // Those behind an entry that stalled the projection are replayed, and counted once.
            let mut new_entries = 0;
            let mut entries = txn.open_table(ENTRIES)?;
            for ((author, seq), (at, id)) in &batch.entries {
                let key = (authors.index(author), *seq);
                let old = entries.insert(key, (at.segment, at.offset, at.len, id.as_bytes()))?;
                new_entries += i64::from(old.is_none());
            }
            let mut tips = txn.open_table(TIPS)?;
            for (author, tip) in &batch.tips {
                let row = (tip.seq, tip.hlc.0, tip.id.as_bytes());
                tips.insert(authors.index(author), row)?;
            }
            let mut branches = txn.open_table(BRANCHES)?;
            for (name, branch) in &batch.branches {
                let row = (branch.author.as_bytes(), branch.first, branch.parent.as_bytes());
                branches.insert(name.as_bytes(), row)?;
            }
            let mut intents = txn.open_table(INTENTS)?;
            for (id, body) in &batch.intents {
                match body {
                    Some(body) => intents.insert(id, &body[..])?.is_some(),
                    None => intents.remove(id)?.is_some(),
                };
            }
            let mut meta = txn.open_table(META)?;
            if let Some(last) = batch.applied_to {
                meta.insert(META_SEGMENT, last.segment)?;
                meta.insert(META_OFFSET, last.offset)?;
                meta.insert(META_LEN, u64::from(last.len))?;
            }
            for (author, cut) in &batch.cuts {
                meta.insert(format!("{META_CUT}{author}").as_str(), cut.upto)?;
                meta.insert(format!("{META_NEEDED}{author}").as_str(), cut.needed)?;
            }
            add(&mut meta, META_LIVE, batch.live)?;
            add(&mut meta, META_ENTRIES, new_entries)?;
        }
        {
            let mut table = txn.open_table(AUTHORS)?;
            for (index, id) in authors.authors.iter().enumerate().skip(known) {
                table.insert(index as u32, id.as_bytes())?;
            }
        }
        drop(authors);
        txn.commit()?;
        self.committed();
        Ok(())
    }

    /// Takes over the authors' local indexes: those of one of the two begin with all of the other's.
    pub(super) fn adopt_authors(&self, other: &Self) -> std::result::Result<(), redb::Error> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::None)?;
        let mut authors = self.authors.write();
        {
            let mut table = txn.open_table(AUTHORS)?;
            for id in &other.authors.read().authors {
                table.insert(authors.index(id), id.as_bytes())?;
            }
        }
        drop(authors);
        txn.commit()?;
        self.committed();
        Ok(())
    }

    /// Bytes of the file on disk.
    pub fn bytes(&self) -> u64 {
        self.file.allocated().unwrap_or(0)
    }

    pub(super) fn damaged(&self, e: &dyn std::fmt::Display) -> StateError {
        damaged(&self.path, e)
    }
}

fn add(
    meta: &mut redb::Table<'_, &'static str, u64>,
    name: &'static str,
    change: i64,
) -> std::result::Result<(), redb::Error> {
    let old = meta.get(name)?.map_or(0, |v| v.value());
    meta.insert(name, old.saturating_add_signed(change))?;
    Ok(())
}

/// A disk that doesn't answer is not a damaged file.
fn open_failed(path: &Path, e: redb::Error) -> StateError {
    match e {
        redb::Error::Io(source) => StateError::Io { path: path.into(), source },
        e => damaged(path, &e),
    }
}

fn damaged(path: &Path, e: &dyn std::fmt::Display) -> StateError {
    StateError::Damaged { path: path.into(), why: e.to_string() }
}

/// A read transaction and the tables that nearly every read wants: opening them costs more than a look-up.
pub(super) struct Opened {
    txn: redb::ReadTransaction,
    records: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) chunks: ReadOnlyTable<&'static [u8; 32], ChunkRow>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// A consistent view of the file: what a concurrent `apply` does is not seen.
#[derive(Debug)]
pub struct StateRead<'a> {
    state: &'a State,
    at: Arc<Opened>,
}

impl StateRead<'_> {
    fn err(&self, e: &dyn std::fmt::Display) -> StateError {
        self.state.damaged(e)
    }

    fn decode(&self, row: &[u8]) -> Result<Record> {
        codec::decode(row, &*self.state.authors.read()).ok_or_else(|| self.err(&"a record can't be decoded"))
    }

    pub fn record(&self, row: &RowKey) -> Result<Option<Record>> {
        match self.at.records.get(&row.0[..]).map_err(|e| self.err(&e))? {
            Some(found) => self.decode(found.value()).map(Some),
            None => Ok(None),
        }
    }

    /// The registers of a file that no head of the row is a version of.
    pub fn dormant(&self, row: &RowKey, file: &FileId) -> Result<Option<FileAttrs>> {
        let table = self.at.txn.open_table(DORMANT).map_err(|e| self.err(&e))?;
        match table.get((&row.0[..], file.as_bytes())).map_err(|e| self.err(&e))? {
            Some(found) => Ok(self.decode(found.value())?.attrs.remove(file)),
            None => Ok(None),
        }
    }

    /// Rows that start with `prefix` and come after `after`, in order.
    pub fn range(
        &self,
        prefix: &[u8],
        after: &RowKey,
    ) -> Result<impl Iterator<Item = Result<(RowKey, Record)>>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let bounds = (Excluded(&after.0[..]), Unbounded);
        let rows = self.at.records.range::<&[u8]>(bounds).map_err(|e| self.err(&e))?;
        let prefix = prefix.to_vec();
        Ok(rows
            .map(move |row| {
                let (key, value) = row.map_err(|e| self.err(&e))?;
                let key = key.value();
                if !key.starts_with(&prefix) {
                    return Ok(None);
                }
                Ok(Some((RowKey(Bytes::copy_from_slice(key)), self.decode(value.value())?)))
            })
            .map_while(Result::transpose))
    }

    /// The rows in conflict, below any key.
    pub fn conflicts(&self) -> Result<Vec<RowKey>> {
        let table = self.at.txn.open_table(CONFLICTS).map_err(|e| self.err(&e))?;
        let rows = table.iter().map_err(|e| self.err(&e))?;
        rows.map(|row| {
            let (key, ()) = row.map(|(k, v)| (k, v.value())).map_err(|e| self.err(&e))?;
            Ok(RowKey(Bytes::copy_from_slice(key.value())))
        })
        .collect()
    }

    pub fn conflict_count(&self) -> Result<u64> {
        let table = self.at.txn.open_table(CONFLICTS).map_err(|e| self.err(&e))?;
        table.len().map_err(|e| self.err(&e))
    }

    /// Where an entry stands in the log.
    pub fn entry(&self, author: &NodeId, seq: u64) -> Result<Option<(Position, EntryId)>> {
        let Some(index) = self.state.authors.read().indexes.get(author).copied() else {
            return Ok(None);
        };
        let table = self.at.txn.open_table(ENTRIES).map_err(|e| self.err(&e))?;
        let row = table.get((index, seq)).map_err(|e| self.err(&e))?;
        Ok(row.map(|row| {
            let (segment, offset, len, id) = row.value();
            (Position { segment, offset, len }, EntryId(*id))
        }))
    }

    pub fn tips(&self) -> Result<Vec<(NodeId, TipRow)>> {
        let table = self.at.txn.open_table(TIPS).map_err(|e| self.err(&e))?;
        let authors = self.state.authors.read();
        let rows = table.iter().map_err(|e| self.err(&e))?;
        rows.map(|row| {
            let (index, tip) = row.map_err(|e| self.err(&e))?;
            let author =
                authors.author(index.value()).ok_or_else(|| self.err(&"a tip names an unknown author"))?;
            let (seq, hlc, id) = tip.value();
            Ok((author, TipRow { seq, hlc: Hlc(hlc), id: EntryId(*id) }))
        })
        .collect()
    }

    pub fn intents(&self) -> Result<Vec<(u64, Bytes)>> {
        let table = self.at.txn.open_table(INTENTS).map_err(|e| self.err(&e))?;
        let rows = table.iter().map_err(|e| self.err(&e))?;
        rows.map(|row| {
            let (id, body) = row.map_err(|e| self.err(&e))?;
            Ok((id.value(), Bytes::copy_from_slice(body.value())))
        })
        .collect()
    }

    pub fn applied(&self) -> Result<Applied> {
        let meta = self.at.txn.open_table(META).map_err(|e| self.err(&e))?;
        let get = |name: &'static str| -> Result<Option<u64>> {
            Ok(meta.get(name).map_err(|e| self.err(&e))?.map(|v| v.value()))
        };
        let to = match (get(META_SEGMENT)?, get(META_OFFSET)?, get(META_LEN)?) {
            (Some(segment), Some(offset), Some(len)) => Some(Position { segment, offset, len: len as u32 }),
            _ => None,
        };
        Ok(Applied { to, live: get(META_LIVE)?.unwrap_or(0), entries: get(META_ENTRIES)?.unwrap_or(0) })
    }
}
