//! The attributes of a file, field by field: whoever set one last, whatever the order in which it is heard of.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::entry::{EntryRef, Time};

/// A last-writer-wins register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register<T> {
    pub at: EntryRef,
    pub value: T,
}

/// The attribute registers of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileAttrs {
    pub mode: Option<Register<u32>>,
    pub mtime: Option<Register<Time>>,
    pub atime: Option<Register<Time>>,
    pub uid: Option<Register<u32>>,
    pub gid: Option<Register<u32>>,
    /// `None` in a register: removed.
    pub xattrs: BTreeMap<Bytes, Register<Option<Bytes>>>,
}
