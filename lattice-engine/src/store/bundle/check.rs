//! The first pass over a bundle: all that can be refused, before anything of it is taken in.
//!
//! What is checked is what importing it would find: frames and counts, ids, signatures, every chunk's name, that each chunk
//! is named by the entry after it, and each entry's place among those that are in the bundle and here: its chain, its time,
//! what it builds on, and that a version which is to be current has its bytes. The bundle lies in a file, which is read
//! twice; what is kept in memory is an id and a time for each entry and a place for each chunk.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use crate::chain::{self, Outcome, Tip};
use crate::content::{MAX_CHUNK_LEN, manifest_ids};
use crate::entry::{Content, Decoded, Entry, Node, Op, Value};
use crate::hlc::{Hlc, MAX_AHEAD_MS};
use crate::id::{ChunkId, EntryId, NodeId};
use crate::key::Key;
use crate::wire::v1;

use super::super::core::Store;
use super::super::error::{Result, StoreError};
use super::super::handle::Handle;
use super::super::history;
use super::Progress;
use super::frames::{FrameReader, cut_off, decode, read_genesis, read_header};

/// Reads the bundle in `file` from its beginning and refuses what is wrong with it. `here`: its store, if there is one
/// already. Nothing is changed.
///
/// # Errors
/// What is wrong with the bundle, or with reading it.
pub fn check(file: &File, here: Option<&Handle>, now_ms: u64, progress: Progress<'_>) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 20, At { file, offset: 0 });
    let header = read_header(&mut input)?;
    let genesis = read_genesis(&header, &mut input)?;
    let mut check = Check {
        file,
        here: here.map(|h| &*h.store),
        genesis: Tip::of(&genesis),
        latest: Hlc::new(now_ms + MAX_AHEAD_MS, 0),
        ours: here.map(Handle::author),
        chains: HashMap::new(),
        branches: HashMap::new(),
        late: HashMap::new(),
        chunks: HashMap::new(),
        unnamed: HashSet::new(),
        hollow: HashMap::new(),
    };
    let start = position(&input);
    let mut frames = FrameReader { input: &mut input, bytes: start };
    let (mut entries, mut chunks) = (1, 0);
    loop {
        match frames.frame()? {
            v1::bundle_frame::Frame::Chunk(bytes) => {
                check.chunk(&bytes, frames.bytes)?;
                chunks += 1;
            }
            v1::bundle_frame::Frame::Entry(signed) => {
                check.entry(&decode(signed, entries)?)?;
                entries += 1;
                progress(entries, frames.bytes);
            }
            v1::bundle_frame::Frame::End(end) => {
                if (end.entries, end.chunks) != (entries, chunks) {
                    return Err(cut_off(frames.bytes));
                }
                return check.end();
            }
        }
    }
}

/// Reads a file from its beginning, whatever its own position.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl std::io::Read for At<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// How far the bundle was read.
fn position(input: &BufReader<At<'_>>) -> u64 {
    input.get_ref().offset - input.buffer().len() as u64
}

struct Check<'a> {
    file: &'a File,
    here: Option<&'a Store>,
    genesis: Tip,
    /// Entries dated after this are not taken today.
    latest: Hlc,
    /// But our own are: our time was ours, whatever our clock says today.
    ours: Option<NodeId>,
    /// What the bundle adds to each author's chain.
    chains: HashMap<NodeId, Chain>,
    /// And to branches, of authors who have forked: number and time of each entry.
    branches: HashMap<(NodeId, EntryId), (u64, Hlc)>,
    /// Of each author the first entry that isn't taken today, because it or what it builds on is dated ahead.
    late: HashMap<NodeId, u64>,
    /// Where the bundle has each chunk, and its length.
    chunks: HashMap<ChunkId, (u64, usize)>,
    /// Chunks since the last entry.
    unnamed: HashSet<ChunkId>,
    /// Versions of which a chunk is neither in the bundle nor here: good if something in the bundle supersedes them.
    hollow: HashMap<(Key, EntryId), ChunkId>,
}

/// Entries `first ..` of an author.
struct Chain {
    first: u64,
    entries: Vec<(EntryId, Hlc)>,
    tip: Tip,
}

impl Chain {
    fn get(&self, seq: u64) -> Option<(EntryId, Hlc)> {
        let index = seq.checked_sub(self.first)?;
        self.entries.get(usize::try_from(index).ok()?).copied()
    }
}

fn damaged(why: String) -> StoreError {
    StoreError::Refused(format!("the bundle is damaged: {why}. Nothing was changed; get it again"))
}

impl Check<'_> {
    /// `end`: where the chunk's frame ends; its bytes are the last of it.
    fn chunk(&mut self, bytes: &Bytes, end: u64) -> Result<()> {
        if bytes.len() as u64 > MAX_CHUNK_LEN {
            return Err(damaged(format!("a chunk of {} bytes is over the limit", bytes.len())));
        }
        let id = ChunkId(*blake3::hash(bytes).as_bytes());
        self.chunks.insert(id, (end - bytes.len() as u64, bytes.len()));
        self.unnamed.insert(id);
        Ok(())
    }

    fn entry(&mut self, decoded: &Decoded) -> Result<()> {
        let entry = decoded.entry();
        let new = self.place(entry)?;
        match decoded {
            // What it names is known to a later version only.
            Decoded::Unknown { .. } => self.unnamed.clear(),
            Decoded::Known(_) => self.content(entry, new)?,
        }
        Ok(())
    }

    /// Whether an entry's place is at the end of its chain (`true`), or it is held or not taken today; else it is refused.
    fn place(&mut self, entry: &Entry) -> Result<bool> {
        let header = &entry.header;
        let author = header.author;
        let refused = |why: String| {
            let (id, author) = (entry.id.short(), author.short());
            StoreError::Refused(format!(
                "entry {id} of author {author} was refused: {why}. Nothing was changed"
            ))
        };
        if header.hlc > self.latest && self.ours != Some(author) {
            self.late.entry(author).or_insert(header.seq);
            return Ok(false);
        }
        let chain = self.chains.get(&author);
        let tip = chain.map(|c| c.tip).or_else(|| self.tip_here(&author));
        let held =
            |seq| chain.and_then(|c| c.get(seq)).map(|(id, _)| id).or_else(|| self.held_here(&author, seq));
        let mut outcome = chain::check(tip.as_ref(), &self.genesis, held, entry);
        let mut branch = false;
        if let Outcome::Fork { .. } | Outcome::Gap { .. } = outcome {
            if self.time_of(&entry.id, &author, header.seq).is_some() {
                return Ok(false);
            }
            // Of a branch, if what it follows is here, wherever that stands.
            let seq = header.seq.saturating_sub(1);
            if let Some(hlc) = self.time_of(&header.prev, &author, seq) {
                let before = Tip { seq, id: header.prev, hlc };
                outcome = chain::check(Some(&before), &self.genesis, |_| None, entry);
                branch = true;
            }
        }
        match outcome {
            Outcome::Append => {}
            Outcome::Duplicate => return Ok(false),
            Outcome::Gap { need, .. } | Outcome::Fork { seq: need, .. } if self.is_late(&author, need) => {
                return self.is_late_too(entry);
            }
            Outcome::Gap { .. } | Outcome::Fork { .. } => return Err(self.lacks(entry, &header.prev)),
            Outcome::Invalid(why) => return Err(refused(why.to_string())),
        }
        let missing = chain::check_deps(entry, |id, author, seq| self.time_of(id, author, seq))
            .map_err(|why| refused(why.to_string()))?;
        let mut missing = header.deps.iter().filter(|dep| missing.contains(&dep.id)).peekable();
        if let Some(first) = missing.peek() {
            let first = first.id;
            return match missing.any(|dep| self.is_late(&dep.author, dep.seq)) {
                true => self.is_late_too(entry),
                false => Err(self.lacks(entry, &first)),
            };
        }
        if branch {
            self.branches.insert((author, entry.id), (header.seq, header.hlc));
            return Ok(true);
        }
        let tip = Tip::of(entry);
        let empty = Chain { first: header.seq, entries: Vec::new(), tip };
        let chain = self.chains.entry(author).or_insert(empty);
        chain.entries.push((entry.id, header.hlc));
        chain.tip = tip;
        Ok(true)
    }

    fn is_late(&self, author: &NodeId, seq: u64) -> bool {
        self.late.get(author).is_some_and(|first| *first <= seq)
    }

    fn is_late_too(&mut self, entry: &Entry) -> Result<bool> {
        self.late.entry(entry.header.author).or_insert(entry.header.seq);
        Ok(false)
    }

    fn lacks(&self, entry: &Entry, what: &EntryId) -> StoreError {
        StoreError::Refused(format!(
            "the bundle is not whole: entry {} builds on {}, which is neither in it nor here. Nothing was changed; \
             export it again",
            entry.id.short(),
            what.short()
        ))
    }

    fn tip_here(&self, author: &NodeId) -> Option<Tip> {
        self.here?.writer.lock().chains.tips.get(author).copied()
    }

    fn held_here(&self, author: &NodeId, seq: u64) -> Option<EntryId> {
        self.here?.view.entry(author, seq).ok().flatten().map(|(_, id)| id)
    }

    fn time_of(&self, id: &EntryId, author: &NodeId, seq: u64) -> Option<Hlc> {
        if *id == self.genesis.id {
            return Some(self.genesis.hlc);
        }
        if let Some((_, hlc)) =
            self.chains.get(author).and_then(|c| c.get(seq)).filter(|(held, _)| held == id)
        {
            return Some(hlc);
        }
        if let Some((at, hlc)) = self.branches.get(&(*author, *id)) {
            return (*at == seq).then_some(*hlc);
        }
        let view = &self.here?.view;
        let (_, position) = view.find(author, seq, id).ok().flatten()?;
        history::time_of(view, position, id).ok().flatten()
    }

    /// Chunks come right before the entry that names them: one that it doesn't name was altered on the way.
    fn content(&mut self, entry: &Entry, new: bool) -> Result<()> {
        for op in &entry.ops {
            if new && let Some(key) = op.key() {
                for parent in op.parents() {
                    self.hollow.remove(&(key.clone(), *parent));
                }
            }
            let Op::Put { key, node: Node { value: Value::File(content), .. }, .. } = op else { continue };
            for chunk in self.named(content)? {
                self.unnamed.remove(&chunk);
                if new && !self.chunks.contains_key(&chunk) && !self.have(&chunk)? {
                    self.hollow.insert((key.clone(), entry.id), chunk);
                }
            }
        }
        self.unnamed.iter().next().map_or(Ok(()), |chunk| {
            let (chunk, entry) = (chunk.short(), entry.id.short());
            Err(damaged(format!("chunk {chunk} came before entry {entry}, which doesn't name it")))
        })
    }

    /// The chunks of a content, as far as they can be told: a manifest that is nowhere names none.
    fn named(&self, content: &Content) -> Result<Vec<ChunkId>> {
        match content {
            Content::Chunks(chunks) => Ok(chunks.iter().filter_map(|c| c.id).collect()),
            Content::Manifest { manifest, size } => {
                let Some(id) = manifest.id else { return Ok(Vec::new()) };
                let mut failed = None;
                let ids = manifest_ids(id, *size, &mut |id| {
                    Ok(self.bytes_of(id).unwrap_or_else(|e| {
                        failed = Some(e);
                        None
                    }))
                });
                match failed {
                    Some(e) => Err(e),
                    None => ids.map_err(|e| damaged(e.to_string())),
                }
            }
            Content::Inline(_) | Content::InLog(_) => Ok(Vec::new()),
        }
    }

    fn bytes_of(&self, id: &ChunkId) -> Result<Option<Bytes>> {
        if let Some((offset, len)) = self.chunks.get(id) {
            let mut bytes = vec![0; *len];
            let failed = StoreError::io("cannot read the bundle again");
            self.file.read_exact_at(&mut bytes, *offset).map_err(failed)?;
            return Ok(Some(bytes.into()));
        }
        match self.here {
            Some(store) if self.have(id)? => Ok(Some(store.content.get_chunk(id)?)),
            _ => Ok(None),
        }
    }

    fn have(&self, id: &ChunkId) -> Result<bool> {
        Ok(match self.here {
            Some(store) => store.content.has_chunk(id)?,
            None => false,
        })
    }

    /// A version that will be current must have its bytes.
    fn end(&self) -> Result<()> {
        self.hollow.iter().next().map_or(Ok(()), |((key, _), chunk)| {
            Err(damaged(format!("chunk {} of {key} is neither in it nor here", chunk.short())))
        })
    }
}
