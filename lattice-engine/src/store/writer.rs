//! What only one thread at a time may touch: the log's end, our chain's tip, our clock, and the other chains' tips.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::chain::{ChainId, Tip};
use crate::entry::{Draft, Entry, Kind, Op};
use crate::hlc::{Hlc, HlcClock};
use crate::id::{EntryId, NodeId, StoreId};
use crate::log::{Log, LogError, Position, RecordRef};
use crate::merge::EntryRef;
use crate::state::Cut;
use crate::sync::Mark;

use super::branches::Branches;
use super::error::{Result, StoreError};
use super::groups::{self, OpenGroup};

/// The writing end of a store.
#[derive(Debug)]
pub(super) struct Writer {
    pub log: Log,
    pub store: StoreId,
    pub author: NodeId,
    pub genesis: Tip,
    pub clock: HlcClock,
    pub chains: Chains,
}

/// What a replay of the log builds beside the records.
#[derive(Debug, Default)]
pub(super) struct Chains {
    pub tips: HashMap<ChainId, Tip>,
    /// Own entries in the log without a signature yet, in order.
    pub unsigned: VecDeque<(u64, EntryId)>,
    /// The last own entry before those.
    pub signed: Option<Mark>,
    /// Groups whose last entry has not come yet: applied together or never.
    pub open_groups: HashMap<ChainId, OpenGroup>,
    /// Chains that are not projected whole, because what follows doesn't count.
    pub cuts: BTreeMap<ChainId, Cut>,
    pub next_intent: u64,
}

impl Chains {
    /// A short name for which entries don't count; 0: all do. The same for the same cuts, so it outlives the process.
    pub fn left_out(&self) -> u32 {
        if self.cuts.is_empty() {
            return 0;
        }
        let mut hasher = blake3::Hasher::new();
        for (chain, cut) in &self.cuts {
            hasher.update(chain.as_bytes()).update(&cut.upto.to_le_bytes());
        }
        let bytes = hasher.finalize();
        bytes.as_bytes().first_chunk().map_or(1, |four| u32::from_le_bytes(*four).max(1))
    }
}

/// What an entry may carry; below the format's limits, so that headers and framing fit as well.
const MAX_OPS: usize = 4096;
const MAX_DEPS: usize = 1000;
const MAX_BYTES: usize = 768 << 10;

/// Operations for one entry, and where the entries stand that they cite.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub ops: Vec<Op>,
    pub parents: BTreeMap<EntryId, EntryRef>,
    bytes: usize,
}

impl Part {
    pub fn fits(&self, op: &Op) -> bool {
        self.ops.is_empty()
            || (self.ops.len() < MAX_OPS
                && self.parents.len() + op.parents().len() <= MAX_DEPS
                && self.bytes + weight(op) <= MAX_BYTES)
    }

    pub fn push(&mut self, op: Op, parents: impl IntoIterator<Item = EntryRef>) {
        self.bytes += weight(&op);
        self.ops.push(op);
        self.parents.extend(parents.into_iter().map(|p| (p.id, p)));
    }
}

/// About how many bytes an op takes in a payload.
fn weight(op: &Op) -> usize {
    use crate::entry::{Content, Value};
    let key = op.key().map_or(0, |k| k.as_bytes().len());
    let attrs = |a: &crate::entry::Attrs| -> usize {
        a.xattrs.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, |v| v.len()) + 8).sum()
    };
    let value = match op {
        Op::Put { node, .. } => {
            let content = match &node.value {
                Value::File(Content::Inline(bytes)) | Value::Symlink(bytes) => bytes.len(),
                Value::File(Content::Chunks(chunks)) => chunks.len() * 44,
                _ => 64,
            };
            content + attrs(&node.attrs)
        }
        Op::Attr { attrs: a, .. } => attrs(a),
        Op::Instruction { payload, .. } => payload.len(),
        Op::Delete { .. } => 0,
    };
    key + value + 96
}

impl Writer {
    /// Makes an entry of `part` come after everything that is here: it names the other chains' tips, the latest first as
    /// far as there is room.
    pub fn cite_tips(&self, branches: &Branches, part: &mut Part) {
        let other = |(chain, tip): (&ChainId, &Tip)| EntryRef {
            hlc: tip.hlc,
            author: branches.author(chain),
            id: tip.id,
            seq: tip.seq,
        };
        let mut tips: Vec<EntryRef> =
            self.chains.tips.iter().filter(|(chain, _)| **chain != self.author).map(other).collect();
        tips.sort_unstable_by(|a, b| b.cmp(a));
        let room = MAX_DEPS.saturating_sub(part.parents.len());
        part.parents.extend(tips.into_iter().take(room).map(|tip| (tip.id, tip)));
    }

    pub fn tip(&self) -> &Tip {
        self.chains.tips.get(&self.author).unwrap_or(&self.genesis)
    }

    /// Builds the entries of one commit, linked and unsigned. Several parts are one group: all or nothing.
    pub fn build(&mut self, parts: Vec<Part>, now_ms: u64) -> Result<Vec<Entry>> {
        if parts.len() > groups::MAX_ENTRIES {
            return Err(StoreError::Refused(format!(
                "a change of {} entries is over the limit of {}: make it in several",
                parts.len(),
                groups::MAX_ENTRIES
            )));
        }
        let (mut tip, clock) = (*self.tip(), self.clock);
        let group_first = if parts.len() > 1 { tip.seq + 1 } else { 0 };
        let last = parts.len().saturating_sub(1);
        let mut entries = Vec::with_capacity(parts.len());
        for (i, part) in parts.into_iter().enumerate() {
            let floor = part.parents.values().map(|p| p.hlc).max().unwrap_or(Hlc::ZERO);
            let draft = Draft {
                store: self.store,
                author: self.author,
                seq: tip.seq + 1,
                prev: tip.id,
                hlc: self.clock.tick(now_ms, floor.max(tip.hlc)),
                kind: Kind::Data,
                group_first,
                group_more: i < last,
                ops: part.ops,
                parents: part.parents,
            };
            match draft.build() {
                Ok(entry) => {
                    tip = Tip::of(&entry);
                    entries.push(entry);
                }
                Err(e) => {
                    self.clock = clock;
                    return Err(e.into());
                }
            }
        }
        Ok(entries)
    }

    /// Appends entries to the log, each with the chain that it is of, in one write: all of them are kept, or none.
    pub fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = (ChainId, &'a Entry)> + Clone,
    ) -> Result<Vec<Position>> {
        let records: Vec<RecordRef<'_>> = entries
            .clone()
            .map(|(_, e)| RecordRef::Entry {
                header: &e.header_bytes,
                payload: &e.payload_bytes,
                signature: e.signature.as_ref(),
            })
            .collect();
        let positions = self.log.append(&records).map_err(|e| self.log_error(e))?;
        for (chain, entry) in entries {
            self.chains.tips.insert(chain, Tip::of(entry));
            if entry.signature.is_none() {
                self.chains.unsigned.push_back((entry.header.seq, entry.id));
            } else if chain == self.author {
                self.chains.signed = Some(Mark { seq: entry.header.seq, id: entry.id });
            }
        }
        Ok(positions)
    }

    /// A full disk is told from everything else.
    pub fn log_error(&self, e: LogError) -> StoreError {
        match &e {
            LogError::NotWritten { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                ) =>
            {
                StoreError::NoSpace(self.store)
            }
            _ => StoreError::Log(e),
        }
    }
}
