//! A file that was closed and logged, and is not an entry yet. Knows nothing of inodes: `commit` moves it along.

use std::sync::Arc;

use lattice_engine::store::Intent;
use parking_lot::Mutex;

/// Closed (locked) as long as somebody reads a staged file without holding its inode's state, which may take minutes: what
/// would change the file waits for it, with no lock held, and nothing else does.
pub type Gate = Arc<Mutex<()>>;

/// A file on its way: written and logged, but not an entry yet. A large one, which is still to be chunked, or one that
/// was closed while it was empty, by a descriptor that may not be the last: what comes next goes in the same version.
#[derive(Debug)]
pub struct Underway {
    pub intent: Intent,
    /// Closed by whoever promotes or drops it. The same for all intents of one open file.
    pub gate: Gate,
}

impl Underway {
    pub fn new(intent: Intent, gate: Gate) -> Self {
        Self { intent, gate }
    }
}
