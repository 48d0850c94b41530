//! Which requests may take long, so that the one thread that serves requests hands them on.

use super::Fs;
use super::inode::Place;
use super::staged::Body;
use super::table::Known;

impl Fs {
    /// Whether commits in this inode's store wait: those of a start, until it is known that nothing of this node's own is
    /// missing. Whoever waits holds no lock: see [`Fs::wait_for_commits`].
    pub fn commits_wait(&self, ino: u64) -> bool {
        self.table
            .get(ino)
            .is_ok_and(|inode| matches!(&inode.place, Place::Store(v) if v.handle.are_writes_held()))
    }

    /// Until they don't.
    pub fn wait_for_commits(&self, ino: u64) {
        if let Ok(inode) = self.table.get(ino)
            && let Place::Store(volume) = &inode.place
        {
            volume.handle.wait_writes();
        }
    }

    /// Whether committing this file means chunking changes in the middle of a large one.
    pub fn save_waits(&self, ino: u64) -> bool {
        self.table.get(ino).is_ok_and(|inode| {
            let state = inode.state.lock();
            let large = state.staged.as_ref().is_some_and(|s| matches!(s.body, Body::Overlay { .. }));
            large && state.is_dirty() || state.lent.as_ref().is_some_and(|l| l.mappable)
        })
    }

    /// Whether changing this file must first bring a large version of it to where it was going, or make the kernel's its own.
    pub fn settle_waits(&self, ino: u64) -> bool {
        self.table.get(ino).is_ok_and(|inode| {
            let state = inode.state.lock();
            state.intent.is_some() || state.lent.is_some() || state.frozen.is_some()
        })
    }

    /// Whether a rename or removal moves a whole tree, or must first bring a large file to where it was going.
    pub fn name_waits(&self, parent: u64, name: &[u8]) -> bool {
        match self.table.child(parent, name, false) {
            Ok(Known::Inode(inode)) => inode.is_dir() || inode.state.lock().intent.is_some(),
            Ok(Known::Absent | Known::Unknown) | Err(_) => false,
        }
    }
}
