//! The limits and rules of an entry that need no other entry to check: the same on building and on decoding, so that
//! no replica accepts what another refuses.

use std::collections::HashSet;

use crate::id::{EntryId, FileId, StoreId};

use super::op::{Attrs, Chunk, Content, MAX_DIRECT_CHUNKS, MAX_INLINE, Node, Op, Value};
use super::{EntryError, Header, Kind, OpError};

/// Bytes of an encoded payload.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Bytes of an encoded header.
pub const MAX_HEADER: usize = 64 << 10;
/// Ops in an entry.
pub const MAX_OPS: usize = 8192;
/// Deps of an entry.
pub const MAX_DEPS: usize = 1024;
/// Bytes of a symlink's target, as `PATH_MAX` without its NUL.
pub const MAX_TARGET: usize = 4095;
/// Bytes of an xattr's name, as `XATTR_NAME_MAX`.
pub const MAX_XATTR_NAME: usize = 255;
/// Bytes of an xattr's value, as `XATTR_SIZE_MAX`.
pub const MAX_XATTR_VALUE: usize = 64 << 10;
/// Bytes of a program id.
pub const MAX_PROGRAM_ID: usize = 255;
/// Bytes of a file: `off_t` holds no more.
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

pub(super) fn limit(what: &'static str, have: usize, limit: usize) -> Result<(), EntryError> {
    if have > limit { Err(EntryError::Limit { what, have, limit }) } else { Ok(()) }
}

fn op_limit(what: &'static str, have: usize, limit: usize) -> Result<(), OpError> {
    if have > limit { Err(OpError::Limit { what, have: have as u64, limit: limit as u64 }) } else { Ok(()) }
}

fn rule(holds: bool, why: &'static str) -> Result<(), OpError> {
    if holds { Ok(()) } else { Err(OpError::Malformed(why)) }
}

/// The rules of a header by itself.
pub(super) fn header(h: &Header) -> Result<(), EntryError> {
    let wrong = |field, why| Err(EntryError::Field { field, why });
    let genesis = h.kind == Kind::Genesis;
    if genesis != (h.seq == 0) {
        return wrong("seq", "a genesis has 0, and every other entry 1 or more");
    }
    if genesis != (h.prev == EntryId::ZERO) {
        return wrong("prev_hash", "a genesis has zeros, and no other entry");
    }
    if genesis != (h.store == StoreId([0; 16])) {
        return wrong("store_id", "a genesis has zeros, and no other entry");
    }
    if genesis && !h.deps.is_empty() {
        return wrong("deps", "nothing is before a genesis");
    }
    if h.group_first > h.seq || (h.group_more && h.group_first == 0) {
        return wrong("group_first", "a group begins at this entry or before it");
    }
    limit("number of deps", h.deps.len(), MAX_DEPS)?;
    limit("payload length", usize::try_from(h.payload_len).unwrap_or(usize::MAX), MAX_PAYLOAD)?;
    if !h.deps.is_sorted_by(|a, b| a.id < b.id) {
        return wrong("deps", "they must be sorted and unique");
    }
    for dep in &h.deps {
        if dep.id == h.prev {
            return wrong("deps", "prev_hash is a dep already");
        }
        if dep.author == h.author && dep.seq >= h.seq {
            return wrong("deps", "an entry can't come after a later one of its own author");
        }
    }
    Ok(())
}

/// The rules of an entry's ops, by themselves and together.
pub(super) fn ops(kind: Kind, ops: &[Op]) -> Result<(), EntryError> {
    limit("number of ops", ops.len(), MAX_OPS)?;
    match kind {
        Kind::Data if ops.is_empty() => {
            return Err(EntryError::Field { field: "kind", why: "a data entry has at least one op" });
        }
        Kind::Ack if !ops.is_empty() => {
            return Err(EntryError::Field { field: "kind", why: "an ack has no ops" });
        }
        _ => {}
    }
    let mut seen = HashSet::with_capacity(if ops.len() > 1 { ops.len() } else { 0 });
    for (index, op) in ops.iter().enumerate() {
        let fail = |why| EntryError::Op { index, why };
        self::op(op).map_err(fail)?;
        if kind == Kind::Genesis && !op.parents().is_empty() {
            return Err(fail(OpError::ParentIndex(0)));
        }
        if ops.len() > 1 && facet(op).is_some_and(|facet| !seen.insert(facet)) {
            return Err(fail(OpError::SecondOfKey));
        }
    }
    Ok(())
}

/// What an op decides: the value of a key, or attributes of a file there. An entry decides each at most once.
fn facet(op: &Op) -> Option<(&[u8], Option<FileId>)> {
    match op {
        Op::Put { key, .. } | Op::Delete { key, .. } => Some((key.as_bytes(), None)),
        Op::Attr { key, file_id, .. } => Some((key.as_bytes(), Some(*file_id))),
        Op::Instruction { .. } => None,
    }
}

fn op(op: &Op) -> Result<(), OpError> {
    rule(op.parents().is_sorted_by(|a, b| a < b), "its parents must be sorted and unique")?;
    match op {
        Op::Put { key, node, .. } => {
            rule(!key.is_root(), "the root holds no value")?;
            self::node(node)
        }
        Op::Delete { key, .. } => rule(!key.is_root(), "the root can't be deleted"),
        Op::Attr { attrs, .. } if attrs.is_empty() => Err(OpError::Empty),
        Op::Attr { attrs, .. } => self::attrs(attrs),
        Op::Instruction { program_id, .. } => {
            rule(!program_id.is_empty(), "an instruction names its program")?;
            op_limit("program id", program_id.len(), MAX_PROGRAM_ID)
        }
    }
}

fn node(node: &Node) -> Result<(), OpError> {
    attrs(&node.attrs)?;
    match &node.value {
        Value::File(content) => self::content(content),
        Value::Symlink(target) => {
            op_limit("symlink target", target.len(), MAX_TARGET)?;
            rule(!target.is_empty() && !target.contains(&0), "a symlink's target is not empty and has no NUL")
        }
        Value::Dir | Value::Fifo | Value::Socket => Ok(()),
    }
}

fn content(content: &Content) -> Result<(), OpError> {
    match content {
        Content::Inline(bytes) => op_limit("inline value", bytes.len(), MAX_INLINE),
        Content::InLog(_) => Err(OpError::Malformed("bytes left in a local log are put in line first")),
        Content::Chunks(chunks) => {
            rule(!chunks.is_empty(), "a file without chunks is inline")?;
            op_limit("number of chunks", chunks.len(), MAX_DIRECT_CHUNKS)?;
            rule(chunks.iter().all(|c| c.len > 0), "a chunk is not empty")?;
            rule(total(chunks).is_some(), "a file holds at most 2^63 - 1 bytes")
        }
        Content::Manifest { manifest, size } => {
            rule(manifest.id.is_some() && manifest.len > 0, "a manifest is a chunk, not a hole")?;
            rule((1..=MAX_FILE_SIZE).contains(size), "a file holds 1 to 2^63 - 1 bytes")
        }
    }
}

/// The bytes in all of `chunks`, if a file can be that long.
pub(super) fn total(chunks: &[Chunk]) -> Option<u64> {
    chunks.iter().try_fold(0u64, |sum, c| sum.checked_add(c.len)).filter(|sum| *sum <= MAX_FILE_SIZE)
}

fn attrs(attrs: &Attrs) -> Result<(), OpError> {
    rule(attrs.mode.is_none_or(|m| m <= 0o7777), "a mode is permission bits only")?;
    rule(
        [attrs.mtime, attrs.atime].iter().flatten().all(|t| t.ns < 1_000_000_000),
        "a time has less than 10^9 nanoseconds",
    )?;
    rule(attrs.xattrs.is_sorted_by(|(a, _), (b, _)| a < b), "xattrs must be sorted and unique")?;
    for (name, value) in &attrs.xattrs {
        op_limit("xattr name", name.len(), MAX_XATTR_NAME)?;
        rule(!name.is_empty() && !name.contains(&0), "an xattr's name is not empty and has no NUL")?;
        op_limit("xattr value", value.as_ref().map_or(0, |v| v.len()), MAX_XATTR_VALUE)?;
    }
    Ok(())
}
