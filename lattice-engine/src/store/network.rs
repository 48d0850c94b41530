//! What a store asks of the network, where one runs: content that an entry names and that isn't here yet (entries travel
//! ahead of the bytes of large files), and who else holds what.

use std::fmt::Debug;
use std::time::Duration;

use crate::entry::Content;
use crate::id::{ChunkId, NodeId, StoreId};
use crate::merge::EntryRef;

/// The network, as stores and those who show them see it.
pub trait Network: Send + Sync + Debug {
    /// Asks for these chunks, and blocks until the first of them is stored here.
    ///
    /// # Errors
    /// There is no hope, or `give_up`, which is asked now and then, says so.
    fn fetch(&self, store: StoreId, chunks: &[ChunkId], give_up: &dyn Fn() -> bool)
    -> Result<(), NotFetched>;

    /// Who holds an entry durably, as far as is known; `content`: and that, which it names and which is in chunks.
    fn held(&self, store: StoreId, entry: &EntryRef, content: Option<&Content>) -> Held;

    /// The other members.
    fn peers(&self, store: StoreId) -> Vec<Peer>;

    /// Members that say that this node was revoked; none while anybody is connected.
    fn revoked_by(&self) -> Vec<NodeId>;
}

/// Why content was waited for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFetched {
    /// Who waited doesn't any more.
    GivenUp,
    /// Nobody gives it; says why.
    Hopeless(String),
}

/// How many members, this node included, hold something durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub by: usize,
    pub members: usize,
}

/// Another member, with regard to one store.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    pub id: NodeId,
    pub name: Option<String>,
    pub connected: bool,
    pub rtt: Option<Duration>,
    pub path: Option<String>,
    /// Entries that the peer has and this node lacks, and the other way round; `None`: it hasn't said.
    pub behind: Option<(u64, u64)>,
}
