//! Entries that others wrote: checked as a peer's are, appended as they came, applied by the same merge.

use crate::chain::{self, Outcome};
use crate::entry::{Decoded, Entry};
use crate::hlc::{Hlc, MAX_AHEAD_MS};
use crate::id::EntryId;
use crate::log::Position;

use super::apply::{note, project, unrouted};
use super::core::Store;
use super::error::{Result, StoreError};
use super::writer::Writer;

/// What became of an entry that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ingested {
    New,
    Duplicate,
    /// Dated more than ten minutes ahead of our clock: it may come again when it is due.
    Early,
    /// Something that it builds on is not here.
    Missing(Vec<EntryId>),
}

impl Store {
    /// Checks, appends and applies entries, each after what it builds on. One append for all.
    pub(super) fn ingest(&self, offered: Vec<Decoded>) -> Result<Vec<Ingested>> {
        self.thawed()?;
        // Signatures are the dear part: checked before the lock.
        for decoded in &offered {
            decoded.entry().verify()?;
        }
        let mut writer = self.writer.lock();
        let mut results = Vec::with_capacity(offered.len());
        for decoded in offered {
            results.push(self.ingest_one(&mut writer, decoded)?);
        }
        drop(writer);
        self.back_pressure();
        Ok(results)
    }

    fn ingest_one(&self, writer: &mut Writer, decoded: Decoded) -> Result<Ingested> {
        let now = self.clock.now_ms();
        let entry = decoded.entry();
        let refused = |why: String| {
            StoreError::Refused(format!(
                "entry {} of author {} was refused: {why}",
                entry.id.short(),
                entry.header.author.short()
            ))
        };
        if entry.header.hlc > Hlc::new(now + MAX_AHEAD_MS, 0) {
            return Ok(Ingested::Early);
        }
        let author = entry.header.author;
        let held = |seq| self.view.entry(&author, seq).ok().flatten().map(|(_, id)| id);
        match chain::check(writer.chains.tips.get(&author), &writer.genesis, held, entry) {
            Outcome::Append => {}
            Outcome::Duplicate => return Ok(Ingested::Duplicate),
            Outcome::Gap { .. } => return Ok(Ingested::Missing(vec![entry.header.prev])),
            Outcome::Fork { existing, seq } => {
                return Err(refused(format!(
                    "its author signed two entries {seq}, this one and {}: a copied data directory or a restored \
                     backup. Nothing was changed; keep one of the two nodes and give the other a new identity",
                    existing.short()
                )));
            }
            Outcome::Invalid(why) => return Err(refused(why.to_string())),
        }
        let missing = chain::check_deps(entry, |id, author, seq| self.time_of(writer, id, author, seq))
            .map_err(|why| refused(why.to_string()))?;
        if !missing.is_empty() {
            return Ok(Ingested::Missing(missing));
        }
        writer.clock.observe(entry.header.hlc, now);
        let positions = writer.append(std::slice::from_ref(entry)).inspect_err(|e| self.freeze_on(e))?;
        self.place(writer, decoded, positions[0])?;
        Ok(Ingested::New)
    }

    /// Applies what was appended, unless the projection stands still or must stop here.
    fn place(&self, writer: &mut Writer, decoded: Decoded, position: Position) -> Result<()> {
        let entry = match decoded {
            Decoded::Unknown { entry, why } => {
                return self.stall(writer, &entry, position, &why.to_string());
            }
            Decoded::Known(entry) => entry,
        };
        if let Some(why) = unrouted(&entry) {
            return self.stall(writer, &entry, position, &why);
        }
        if self.stalled.read().is_some() {
            return Ok(self.note(writer, &entry, position));
        }
        let announced = entry.clone();
        project(&self.view, &mut writer.chains, entry, position).inspect_err(|e| self.freeze_unapplied(e))?;
        let bytes = self.view.overlay.read().bytes();
        self.announce(std::slice::from_ref(&announced), &[position], 0, bytes);
        Ok(())
    }

    fn stall(&self, writer: &mut Writer, entry: &Entry, position: Position, why: &str) -> Result<()> {
        self.note(writer, entry, position);
        let why = super::open::stall(entry, &why);
        tracing::error!(store = %self.id, why, "the store's projection stands still");
        self.stalled.write().get_or_insert(why);
        Ok(())
    }

    fn note(&self, writer: &mut Writer, entry: &Entry, position: Position) {
        note(&self.view, &mut writer.chains, entry, position);
        self.work.dirty(self.view.overlay.read().bytes());
    }

    fn time_of(&self, writer: &Writer, id: &EntryId, author: &crate::id::NodeId, seq: u64) -> Option<Hlc> {
        if *id == writer.genesis.id {
            return Some(writer.genesis.hlc);
        }
        if let Some(tip) = writer.chains.tips.get(author).filter(|t| t.id == *id) {
            return Some(tip.hlc);
        }
        let at = crate::merge::EntryRef { hlc: Hlc::ZERO, author: *author, id: *id, seq };
        let entry = super::history::load(&self.view, &at).ok().flatten()?;
        (entry.id == *id).then_some(entry.header.hlc)
    }
}
