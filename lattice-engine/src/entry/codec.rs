//! Domain types to wire messages and back. Shapes only (lengths, which fields go together); the rules that also hold
//! for what we build ourselves are `check`'s.

use bytes::Bytes;

use crate::hlc::Hlc;
use crate::id::{ChunkId, EntryId, FileId, NodeId, StoreId};
use crate::key::Key;
use crate::program::{self, Called};
use crate::wire::v1;
use crate::wire::v1::op::Kind as OpKind;

use super::check::{self, MAX_DEPS};
use super::op::{Attrs, Chunk, Content, Node, Op, Time, Value};
use super::{Dep, EntryError, Header, Kind, OpError, VERSION};

impl Header {
    /// As it is signed. All ids are slices of one buffer.
    pub(super) fn to_wire(&self) -> v1::Header {
        let mut authors: Vec<NodeId> = self.deps.iter().map(|d| d.author).collect();
        authors.sort_unstable();
        authors.dedup();
        let mut ids = Vec::with_capacity(112 + 32 * (self.deps.len() + authors.len()));
        ids.extend_from_slice(&self.store.0);
        for id in [&self.author.0, &self.prev.0, &self.payload_hash] {
            ids.extend_from_slice(id);
        }
        self.deps.iter().for_each(|d| ids.extend_from_slice(&d.id.0));
        authors.iter().for_each(|a| ids.extend_from_slice(&a.0));
        let mut ids = Bytes::from(ids);
        let mut next = |len| ids.split_to(len);
        let (store_id, author, prev_hash, payload_hash) = (next(16), next(32), next(32), next(32));
        let dep = |d: &Dep| v1::Dep {
            hash: next(32),
            author_index: authors.partition_point(|a| *a < d.author) as u32,
            seq: d.seq,
        };
        v1::Header {
            version: VERSION,
            store_id,
            author,
            seq: self.seq,
            prev_hash,
            hlc: self.hlc.0,
            deps: self.deps.iter().map(dep).collect(),
            dep_authors: authors.iter().map(|_| next(32)).collect(),
            payload_hash,
            payload_len: self.payload_len,
            kind: match self.kind {
                Kind::Genesis => v1::EntryKind::Genesis,
                Kind::Data => v1::EntryKind::Data,
                Kind::Ack => v1::EntryKind::Ack,
            }
            .into(),
            group_first: self.group_first,
            group_more: self.group_more,
        }
    }

    pub(super) fn from_wire(h: &v1::Header) -> Result<Self, EntryError> {
        let wrong = |field, why| EntryError::Field { field, why };
        let hash = |field, bytes: &[u8]| bytes.try_into().map_err(|_| wrong(field, "it must have 32 bytes"));
        check::limit("number of deps", h.deps.len(), MAX_DEPS)?;
        let authors = h
            .dep_authors
            .iter()
            .map(|a| hash("dep_authors", a).map(NodeId))
            .collect::<Result<Vec<_>, _>>()?;
        let mut used = vec![false; authors.len()];
        let mut deps = Vec::with_capacity(h.deps.len());
        for dep in &h.deps {
            let index = dep.author_index as usize;
            let author =
                *authors.get(index).ok_or_else(|| wrong("deps", "an author's index is out of range"))?;
            used[index] = true;
            deps.push(Dep { id: EntryId(hash("deps", &dep.hash)?), author, seq: dep.seq });
        }
        if used.contains(&false) || !authors.is_sorted_by(|a, b| a < b) {
            return Err(wrong("dep_authors", "they must be sorted, unique and each the author of a dep"));
        }
        Ok(Self {
            store: StoreId::from_slice(&h.store_id)
                .ok_or_else(|| wrong("store_id", "it must have 16 bytes"))?,
            author: NodeId(hash("author", &h.author)?),
            seq: h.seq,
            prev: EntryId(hash("prev_hash", &h.prev_hash)?),
            hlc: Hlc(h.hlc),
            deps,
            payload_hash: hash("payload_hash", &h.payload_hash)?,
            payload_len: h.payload_len,
            kind: match h.kind() {
                v1::EntryKind::Genesis => Kind::Genesis,
                v1::EntryKind::Data => Kind::Data,
                v1::EntryKind::Ack => Kind::Ack,
                v1::EntryKind::Unspecified => {
                    return Err(wrong("kind", "it is none that is known"));
                }
            },
            group_first: h.group_first,
            group_more: h.group_more,
        })
    }

    /// The index by which an op's `parent` stands on the wire.
    fn index_of(&self, parent: &EntryId) -> Result<u32, OpError> {
        if *parent == self.prev {
            return Ok(0);
        }
        let found = self.deps.binary_search_by(|d| d.id.cmp(parent));
        found.map(|i| i as u32 + 1).map_err(|_| OpError::UnknownParent(*parent))
    }

    /// The entry that an op's parent index stands for.
    fn parent_at(&self, index: u32) -> Result<EntryId, OpError> {
        match index.checked_sub(1) {
            None => Ok(self.prev),
            Some(i) => self.deps.get(i as usize).map(|d| d.id).ok_or(OpError::ParentIndex(index)),
        }
    }
}

/// An op as it stands in the payload of an entry with `header`.
pub(super) fn op_to_wire(op: &Op, header: &Header) -> Result<v1::Op, OpError> {
    let kind = match op {
        Op::Put { key, node, new_name, .. } => {
            OpKind::Put(v1::Put { key: key.to_bytes(), node: Some(node.into()), new_name: *new_name })
        }
        Op::Delete { key, .. } => OpKind::Delete(v1::Delete { key: key.to_bytes() }),
        Op::Attr { key, file_id, attrs } => OpKind::Attr(v1::Attr {
            key: key.to_bytes(),
            file_id: Bytes::copy_from_slice(&file_id.0),
            attrs: attrs_to_wire(attrs),
        }),
        Op::Instruction { program_id, payload, .. } => {
            OpKind::Instruction(v1::Instruction { program_id: program_id.clone(), payload: payload.clone() })
        }
    };
    let mut parent_index = op.parents().iter().map(|p| header.index_of(p)).collect::<Result<Vec<_>, _>>()?;
    parent_index.sort_unstable();
    Ok(v1::Op { kind: Some(kind), parent_index })
}

/// The op that stands in the payload of an entry with `header`; `None`: an operation that only a later version knows.
pub(super) fn op_from_wire(op: v1::Op, header: &Header) -> Result<Option<Op>, OpError> {
    if let Some(w) = op.parent_index.windows(2).find(|w| w[0] >= w[1]) {
        return Err(OpError::ParentIndex(w[1]));
    }
    let mut parents = op.parent_index.iter().map(|i| header.parent_at(*i)).collect::<Result<Vec<_>, _>>()?;
    parents.sort_unstable();
    match op.kind.ok_or(OpError::Empty)? {
        OpKind::Instruction(instruction) => carried_out(instruction, parents),
        kind => operation(kind, parents).map(Some),
    }
}

/// What an instruction is: the operation that a native program makes of it, or itself. `None`: as for [`op_from_wire`].
fn carried_out(instruction: v1::Instruction, parents: Vec<EntryId>) -> Result<Option<Op>, OpError> {
    match program::call(&instruction)? {
        Called::Operation(kind) => operation(kind, parents).map(Some),
        Called::Later => Ok(None),
        Called::Elsewhere => operation(OpKind::Instruction(instruction), parents).map(Some),
    }
}

impl Op {
    /// The operation that an instruction is, citing nothing; the instruction itself where its program isn't here.
    ///
    /// # Errors
    /// What the program refuses.
    pub fn of_instruction(program_id: &str, payload: Bytes) -> Result<Self, OpError> {
        let instruction = v1::Instruction { program_id: program_id.into(), payload };
        carried_out(instruction, Vec::new())?
            .ok_or(OpError::Malformed("its program is too old here for this operation"))
    }
}

/// Ops that are about to be encoded, as a decoder will see them.
pub(super) fn normalised(ops: Vec<Op>) -> Result<Vec<Op>, EntryError> {
    let one = |(index, op)| {
        let Op::Instruction { program_id, payload, parents } = op else { return Ok(op) };
        let op = carried_out(v1::Instruction { program_id, payload }, parents)
            .and_then(|op| op.ok_or(OpError::Malformed("its program is too old here for this operation")));
        op.map_err(|why| EntryError::Op { index, why })
    };
    ops.into_iter().enumerate().map(one).collect()
}

fn operation(kind: OpKind, parents: Vec<EntryId>) -> Result<Op, OpError> {
    match kind {
        OpKind::Put(put) => Ok(Op::Put {
            key: Key::from_wire(put.key)?,
            node: put.node.ok_or(OpError::Malformed("a put has a node"))?.try_into()?,
            new_name: put.new_name,
            parents,
        }),
        OpKind::Delete(delete) => Ok(Op::Delete { key: Key::from_wire(delete.key)?, parents }),
        OpKind::Attr(_) if !parents.is_empty() => Err(OpError::Malformed("attributes have no parents")),
        OpKind::Attr(attr) => Ok(Op::Attr {
            key: if attr.key.is_empty() { Key::ROOT } else { Key::from_wire(attr.key)? },
            file_id: file_id(&attr.file_id)?,
            attrs: attrs_from_wire(attr.attrs)?,
        }),
        OpKind::Instruction(i) => {
            Ok(Op::Instruction { program_id: i.program_id, payload: i.payload, parents })
        }
    }
}

fn file_id(bytes: &[u8]) -> Result<FileId, OpError> {
    FileId::from_slice(bytes).ok_or(OpError::Length { field: "file_id", have: bytes.len(), want: 16 })
}

impl From<&Node> for v1::Node {
    fn from(node: &Node) -> Self {
        let mut wire = Self {
            file_id: Bytes::copy_from_slice(&node.file_id.0),
            attrs: attrs_to_wire(&node.attrs),
            ..Self::default()
        };
        let kind = match &node.value {
            Value::File(content) => {
                wire.size = content.size();
                match content {
                    Content::Inline(bytes) => wire.inline = bytes.clone(),
                    Content::Chunks(chunks) => wire.chunks = chunks.iter().map(Into::into).collect(),
                    Content::Manifest { manifest, .. } => wire.manifest = Some(manifest.into()),
                    // Refused by `check` before it comes here in an entry; a row keeps the range beside the node.
                    Content::InLog(_) => {}
                }
                v1::NodeKind::File
            }
            Value::Dir => v1::NodeKind::Dir,
            Value::Symlink(target) => {
                wire.target = target.clone();
                v1::NodeKind::Symlink
            }
            Value::Fifo => v1::NodeKind::Fifo,
            Value::Socket => v1::NodeKind::Socket,
        };
        wire.set_kind(kind);
        wire
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = OpError;

    fn try_from(wire: v1::Node) -> Result<Self, OpError> {
        let kind = v1::NodeKind::try_from(wire.kind).unwrap_or_default();
        let file_id = file_id(&wire.file_id)?;
        let bare =
            wire.size == 0 && wire.inline.is_empty() && wire.chunks.is_empty() && wire.manifest.is_none();
        if kind != v1::NodeKind::File && !bare {
            return Err(OpError::Malformed("only a file has content"));
        }
        if kind != v1::NodeKind::Symlink && !wire.target.is_empty() {
            return Err(OpError::Malformed("only a symlink has a target"));
        }
        let value = match kind {
            v1::NodeKind::File => Value::File(content(wire.size, wire.inline, &wire.chunks, wire.manifest)?),
            v1::NodeKind::Dir => Value::Dir,
            v1::NodeKind::Symlink => Value::Symlink(wire.target),
            v1::NodeKind::Fifo => Value::Fifo,
            v1::NodeKind::Socket => Value::Socket,
            v1::NodeKind::Unspecified => return Err(OpError::NodeKind(wire.kind)),
        };
        Ok(Self { file_id, value, attrs: attrs_from_wire(wire.attrs)? })
    }
}

fn content(
    size: u64,
    inline: Bytes,
    chunks: &[v1::Chunk],
    manifest: Option<v1::Chunk>,
) -> Result<Content, OpError> {
    let chunks = chunks.iter().map(Chunk::try_from).collect::<Result<Vec<_>, _>>()?;
    let content = match (inline.is_empty(), chunks.is_empty(), manifest) {
        (true, true, Some(manifest)) => Content::Manifest { manifest: Chunk::try_from(&manifest)?, size },
        (true, false, None) if check::total(&chunks) == Some(size) => Content::Chunks(chunks),
        (_, true, None) if inline.len() as u64 == size => Content::Inline(inline),
        (_, true, None) | (true, false, None) => {
            return Err(OpError::Malformed("a file's size is that of its content"));
        }
        _ => {
            return Err(OpError::Malformed("a file is inline, chunks or a manifest, and only one of them"));
        }
    };
    Ok(content)
}

impl From<&Chunk> for v1::Chunk {
    fn from(chunk: &Chunk) -> Self {
        let hash = chunk.id.map(|id| Bytes::copy_from_slice(&id.0)).unwrap_or_default();
        Self { hash, len: chunk.len }
    }
}

impl TryFrom<&v1::Chunk> for Chunk {
    type Error = OpError;

    fn try_from(wire: &v1::Chunk) -> Result<Self, OpError> {
        let id = match wire.hash.len() {
            0 => None,
            have => {
                let id = ChunkId::from_slice(&wire.hash);
                Some(id.ok_or(OpError::Length { field: "chunk hash", have, want: 32 })?)
            }
        };
        Ok(Self { id, len: wire.len })
    }
}

impl From<Time> for v1::Time {
    fn from(time: Time) -> Self {
        Self { s: time.s, ns: time.ns }
    }
}

impl From<v1::Time> for Time {
    fn from(wire: v1::Time) -> Self {
        Self { s: wire.s, ns: wire.ns }
    }
}

/// `None` where nothing is set: that has one encoding too.
fn attrs_to_wire(attrs: &Attrs) -> Option<v1::Attrs> {
    if attrs.is_empty() {
        return None;
    }
    let xattr =
        |(name, value): &(Bytes, Option<Bytes>)| v1::Xattr { name: name.clone(), value: value.clone() };
    Some(v1::Attrs {
        mode: attrs.mode,
        mtime: attrs.mtime.map(Into::into),
        uid: attrs.uid,
        gid: attrs.gid,
        xattrs: attrs.xattrs.iter().map(xattr).collect(),
        atime: attrs.atime.map(Into::into),
    })
}

fn attrs_from_wire(wire: Option<v1::Attrs>) -> Result<Attrs, OpError> {
    let Some(wire) = wire else {
        return Ok(Attrs::default());
    };
    let attrs = Attrs {
        mode: wire.mode,
        mtime: wire.mtime.map(Into::into),
        atime: wire.atime.map(Into::into),
        uid: wire.uid,
        gid: wire.gid,
        xattrs: wire.xattrs.into_iter().map(|x| (x.name, x.value)).collect(),
    };
    if attrs.is_empty() {
        Err(OpError::Malformed("attributes that set nothing are left out"))
    } else {
        Ok(attrs)
    }
}
