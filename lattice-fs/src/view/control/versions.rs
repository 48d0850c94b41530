//! One version of a key as a file: its name, its bytes and its size.

use bytes::Bytes;
use jiff::Timestamp;
use lattice_engine::entry::Value;
use lattice_engine::hlc::Hlc;
use lattice_engine::key::Key;
use lattice_engine::merge::EntryRef;
use lattice_engine::store::Handle;

use super::{Result, VFile};

/// An extension longer than this isn't one; the longest name stays well under 255 bytes.
const MAX_EXTENSION: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct VersionFile {
    pub name: Bytes,
    pub entry: EntryRef,
    /// `None`: a deletion, shown as an empty file.
    pub value: Option<Value>,
    /// A head in conflict, which removing its file discards.
    pub removable: bool,
}

impl VersionFile {
    pub fn size(&self) -> u64 {
        match &self.value {
            Some(Value::File(content)) => content.size(),
            other => stand_in(other.as_ref()).len() as u64,
        }
    }

    pub fn open(&self, handle: &Handle) -> Result<VFile> {
        Ok(match &self.value {
            Some(Value::File(content)) => VFile::Version(handle.read_waiting(content)?),
            other => VFile::Text(stand_in(other.as_ref())),
        })
    }
}

/// What a version that isn't a regular file reads as: a symlink as its target, others as a line that says what they are.
fn stand_in(value: Option<&Value>) -> Bytes {
    match value {
        Some(Value::Symlink(target)) => target.clone(),
        Some(Value::Dir) => Bytes::from_static(b"a directory\n"),
        Some(Value::Fifo) => Bytes::from_static(b"a FIFO\n"),
        Some(Value::Socket) => Bytes::from_static(b"a socket\n"),
        Some(Value::File(_)) | None => Bytes::new(),
    }
}

/// `<stem>.<ext>` with the extension of `key`, so that tools know the version's type as they know the file's.
pub(super) fn with_extension(stem: &str, key: &Key) -> Bytes {
    let name = key.name();
    match name.iter().rposition(|b| *b == b'.') {
        // Not for `.profile`, `a.` or an extension that is really a sentence.
        Some(dot) if dot > 0 && (2..=MAX_EXTENSION).contains(&(name.len() - dot)) => {
            [stem.as_bytes(), &name[dot..]].concat().into()
        }
        _ => Bytes::copy_from_slice(stem.as_bytes()),
    }
}

/// `name`, with `~` in front of it until it isn't taken.
pub(super) fn free_name(name: Bytes, taken: impl Fn(&Bytes) -> Result<bool>) -> Result<Bytes> {
    let mut name = name;
    while taken(&name)? {
        name = [b"~", &name[..]].concat().into();
    }
    Ok(name)
}

/// `2026-11-22T081003Z`: sorts by time, and no file system or shell minds it.
pub(super) fn stamp(hlc: Hlc) -> String {
    let ms = i64::try_from(hlc.wall_ms()).unwrap_or(i64::MAX);
    // 48 bits of milliseconds reach past the last year there is: such a clock is shown as that year.
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_stays_last() {
        let long = format!("a.{}", "x".repeat(200));
        for (key, name) in [
            ("notes.md", "1.md"),
            ("d.d/notes", "1"),
            ("a.tar.gz", "1.gz"),
            (".profile", "1"),
            ("a.", "1"),
            (&*long, "1"),
        ] {
            let key = Key::parse(key.as_bytes()).expect("key");
            assert_eq!(with_extension("1", &key), name, "{key}");
        }
    }

    #[test]
    fn a_stamp_is_utc_and_bounded() {
        assert_eq!(stamp(Hlc::new(1_795_335_003_123, 9)), "2026-11-22T081003Z");
        assert_eq!(stamp(Hlc(u64::MAX)), "9999-12-30T220000Z");
    }
}
