//! A list of runs as a tree of chunks, each an encoded `lattice.v1.Manifest`: leaves hold runs, the others name manifests one
//! level lower. Where a node ends depends on the names in it, so a change in a file makes one leaf anew and what is above
//! it, and a list has one tree only.
//!
//! Refuses a tree that is too deep, nodes that are too long, lists that are too long, a shape that no list of runs has, and
//! whatever is not the one encoding of what it says.

use bytes::Bytes;
use prost::Message;

use super::error::{ContentError, Result};
use super::layout::{self, Layout, MAX_CHUNKS};
use crate::entry::{Chunk, Content, MAX_DIRECT_CHUNKS};
use crate::id::ChunkId;
use crate::wire::v1;

/// A node that isn't the last of its level holds at least so many runs or children.
pub(super) const MIN_NODE: usize = 64;
/// And any node at most so many.
pub(super) const MAX_NODE: usize = 1024;
/// The topmost node of [`MAX_CHUNKS`] runs in nodes of [`MIN_NODE`] is on level 3; one more is room for longer lists.
const MAX_LEVEL: u32 = 4;
/// Bytes of an encoded node: the most that [`MAX_NODE`] children take.
const MAX_NODE_LEN: usize = 64 << 10;

/// Whether a node of `count` runs or children ends after the one of this name: after `MIN_NODE`, one in 128 ends it.
fn ends(count: usize, id: Option<&ChunkId>) -> bool {
    count >= MAX_NODE || (count >= MIN_NODE && id.is_some_and(|id| id.0[0] & 0x7f == 0))
}

/// A chunk's name.
pub(super) fn name(bytes: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(bytes).as_bytes())
}

/// A manifest as its parent names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Child {
    id: ChunkId,
    len: u64,
    size: u64,
}

fn leaf(chunks: &[Chunk]) -> Vec<u8> {
    let chunks = chunks.iter().map(v1::Chunk::from).collect();
    v1::Manifest { chunks, ..v1::Manifest::default() }.encode_to_vec()
}

fn inner(level: u32, children: &[Child]) -> Vec<u8> {
    let child = |c: &Child| v1::Child { hash: Bytes::copy_from_slice(&c.id.0), len: c.len, size: c.size };
    let children = children.iter().map(child).collect();
    v1::Manifest { chunks: Vec::new(), level, children }.encode_to_vec()
}

/// The parts of a level that a node holds each.
fn nodes<T>(mut items: &[T], id: impl Fn(&T) -> Option<&ChunkId>) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let end = items.iter().enumerate().position(|(i, item)| ends(i + 1, id(item)));
        let (node, rest) = items.split_at(end.map_or(items.len(), |i| i + 1));
        items = rest;
        (!node.is_empty()).then_some(node)
    })
}

/// Makes the tree of a list that is too long for an entry: the manifest at its top. `keep` is given every node and names it.
pub(super) fn build(chunks: &[Chunk], keep: &mut dyn FnMut(&[u8]) -> Result<ChunkId>) -> Result<Chunk> {
    let mut add = |bytes: Vec<u8>, size| Ok(Child { id: keep(&bytes)?, len: bytes.len() as u64, size });
    let mut level: Vec<Child> = nodes(chunks, |c| c.id.as_ref())
        .map(|node| add(leaf(node), node.iter().map(|c| c.len).sum()))
        .collect::<Result<_>>()?;
    let mut number = 0;
    while level.len() > 1 {
        number += 1;
        level = nodes(&level, |c| Some(&c.id))
            .map(|node| add(inner(number, node), node.iter().map(|c| c.size).sum()))
            .collect::<Result<_>>()?;
    }
    match level.first() {
        Some(top) => Ok(Chunk { id: Some(top.id), len: top.len }),
        None => add(leaf(&[]), 0).map(|c| Chunk { id: Some(c.id), len: c.len }),
    }
}

/// What names a list whether it is a chunk or not: for a long one, the id of the manifest at the top.
pub(super) fn name_of_list(chunks: &[Chunk]) -> ChunkId {
    let named = build(chunks, &mut |bytes| Ok(name(bytes)));
    // INVARIANT: `build` fails where `keep` does, and naming can't.
    named.ok().and_then(|c| c.id).unwrap_or_else(|| name(&[]))
}

/// As [`name_of_list`], of a content's.
pub(super) fn digest(content: &Content) -> ChunkId {
    match content {
        Content::Manifest { manifest: Chunk { id: Some(id), .. }, .. } => *id,
        Content::Chunks(chunks) => name_of_list(chunks),
        Content::Inline(_) | Content::InLog(_) | Content::Manifest { .. } => name(&[]),
    }
}

/// A node as it is expected.
#[derive(Clone, Copy)]
struct Place {
    id: ChunkId,
    /// What its parent says; `None`: it is the topmost.
    named: Option<(u32, u64)>,
    size: u64,
    /// No node of its level follows.
    last: bool,
}

/// A decoded node.
enum Node {
    Leaf(Vec<Chunk>),
    Inner(u32, Vec<Child>),
}

/// The list below a manifest that says it describes `size` bytes. `get` gives a manifest's bytes; `None`: what is below
/// it is left out, and so is the result.
pub(super) fn load(
    top: ChunkId,
    size: u64,
    get: &mut dyn FnMut(&ChunkId) -> Result<Option<Bytes>>,
) -> Result<Option<Layout>> {
    load_at_most(MAX_CHUNKS, top, size, get)
}

fn load_at_most(
    max: usize,
    top: ChunkId,
    size: u64,
    get: &mut dyn FnMut(&ChunkId) -> Result<Option<Bytes>>,
) -> Result<Option<Layout>> {
    let mut walk = Walk { get, max, chunks: Vec::new(), manifests: Vec::new(), whole: true };
    walk.visit(Place { id: top, named: None, size, last: true })?;
    if !walk.whole {
        return Ok(None);
    }
    let bad = |what| ContentError::BadManifest { chunk: top, what };
    if walk.chunks.len() <= MAX_DIRECT_CHUNKS {
        return Err(bad("so short a list stands in the entry itself"));
    }
    layout::check(&walk.chunks, size).map_err(bad)?;
    Ok(Some(Layout::new(walk.chunks).kept_in(walk.manifests)))
}

/// The chunks that a manifest stands for, where they are in no store yet: those that it and the manifests below it name, and
/// these manifests. `get` gives a manifest's bytes; what is below one that it doesn't have is left out.
///
/// # Errors
/// One of them is no manifest, or not one of a file of `size` bytes.
pub fn manifest_ids(
    top: ChunkId,
    size: u64,
    get: &mut dyn FnMut(&ChunkId) -> Result<Option<Bytes>>,
) -> Result<Vec<ChunkId>> {
    let mut asked = Vec::new();
    let layout = load(top, size, &mut |id| {
        asked.push(*id);
        get(id)
    })?;
    asked.extend(layout.iter().flat_map(|layout| layout.chunks()).filter_map(|c| c.id));
    Ok(asked)
}

struct Walk<'a> {
    get: &'a mut dyn FnMut(&ChunkId) -> Result<Option<Bytes>>,
    max: usize,
    chunks: Vec<Chunk>,
    manifests: Vec<ChunkId>,
    whole: bool,
}

impl Walk<'_> {
    /// Depth first. Never deeper than [`MAX_LEVEL`], because each level says which it is.
    fn visit(&mut self, place: Place) -> Result<()> {
        let Some(bytes) = (self.get)(&place.id)? else {
            self.whole = false;
            return Ok(());
        };
        self.manifests.push(place.id);
        match decode(place, &bytes).map_err(|what| ContentError::BadManifest { chunk: place.id, what })? {
            Node::Leaf(chunks) => {
                if self.chunks.len() + chunks.len() > self.max {
                    return Err(ContentError::TooManyChunks { max: self.max });
                }
                self.chunks.extend(chunks);
            }
            Node::Inner(level, children) => {
                for (i, Child { id, len, size }) in children.iter().enumerate() {
                    let last = place.last && i + 1 == children.len();
                    let named = Some((level - 1, *len));
                    self.visit(Place { id: *id, named, size: *size, last })?;
                }
            }
        }
        Ok(())
    }
}

type Checked<T> = std::result::Result<T, &'static str>;

/// Strict: what the bytes of a node say.
fn decode(place: Place, bytes: &Bytes) -> Checked<Node> {
    if bytes.len() > MAX_NODE_LEN {
        return Err("it is too long");
    }
    let wire = v1::Manifest::decode(bytes.clone()).map_err(|_| "it does not decode")?;
    if wire.level > MAX_LEVEL || wire.chunks.len().max(wire.children.len()) > MAX_NODE {
        return Err("it is too deep or names too much");
    }
    if place.named.is_some_and(|named| named != (wire.level, bytes.len() as u64)) {
        return Err("it is not what its parent says");
    }
    let (node, again) = match (wire.level, wire.chunks.is_empty(), wire.children.is_empty()) {
        (0, false, true) => {
            let chunks = runs(place, &wire.chunks)?;
            let again = leaf(&chunks);
            (Node::Leaf(chunks), again)
        }
        (level @ 1.., true, false) => {
            let children = children(place, &wire.children)?;
            let again = inner(level, &children);
            (Node::Inner(level, children), again)
        }
        _ => return Err("it must name either runs or manifests"),
    };
    if again == *bytes { Ok(node) } else { Err("it is not in canonical form") }
}

fn id(hash: &[u8]) -> Checked<ChunkId> {
    ChunkId::from_slice(hash).ok_or("a hash is not 32 bytes")
}

fn runs(place: Place, wire: &[v1::Chunk]) -> Checked<Vec<Chunk>> {
    let run = |c: &v1::Chunk| {
        let id = if c.hash.is_empty() { None } else { Some(id(&c.hash)?) };
        Ok(Chunk { id, len: c.len })
    };
    let chunks = wire.iter().map(run).collect::<Checked<Vec<_>>>()?;
    layout::check(&chunks, place.size)?;
    check_shape(place.last, &chunks, |c| c.id.as_ref())?;
    Ok(chunks)
}

fn children(place: Place, wire: &[v1::Child]) -> Checked<Vec<Child>> {
    let child = |c: &v1::Child| Ok(Child { id: id(&c.hash)?, len: c.len, size: c.size });
    let children = wire.iter().map(child).collect::<Checked<Vec<_>>>()?;
    if place.named.is_none() && children.len() < 2 {
        return Err("a manifest that names one other stands for nothing");
    }
    let sum = children.iter().try_fold(0u64, |sum, c| sum.checked_add(c.size));
    if sum != Some(place.size) || children.iter().any(|c| c.size == 0) {
        return Err("what it names does not add up to its size");
    }
    check_shape(place.last, &children, |c| Some(&c.id))?;
    Ok(children)
}

/// Whether a node ends where [`ends`] says, and not before.
fn check_shape<T>(last: bool, items: &[T], id: impl Fn(&T) -> Option<&ChunkId>) -> Checked<()> {
    let end = items.iter().enumerate().position(|(i, item)| ends(i + 1, id(item)));
    match end {
        Some(i) if i + 1 == items.len() => Ok(()),
        None if last => Ok(()),
        _ => Err("it ends where no manifest ends"),
    }
}

#[cfg(test)]
mod tests;
