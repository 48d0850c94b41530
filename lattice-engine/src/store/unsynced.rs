//! Staged files that an intent in the log names and that may be in memory only. The log is never synced before them: else a
//! power loss keeps the intent of a file of the right length, and of its bytes only some. Refuses nothing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::disk::{Disk, Open};

use super::intent::Intent;

/// By the intent's number.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<BTreeMap<u64, PathBuf>>);

impl Unsynced {
    /// IMPORTANT: before the intent is appended, so that whoever syncs the log with it finds the file here.
    pub fn add(&self, intent: &Intent) {
        // An empty file need not be there.
        if intent.size > 0 {
            self.0.lock().insert(intent.id, intent.file.clone());
        }
    }

    pub fn forget(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    /// All that were added before are on the disk when it returns. One that fails isn't tried again: what the kernel dropped
    /// can't be written by trying. To be followed by a sync of content: what was adopted meanwhile is there.
    pub fn sync(&self, disk: &dyn Disk) -> Result<(), String> {
        let waiting = self.0.lock().clone();
        let mut result = Ok(());
        for (id, file) in waiting {
            match disk.open(&file, Open::Read).and_then(|f| f.sync_data()) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    result = result.and(Err(format!("syncing {} failed: {e}", file.display())));
                }
                _ => {}
            }
            self.forget(id);
        }
        result
    }
}
