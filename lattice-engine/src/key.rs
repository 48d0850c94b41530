//! Keys are relative paths of bytes. Everything that reaches the engine's inside is a [`Key`], and a `Key` can't hold
//! an empty segment, `.`, `..`, a NUL, a segment over 255 bytes, one named `.lattice`, or more than 4096 bytes in all:
//! a peer can't smuggle in a traversal, because [`Key::parse`] is the only door.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

/// Bytes in a key, in all.
pub const MAX_KEY: usize = 4096;
/// Bytes in one segment, as `NAME_MAX`.
pub const MAX_SEGMENT: usize = 255;
/// The virtual directory at each store's root; no key may have it as a segment.
pub const RESERVED: &[u8] = b".lattice";

/// Why a name or a path is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key can't be empty")]
    Empty,
    #[error("a key can't hold an empty segment (\"//\" or a \"/\" at its end)")]
    EmptySegment,
    #[error("a key can't hold \".\" or \"..\"")]
    Dots,
    #[error("a key can't hold a NUL byte")]
    Nul,
    #[error("\".lattice\" is the control directory and can't be a key")]
    Reserved,
    #[error("a segment of {0} bytes is over the limit of {MAX_SEGMENT}")]
    LongSegment(usize),
    #[error("a key of {0} bytes is over the limit of {MAX_KEY}")]
    LongKey(usize),
}

/// A checked relative path, or the store's root (the empty path; [`Key::ROOT`]), which holds children and
/// attributes but never a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

fn check_segment(segment: &[u8]) -> Result<(), KeyError> {
    match segment {
        b"" => Err(KeyError::EmptySegment),
        b"." | b".." => Err(KeyError::Dots),
        s if s == RESERVED => Err(KeyError::Reserved),
        s if s.len() > MAX_SEGMENT => Err(KeyError::LongSegment(s.len())),
        s if s.contains(&0) => Err(KeyError::Nul),
        _ => Ok(()),
    }
}

impl Key {
    /// The store's root directory.
    pub const ROOT: Self = Self(Bytes::new());

    /// Reads a path as a person types it: one leading `/` is stripped.
    pub fn parse(path: &[u8]) -> Result<Self, KeyError> {
        Self::from_wire(Bytes::copy_from_slice(path.strip_prefix(b"/").unwrap_or(path)))
    }

    /// Reads a key as it stands in an entry: nothing is stripped.
    pub fn from_wire(path: Bytes) -> Result<Self, KeyError> {
        if path.is_empty() {
            return Err(KeyError::Empty);
        }
        if path.len() > MAX_KEY {
            return Err(KeyError::LongKey(path.len()));
        }
        path.split(|b| *b == b'/').try_for_each(check_segment)?;
        Ok(Self(path))
    }

    /// The key of a child. `name` is one segment.
    pub fn join(&self, name: &[u8]) -> Result<Self, KeyError> {
        if name.contains(&b'/') {
            return Err(KeyError::EmptySegment);
        }
        check_segment(name)?;
        if self.is_root() {
            return Ok(Self(Bytes::copy_from_slice(name)));
        }
        let len = self.0.len() + 1 + name.len();
        if len > MAX_KEY {
            return Err(KeyError::LongKey(len));
        }
        let mut path = Vec::with_capacity(len);
        path.extend_from_slice(&self.0);
        path.push(b'/');
        path.extend_from_slice(name);
        Ok(Self(path.into()))
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The directory that holds this key; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0.slice(..cut)))
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
        &self.0[start..]
    }

    /// The segments, from the root down.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|s| !s.is_empty())
    }

    /// Whether this key stands below `dir`, at any depth.
    pub fn is_below(&self, dir: &Key) -> bool {
        if dir.is_root() {
            return !self.is_root();
        }
        self.0.len() > dir.0.len() && self.0.starts_with(&dir.0) && self.0[dir.0.len()] == b'/'
    }

    /// This key with its ancestor `from` replaced by `to`: what a rename of `from` makes of it.
    pub fn rebase(&self, from: &Key, to: &Key) -> Result<Self, KeyError> {
        if self == from {
            return Ok(to.clone());
        }
        debug_assert!(self.is_below(from));
        let rest = self.0.slice(if from.is_root() { 0 } else { from.0.len() + 1 }..);
        if to.is_root() {
            return Ok(Self(rest));
        }
        let path = [to.as_bytes(), b"/", &rest].concat();
        if path.len() > MAX_KEY {
            return Err(KeyError::LongKey(path.len()));
        }
        Ok(Self(path.into()))
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// As a person reads it: bytes that are not UTF-8, and controls, escaped.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                if c.is_control() || c == '\\' {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for b in part.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(s: &str) -> Key {
        Key::parse(s.as_bytes()).expect(s)
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        for (text, why) in [
            ("", KeyError::Empty),
            ("/", KeyError::Empty),
            ("a//b", KeyError::EmptySegment),
            ("a/", KeyError::EmptySegment),
            ("//a", KeyError::EmptySegment),
            ("../a", KeyError::Dots),
            ("a/./b", KeyError::Dots),
            ("a\0b", KeyError::Nul),
            (".lattice/ctl", KeyError::Reserved),
            ("a/.lattice", KeyError::Reserved),
        ] {
            assert_eq!(Key::parse(text.as_bytes()), Err(why), "{text:?}");
        }
        assert_eq!(Key::parse(&[b'x'; 256]), Err(KeyError::LongSegment(256)));
        let deep = "ab/".repeat(1366) + "x";
        assert_eq!(Key::parse(deep.as_bytes()), Err(KeyError::LongKey(deep.len())));
    }

    #[test]
    fn parents_names_and_rebasing() {
        let k = key("/a/b/c");
        assert_eq!((k.parent(), k.name()), (Some(key("a/b")), &b"c"[..]));
        assert_eq!(key("a").parent(), Some(Key::ROOT));
        assert_eq!(Key::ROOT.parent(), None);
        assert!(k.is_below(&key("a")) && k.is_below(&Key::ROOT) && !key("ab").is_below(&key("a")));
        assert_eq!(k.rebase(&key("a"), &key("x/y")), Ok(key("x/y/b/c")));
    }
}
