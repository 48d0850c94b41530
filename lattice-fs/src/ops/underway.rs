//! A file that was closed and logged, and is not an entry yet. Knows nothing of inodes: `commit` moves it along.

use lattice_engine::store::Intent;
use parking_lot::Mutex;

/// A file on its way: written and logged, but not an entry yet. A large one, which is still to be chunked, or one that
/// was closed while it was empty, by a descriptor that may not be the last: what comes next goes in the same version.
#[derive(Debug)]
pub struct Underway {
    pub intent: Intent,
    /// Held by whoever promotes or drops it.
    pub gate: Mutex<()>,
}

impl Underway {
    pub fn new(intent: Intent) -> Self {
        Self { intent, gate: Mutex::new(()) }
    }
}
