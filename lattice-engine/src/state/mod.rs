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
mod branches;
mod chunks;
mod codec;
pub mod db;
pub mod overlay;
mod replace;
pub mod rows;
mod tables;

pub use branches::Branch;
pub use db::{Applied, State, StateError, StateRead};
pub use overlay::{Dormant, Overlay, Snapshot, TipRow};
pub use replace::Cut;
pub use rows::RowKey;

/// Takes any bytes for a row. A record that is read is written and read again as the same.
pub(crate) fn decode_any(row: &[u8]) {
    use rows::Authors;

    let mut authors = db::AuthorTable::default();
    for n in 0..4 {
        authors.index(&crate::id::NodeId([n; 32]));
    }
    if let Some(record) = codec::decode(row, &authors) {
        let again = codec::encode(&record, &mut authors);
        assert_eq!(codec::decode(&again, &authors), Some(record));
    }
}
