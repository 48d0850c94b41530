//! What wakes the thread behind a store, and what writers wait for when it lags.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What the overlay may hold before writers wait for the applier.
pub(super) const MAX_OVERLAY: usize = 4 << 20;
/// From here on the applier doesn't wait for more to come.
const SOON_OVERLAY: usize = 1 << 20;
/// How long it lets changes gather, so that a record which changes often is written once.
const GATHER: Duration = Duration::from_millis(50);

/// What the thread waits for.
#[derive(Debug, Default)]
pub(super) struct Work {
    state: Mutex<WorkState>,
    wake: Condvar,
    drained: Condvar,
    /// Set while there is something to do; spares writers the lock.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct WorkState {
    overlay: usize,
    dirty: bool,
    stop: bool,
}

impl Work {
    /// Something was committed; the overlay holds so much.
    pub fn dirty(&self, overlay: usize) {
        if self.busy.load(Ordering::Acquire) && overlay < SOON_OVERLAY {
            return;
        }
        let mut state = self.state.lock();
        state.dirty = true;
        state.overlay = overlay;
        self.busy.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_one();
        self.drained.notify_all();
    }

    pub fn stopped(&self) -> bool {
        self.state.lock().stop
    }

    /// The applier has made room.
    pub fn applied(&self, overlay: usize) {
        let mut state = self.state.lock();
        state.overlay = overlay;
        self.drained.notify_all();
    }

    /// Waits until the overlay is below its cap, or there is no hope of it.
    pub fn drained(&self, hopeless: impl Fn() -> bool) {
        let mut state = self.state.lock();
        while state.overlay > MAX_OVERLAY && !state.stop && !hopeless() {
            self.drained.wait_for(&mut state, Duration::from_millis(100));
        }
    }

    /// Waits for something to do, `at_most` so long, and lets more gather. True: stop.
    pub fn wait(&self, at_most: Duration) -> bool {
        let deadline = Instant::now().checked_add(at_most);
        let mut state = self.state.lock();
        while !state.dirty && !state.stop {
            let timed_out = match deadline {
                Some(deadline) => self.wake.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.wake.wait(&mut state);
                    false
                }
            };
            if timed_out {
                return state.stop;
            }
        }
        let gather = Instant::now() + GATHER;
        while !state.stop && state.overlay < SOON_OVERLAY {
            if self.wake.wait_until(&mut state, gather).timed_out() {
                break;
            }
        }
        state.dirty = false;
        self.busy.store(false, Ordering::Release);
        state.stop
    }
}
