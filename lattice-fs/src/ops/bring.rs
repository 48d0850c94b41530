//! Files whose bytes have not come from a peer yet, or can't be written for now. Operations never wait for them: they fail
//! with [`NOT_HERE`] or [`FROZEN`], and who has a thread to spare calls [`Fs::patiently`], which waits with no lock held and
//! does the operation again.

use std::ops::Range;

use lattice_engine::key::Key;
use lattice_engine::store::StoreError;

use super::Fs;
use super::errno::{self, Errno, FROZEN, NOT_HERE, Result};
use super::inode::Place;

/// Times that an operation is tried: what it needs may be more than what it first said.
const TRIES: usize = 64;

impl Fs {
    /// Does `operation`, waiting before each further try until `range` of each of the files is here, or may be written.
    /// Blocks, until `give_up`, which is asked now and then, says that nobody waits any more for bytes to come.
    pub fn patiently<T>(
        &self,
        files: &[(u64, Range<u64>)],
        give_up: &dyn Fn() -> bool,
        mut operation: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        for _ in 0..TRIES {
            match operation() {
                Err(NOT_HERE) => {
                    files.iter().try_for_each(|(ino, range)| self.bring(*ino, range.clone(), give_up))?;
                }
                Err(FROZEN) => files.iter().for_each(|(ino, _)| self.wait_thawed(*ino)),
                done => return done,
            }
        }
        Err(errno::eio("read", "a file", &"its bytes vanish as fast as they come"))
    }

    fn wait_thawed(&self, ino: u64) {
        let gate = self.table.get(ino).ok().and_then(|inode| inode.state.lock().frozen.clone());
        if let Some(gate) = gate {
            drop(gate.lock());
        }
    }

    fn bring(&self, ino: u64, range: Range<u64>, give_up: &dyn Fn() -> bool) -> Result<()> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else { return Ok(()) };
        let content = inode.state.lock().content().cloned();
        let Some(content) = content else { return Err(Errno::INVAL) };
        volume.handle.bring(&content, range, give_up).map_err(|e| {
            let key = self.table.key(volume, ino, None).unwrap_or(Key::ROOT);
            // It was waited for in vain: this is the end, and it is told.
            match e {
                StoreError::Content(_) | StoreError::NotHere { .. } => {
                    errno::eio("read", &key.to_string(), &e)
                }
                e => volume.failed("read", &key, &e),
            }
        })
    }
}
