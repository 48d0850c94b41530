//! What a directory's inode remembers of how it was last read.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

/// The order in which a directory was last read to its end. The kernel keeps what it read and hands it to other streams;
/// when it loses it half-way they come here, with an offset into this.
#[derive(Debug)]
pub struct Listing {
    pub names: Vec<Bytes>,
    /// Given out first, because the store didn't know them yet.
    pub pending: Arc<BTreeSet<Bytes>>,
}
