//! What a key is, given the entries about it: heads, the winner, conflicts, attributes. Pure functions of a [`Record`].
//!
//! The same entries give the same record in every order in which causes come before effects. It refuses nothing: what
//! reaches it was checked by `entry` and `chain`, and no version is dropped by merging, only by being superseded.

mod apply;
mod attrs;
mod files;
mod record;
mod view;

pub use crate::entry::EntryRef;
pub use attrs::{FileAttrs, Register};
pub use files::Files;
pub use record::{Below, Head, HeadNode, Record};

#[cfg(test)]
mod tests;
