//! `user.lattice.*`: where a file comes from and what it conflicts with, readable by name on every file of a mount.
//!
//! They are never listed: `cp -a` and `rsync -X` would copy a listed one, and the copy would lie. All are text without a
//! newline at the end. Only `user.lattice.resolve` and `user.lattice.pin` can be written, and only the latter be removed.

use std::io;

use bytes::Bytes;
use lattice_engine::entry::{Content, Value};
use lattice_engine::key::Key;
use lattice_engine::merge::{Head, Record};
use lattice_engine::store::{Handle, StoreError};

use super::effective::{Kind, differing, ranked_heads, shown_head};
use super::resolve::{self, ResolveError};

/// What every name here starts with.
pub const PREFIX: &[u8] = b"user.lattice.";
/// The readable names, without [`PREFIX`].
pub const READABLE: [&str; 11] =
    ["store", "key", "entry", "author", "hlc", "heads", "conflict", "hash", "size", "synced", "pin"];
/// The kernel takes no longer value than 64 KiB: heads beyond these are counted on a last line.
const MAX_HEAD_LINES: usize = 300;

/// Why an attribute could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum XattrError {
    /// ENODATA: no such name, or it means nothing for this kind of file.
    #[error("no such attribute")]
    NoData,
    /// EPERM.
    #[error("user.lattice.{0} can't be written: only user.lattice.resolve and user.lattice.pin can")]
    ReadOnly(String),
    /// EINVAL.
    #[error("user.lattice.resolve takes an entry id or a unique prefix as text")]
    NotText,
    /// EINVAL.
    #[error("user.lattice.pin takes 1 to pin and 0 not to")]
    BadPin,
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T> = std::result::Result<T, XattrError>;

/// Whether a name is one of ours and so never a replicated attribute, whoever sets it.
pub fn is_ours(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// The value of `user.lattice.<...>` (the full name) on what stands at `key`:
/// - `store` its UUID; `key` the path in the store, in its own bytes; `size` in bytes, of a file or a symlink's target;
/// - `entry` `author` `hlc` of the version shown: 64 hex digits each, and `milliseconds.counter`. None for a directory that
///   no entry made;
/// - `heads` a line per head, the shown one first: entry id, author, HLC, kind (or `deleted`), and `winner` or `-`, with
///   tabs between;
/// - `conflict` how many live heads differ, 0 when none; on a directory the keys in conflict at it and below;
/// - `hash` BLAKE3 of a file's content or a symlink's target, in hex; reads all of it;
/// - `synced` `2 of 3 members have it durably`, this one included, as far as is known; `local` where there is no other
///   member, or no network;
/// - `pin` `pinned`, or `by` and the key of the directory above whose pin covers it; none where nothing does.
///
/// # Errors
/// `NoData` for another name, and for one that says nothing of this kind of file.
pub fn get(handle: &Handle, key: &Key, name: &[u8]) -> Result<Bytes> {
    let name = name.strip_prefix(PREFIX).ok_or(XattrError::NoData)?;
    if name == b"pin" {
        return match handle.policy().pin_of(key).ok_or(XattrError::NoData)? {
            pin if pin == *key => Ok(Bytes::from_static(b"pinned")),
            pin => Ok(format!("by {pin}").into()),
        };
    }
    let record = handle.get(key)?.ok_or(XattrError::NoData)?;
    let head = shown_head(&record);
    let entry = || head.map(|h| h.entry).ok_or(XattrError::NoData);
    let text = match name {
        b"store" => handle.id().to_string(),
        b"key" => return Ok(key.to_bytes()),
        b"entry" => entry()?.id.to_string(),
        b"author" => entry()?.author.to_string(),
        b"hlc" => entry()?.hlc.to_string(),
        b"heads" => heads(&record),
        b"conflict" => conflict(handle, key, &record)?.to_string(),
        b"hash" => hash(handle, head)?.to_hex().to_string(),
        b"size" => size(head)?.to_string(),
        b"synced" => synced(handle, &record),
        _ => return Err(XattrError::NoData),
    };
    Ok(text.into())
}

/// Sets `user.lattice.resolve`: its value is an entry id or a unique prefix, and that head becomes the only one. Or
/// `user.lattice.pin`: 1, what stands here and below is fetched and kept on this node; 0, not because of this path.
///
/// # Errors
/// `ReadOnly` for any other name; what [`resolve::resolve`] refuses.
pub fn set(handle: &Handle, key: &Key, name: &[u8], value: &[u8]) -> Result<()> {
    let name = name.strip_prefix(PREFIX).ok_or(XattrError::NoData)?;
    match name {
        b"pin" => return pin(handle, key, value),
        b"resolve" => {}
        other => return Err(XattrError::ReadOnly(String::from_utf8_lossy(other).into_owned())),
    }
    let pick = std::str::from_utf8(value).map_err(|_| XattrError::NotText)?;
    resolve::resolve(handle, key, pick)?;
    Ok(())
}

/// Removes `user.lattice.pin`.
///
/// # Errors
/// `ReadOnly` for any other name; `NoData` where there is no pin at this very path.
pub fn remove(handle: &Handle, key: &Key, name: &[u8]) -> Result<()> {
    match name.strip_prefix(PREFIX).ok_or(XattrError::NoData)? {
        b"pin" if handle.unpin(key)? => Ok(()),
        b"pin" => Err(XattrError::NoData),
        other => Err(XattrError::ReadOnly(String::from_utf8_lossy(other).into_owned())),
    }
}

fn pin(handle: &Handle, key: &Key, value: &[u8]) -> Result<()> {
    match value.trim_ascii() {
        b"1" | b"" => handle.pin(key)?,
        b"0" => handle.unpin(key)?,
        _ => return Err(XattrError::BadPin),
    };
    Ok(())
}

fn heads(record: &Record) -> String {
    let shown = shown_head(record).map(|h| h.entry);
    let heads = ranked_heads(record);
    let mut lines: Vec<String> = heads
        .iter()
        .take(MAX_HEAD_LINES)
        .map(|h| {
            let kind = h.node.as_ref().map_or("deleted", |n| Kind::of(&n.value).word());
            let mark = if Some(h.entry) == shown { "winner" } else { "-" };
            format!("{}\t{}\t{}\t{kind}\t{mark}", h.entry.id, h.entry.author, h.entry.hlc)
        })
        .collect();
    if heads.len() > MAX_HEAD_LINES {
        lines.push(format!("and {} more", heads.len() - MAX_HEAD_LINES));
    }
    lines.join("\n")
}

fn conflict(handle: &Handle, key: &Key, record: &Record) -> Result<u64> {
    if super::effective::is_dir(key, record) {
        return Ok(resolve::conflicts_at(handle, key)?.len() as u64);
    }
    Ok(differing(record))
}

/// Of the version that fewest hold.
fn synced(handle: &Handle, record: &Record) -> String {
    let Some(network) = handle.network() else { return "local".into() };
    let in_chunks = |head: &'_ Head| match head.node.as_ref().map(|n| &n.value) {
        Some(Value::File(content @ (Content::Chunks(_) | Content::Manifest { .. }))) => Some(content.clone()),
        _ => None,
    };
    let held = record.heads.iter().map(|h| network.held(handle.id(), &h.entry, in_chunks(h).as_ref()));
    match held.min_by_key(|held| held.by) {
        Some(held) if held.members > 1 => format!("{} of {} members have it durably", held.by, held.members),
        _ => "local".into(),
    }
}

fn size(head: Option<&Head>) -> Result<u64> {
    match head.and_then(|h| h.node.as_ref()).map(|n| &n.value) {
        Some(Value::File(content)) => Ok(content.size()),
        Some(Value::Symlink(target)) => Ok(target.len() as u64),
        _ => Err(XattrError::NoData),
    }
}

fn hash(handle: &Handle, head: Option<&Head>) -> Result<blake3::Hash> {
    let content = match head.and_then(|h| h.node.as_ref()).map(|n| &n.value) {
        Some(Value::File(content)) => content,
        Some(Value::Symlink(target)) => return Ok(blake3::hash(target)),
        _ => return Err(XattrError::NoData),
    };
    let reader = handle.read(content)?;
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        match reader.read_at(&mut buf, offset)? {
            0 if offset < reader.size() => {
                let what = format!("content ends at byte {offset} of {}", reader.size());
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(StoreError::Io { what, source }.into());
            }
            0 => return Ok(hasher.finalize()),
            n => {
                hasher.update(&buf[..n]);
                offset += n as u64;
            }
        }
    }
}
