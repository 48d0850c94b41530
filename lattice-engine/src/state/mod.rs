//! The derived state of one store: what its log amounts to. A cache on redb that may be deleted at any time; opening
//! the store again replays the log into the same rows.
//!
//! - [`tables`]: every redb table, in one documented file
//! - [`rows`]: the key of a row
//! - [`codec`]: its bytes, from and to [`Record`](crate::merge::Record)
//! - [`db`]: one database file: open, read, apply a batch
//! - [`overlay`]: what is newer than redb, in memory and bounded
//!
//! It refuses a file written by a later version, and it never decides anything: what a record means is `merge`'s.

mod backend;
mod chunks;
mod codec;
pub mod db;
pub mod overlay;
mod replace;
pub mod rows;
mod tables;

pub use db::{Applied, State, StateError, StateRead};
pub use overlay::{Dormant, Overlay, Snapshot, TipRow};
pub use replace::Cut;
pub use rows::RowKey;
