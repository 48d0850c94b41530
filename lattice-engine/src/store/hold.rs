//! Holding the first write of a start until it is known that nothing of this node's own is missing
//! ([`crate::sync::FirstWrite`] decides when; who drives the network asks it). Reads, and what others wrote, never wait.

use parking_lot::{Condvar, Mutex};

use super::core::Store;
use super::handle::Handle;

/// Whether commits wait.
#[derive(Debug, Default)]
pub(super) struct Hold {
    held: Mutex<bool>,
    over: Condvar,
}

impl Hold {
    fn set(&self, held: bool) {
        *self.held.lock() = held;
        self.over.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.held.lock()
    }

    /// Until commits don't wait.
    fn wait(&self) {
        let mut held = self.held.lock();
        while *held {
            self.over.wait(&mut held);
        }
    }
}

/// Commits wait as long as it lives.
#[derive(Debug)]
#[must_use = "dropped, it holds nothing"]
pub struct Held(Handle);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store.hold.set(false);
    }
}

impl Handle {
    /// From now on commits wait, until what is returned is dropped. `None` for a store that this process has made: nobody
    /// else can hold entries of this node in it.
    pub fn hold_writes(&self) -> Option<Held> {
        if self.store.made_here {
            return None;
        }
        self.store.hold.set(true);
        Some(Held(self.clone()))
    }

    /// Whether commits wait.
    pub fn are_writes_held(&self) -> bool {
        self.store.hold.is_set()
    }

    /// Until they don't: for who is going to commit with locks of its own taken.
    pub fn wait_writes(&self) {
        self.store.wait_held();
    }
}

impl Store {
    /// IMPORTANT: with no lock taken. What ends the wait may have to write entries that a peer sends.
    pub(super) fn wait_held(&self) {
        self.hold.wait();
    }
}
