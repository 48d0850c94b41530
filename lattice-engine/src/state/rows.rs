//! Row keys: the bytes under which a record is kept.

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::NodeId;
use crate::key::Key;

/// `parent ‖ 0x00 ‖ name`; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Bytes);

impl RowKey {
    pub fn of(key: &Key) -> Self {
        if key.is_root() {
            return Self(Bytes::new());
        }
        let (bytes, name) = (key.as_bytes(), key.name());
        let parent = &bytes[..bytes.len().saturating_sub(name.len() + 1)];
        let mut row = BytesMut::with_capacity(bytes.len() + 1);
        row.put_slice(parent);
        row.put_u8(0);
        row.put_slice(name);
        Self(row.freeze())
    }

    /// Where the children of `dir` begin: `dir ‖ 0x00`.
    pub fn children_of(dir: &Key) -> Bytes {
        Bytes::from([dir.as_bytes(), &[0]].concat())
    }

    /// The last segment of the key.
    pub fn name(&self) -> Bytes {
        let at = self.0.iter().position(|b| *b == 0).map_or(self.0.len(), |i| i + 1);
        self.0.slice(at..)
    }

    /// The key, if this is the row of one.
    pub fn key(&self) -> Option<Key> {
        if self.0.is_empty() {
            return Some(Key::ROOT);
        }
        let at = self.0.iter().position(|b| *b == 0)?;
        let (parent, name) = (&self.0[..at], &self.0[at + 1..]);
        let path = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        Key::from_wire(path.into()).ok()
    }
}

/// Local numbers of authors: a row names its authors by these.
pub trait Authors {
    fn index(&mut self, author: &NodeId) -> u32;
    fn author(&self, index: u32) -> Option<NodeId>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_its_children_are_apart_from_names_that_sort_between() {
        let row = |s: &str| RowKey::of(&Key::parse(s.as_bytes()).expect("a key"));
        let mut rows = [row("a/b/c"), row("a/b.txt"), row("a/b"), row("a"), RowKey::of(&Key::ROOT)];
        rows.sort();
        let keys: Vec<String> = rows.iter().map(|r| r.key().expect("a key").to_string()).collect();
        assert_eq!(keys, ["", "a", "a/b", "a/b.txt", "a/b/c"]);
        assert_eq!(rows[4].name(), "c");
        let dir = Key::parse(b"a").expect("a key");
        assert!(rows[2].0.starts_with(&RowKey::children_of(&dir)));
        assert!(!rows[4].0.starts_with(&RowKey::children_of(&dir)));
    }
}
