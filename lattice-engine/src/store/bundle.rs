//! `store export` and `store import`: signed entries and their content as one file. Sync by USB stick.
//!
//! Frames are length-delimited protobuf after a magic line; the last one carries the counts, so that a cut-off bundle is
//! told from a whole one ([`frames`]). A bundle is checked whole before anything of it is taken in ([`mod@check`]): one that is
//! refused has changed nothing. Then its entries go the way of a peer's, which checks them once more: the bundle proves
//! nothing by itself. Bytes in FORMAT.md.

mod check;
mod frames;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{Read, Write};

use bytes::Bytes;

use crate::access::Limit;
use crate::content::ContentError;
use crate::entry::{Content, Decoded, Entry, EntryRef, Node, Op, Value};
use crate::id::{ChunkId, EntryId, NodeId};
use crate::key::Key;
use crate::log::Record as LogRecord;
use crate::sync::{Range, Received};
use crate::wire::v1;

use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;

pub use check::check;
pub use frames::{BundleHeader, read_genesis, read_header};
use frames::{FrameReader, FrameWriter, MAGIC, cut_off, decode};

/// What went out or came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleReport {
    pub entries: u64,
    pub new_entries: u64,
    pub chunks: u64,
    /// Of the bundle.
    pub bytes: u64,
    /// Entries dated more than ten minutes ahead of this machine's clock, and what builds on them: import again later.
    pub early: u64,
    /// Entries that were taken and don't count here: their authors were revoked before.
    pub left_out: u64,
}

/// Calls back with authors who are neither members nor guests; an error ends the import.
pub type Vouch<'a> = &'a mut dyn FnMut(&BTreeSet<NodeId>) -> Result<()>;

/// Calls back with entries and bytes so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Handle {
    /// Writes the whole store.
    pub fn export(&self, name: &str, out: &mut dyn Write, progress: Progress<'_>) -> Result<BundleReport> {
        let store = &self.store;
        store.sign_all()?;
        let mut out = FrameWriter { out, bytes: 0 };
        out.raw(MAGIC)?;
        out.message(&v1::BundleHeader {
            version: 1,
            store_id: Bytes::copy_from_slice(store.id.as_bytes()),
            genesis: Bytes::copy_from_slice(store.genesis.as_bytes()),
            name: name.into(),
        })?;
        let mut report = BundleReport::default();
        let mut sent = HashSet::new();
        let cuts = store.writer.lock().chains.cuts.clone();
        for record in store.view.log.scan(None) {
            let (_, record) = record.map_err(StoreError::Log)?;
            let LogRecord::Entry { header, payload, signature } = record else { continue };
            let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) =
                Entry::decode(header, payload, signature)?;
            // What doesn't count goes along only where something that does builds on it.
            let left_out = |chain| cuts.get(chain).is_some_and(|cut| entry.header.seq > cut.needed);
            if !cuts.is_empty() && left_out(&store.view.chain_of(&entry)?) {
                continue;
            }
            // Content first, so that an importer never shows an entry whose bytes it doesn't have.
            for op in &entry.ops {
                let mut send = || -> Result<()> {
                    for chunk in store.chunks_of(op)? {
                        if !sent.contains(&chunk) {
                            let bytes = store.content.get_chunk(&chunk)?;
                            out.frame(v1::bundle_frame::Frame::Chunk(bytes))?;
                            sent.insert(chunk);
                        }
                    }
                    Ok(())
                };
                match send() {
                    // Collected since it was superseded: the version travels without its bytes.
                    Err(StoreError::Content(ContentError::Missing { .. }))
                        if !store.is_head(op.key(), &entry.id)? => {}
                    other => other?,
                }
            }
            let signature = match entry.signature {
                Some(signature) => signature,
                // Signed since: the signature stands apart in the log, and is the same again.
                None => store.identity.sign(&entry.id),
            };
            out.frame(v1::bundle_frame::Frame::Entry(v1::SignedEntry {
                header: entry.header_bytes,
                signature: Bytes::copy_from_slice(&signature),
                payload: entry.payload_bytes,
            }))?;
            report.entries += 1;
            progress(report.entries, out.bytes);
        }
        report.chunks = sent.len() as u64;
        let end = v1::BundleEnd { entries: report.entries, chunks: report.chunks };
        out.frame(v1::bundle_frame::Frame::End(end))?;
        out.out.flush().map_err(StoreError::io("cannot write the bundle"))?;
        report.bytes = out.bytes;
        Ok(report)
    }

    /// Takes in the frames after the header and the genesis ([`read_header`], [`read_genesis`]) of a bundle that was
    /// checked ([`mod@check`]). What came before an error of the disk stays: importing the bundle again goes on from there.
    pub fn import(&self, input: &mut dyn Read, progress: Progress<'_>) -> Result<BundleReport> {
        self.import_vouched(input, &mut |_| Ok(()), progress)
    }

    /// [`Handle::import`]; `vouch` is called with the authors that no member has added or vouched for, before their entries
    /// are taken.
    pub fn import_vouched(
        &self,
        input: &mut dyn Read,
        vouch: Vouch<'_>,
        progress: Progress<'_>,
    ) -> Result<BundleReport> {
        self.store.thawed()?;
        // Chunks come before the entries that name them: a collection meanwhile must leave them.
        let _pin = self.store.content.pin();
        let mut input = FrameReader { input, bytes: 0 };
        let mut report = BundleReport { entries: 1, ..BundleReport::default() };
        let mut doubts = Doubts::default();
        let mut batch = Vec::new();
        let result = loop {
            let frame = match input.frame() {
                Ok(frame) => frame,
                Err(e) => break Err(e),
            };
            match frame {
                v1::bundle_frame::Frame::Chunk(bytes) => {
                    let id = ChunkId(*blake3::hash(&bytes).as_bytes());
                    if let Err(e) = self.store.content.put_chunk(&id, &bytes) {
                        break Err(e.into());
                    }
                    report.chunks += 1;
                }
                v1::bundle_frame::Frame::Entry(signed) => {
                    match decode(signed, report.entries) {
                        Ok(decoded) => batch.push(decoded),
                        Err(e) => break Err(e),
                    }
                    report.entries += 1;
                    if batch.len() >= BATCH
                        && let Err(e) = self.take(&mut batch, vouch, &mut doubts, &mut report)
                    {
                        break Err(e);
                    }
                    progress(report.entries, input.bytes);
                }
                v1::bundle_frame::Frame::End(end) => {
                    let whole = end.entries == report.entries && end.chunks == report.chunks;
                    break if whole { Ok(()) } else { Err(cut_off(input.bytes)) };
                }
            }
        };
        let taken = self.take(&mut batch, vouch, &mut doubts, &mut report);
        let whole = self.check_content(&doubts);
        let synced = self.sync();
        report.bytes = input.bytes;
        result.and(taken).and(whole).and(synced).map(|()| report)
    }

    /// A version that is current must have its bytes.
    fn check_content(&self, doubts: &Doubts) -> Result<()> {
        for (key, entry, chunk) in &doubts.hollow {
            if self.store.is_head(Some(key), entry)? {
                return Err(StoreError::Refused(format!(
                    "the bundle is damaged: chunk {} of {key} is neither in it nor here. Get the bundle again",
                    chunk.short()
                )));
            }
        }
        Ok(())
    }

    fn take(
        &self,
        batch: &mut Vec<Decoded>,
        vouch: Vouch<'_>,
        doubts: &mut Doubts,
        report: &mut BundleReport,
    ) -> Result<()> {
        let offered = std::mem::take(batch);
        let strangers = self.strangers(&offered);
        if !strangers.is_empty() {
            vouch(&strangers)?;
        }
        for decoded in &offered {
            let entry = decoded.entry();
            for op in &entry.ops {
                if let Op::Put { key, node: Node { value: Value::File(content), .. }, .. } = op
                    && let Some(chunk) = self.store.content.missing(content)?.first()
                {
                    doubts.hollow.push((key.clone(), entry.id, *chunk));
                }
            }
        }
        let at: Vec<EntryRef> = offered.iter().map(|d| d.entry().entry_ref()).collect();
        for (at, result) in at.into_iter().zip(self.store.take_in(offered, None)?) {
            let late = match result {
                Received::New => {
                    report.new_entries += 1;
                    report.left_out += u64::from(!self.store.view.counts(&at)?);
                    false
                }
                Received::Duplicate => false,
                Received::Early { .. } => true,
                Received::Missing(what) if what.iter().any(|range| doubts.is_late(range)) => true,
                other => return Err(not_taken(&at.id, &at.author, other)),
            };
            if late {
                doubts.late.entry(at.author).or_insert(at.seq);
                report.early += 1;
            }
        }
        Ok(())
    }
}

impl Handle {
    /// Authors whose entries wouldn't count whatever they are.
    fn strangers(&self, offered: &[Decoded]) -> BTreeSet<NodeId> {
        let membership = self.membership();
        let authors = offered.iter().map(|d| d.entry()).filter(|e| e.header.seq > 0).map(|e| e.header.author);
        authors.filter(|author| membership.limit(&self.id(), author) == Limit::Nothing).collect()
    }
}

/// Why an entry of the bundle ends the import.
fn not_taken(id: &EntryId, author: &NodeId, result: Received) -> StoreError {
    let refused =
        |why: String| format!("entry {} of author {} was refused: {why}", id.short(), author.short());
    StoreError::Refused(match result {
        Received::Missing(what) => format!(
            "the bundle is not whole: entry {} builds on entry {} of {}, which is neither in it nor here. Export it again",
            id.short(),
            what.first().map_or(0, |range| range.to),
            what.first().map(|range| range.author.short()).unwrap_or_default()
        ),
        Received::Apart { .. } => format!(
            "the bundle is not whole: entry {} of {} follows one that is neither in it nor here. Export it again",
            id.short(),
            author.short()
        ),
        Received::Fork { seq, existing } => refused(format!(
            "its author has signed more branches of its chain than are kept; {} is the entry {seq} here",
            existing.short()
        )),
        Received::NotMember => refused("its author is not a member here".into()),
        Received::Beyond => refused("its author was revoked before it wrote this".into()),
        Received::Refused(why) => refused(why),
        other => refused(format!("{other:?}")),
    })
}

/// What an import can't tell before the bundle's end.
#[derive(Default)]
struct Doubts {
    /// Of each author the first entry that is early, or builds on an early one.
    late: BTreeMap<NodeId, u64>,
    /// Versions that came without all of their content: good if something in the bundle supersedes them.
    hollow: Vec<(Key, EntryId, ChunkId)>,
}

impl Doubts {
    fn is_late(&self, range: &Range) -> bool {
        self.late.get(&range.author).is_some_and(|first| *first <= range.to)
    }
}

/// Verified and appended at a time.
const BATCH: usize = 256;

impl Store {
    /// Whether an entry's version of a key is a current one.
    fn is_head(&self, key: Option<&Key>, entry: &EntryId) -> Result<bool> {
        let record = key.map(|k| self.view.get(k)).transpose()?.flatten();
        Ok(record.is_some_and(|r| r.heads.iter().any(|h| h.entry.id == *entry)))
    }

    /// Every chunk that an operation's content is made of, its manifest's included.
    pub(super) fn chunks_of(&self, op: &Op) -> Result<Vec<ChunkId>> {
        match op {
            Op::Put { node, .. } => match &node.value {
                Value::File(content @ (Content::Chunks(_) | Content::Manifest { .. })) => {
                    Ok(self.content.ids_of(content)?)
                }
                _ => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        }
    }
}
