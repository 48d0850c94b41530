//! How long a start or a command waits for the process that has the data directory. One command after the other lets go of
//! it in a moment; one that has kept it for longer is at long work, or is no command, and is not waited for. And how long a
//! command looks at a mount, behind which there may be a daemon that hangs.

use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

/// While the holders change, and while it is one and the same.
const ALL: Duration = Duration::from_secs(5);
const SAME: Duration = Duration::from_secs(1);
/// How often to try again.
pub const POLL: Duration = Duration::from_millis(25);

/// Unset in a process that doesn't look at mounts from outside.
static LOOK: OnceLock<Duration> = OnceLock::new();

/// How long a look may take in this process, from here on.
pub fn limit_looks(limit: Duration) {
    // Said once, by the command line.
    let _ = LOOK.set(limit);
}

/// What a look at files comes to, or how long it has taken without coming to anything. The thread that looked is left
/// behind: nothing ends a system call that waits for a daemon.
pub fn look<T: Send + 'static>(at: impl FnOnce() -> T + Send + 'static) -> Result<T, Duration> {
    let Some(limit) = LOOK.get() else { return Ok(at()) };
    let (tell, seen) = mpsc::sync_channel(1);
    // Nobody listens any more to what comes too late.
    std::thread::spawn(move || drop(tell.send(at())));
    seen.recv_timeout(*limit).map_err(|_| *limit)
}

/// The waiting of one start.
#[derive(Debug)]
pub struct Patience {
    began: Instant,
    holder: Option<(u32, Instant)>,
}

impl Patience {
    pub fn new(now: Instant) -> Self {
        Self { began: now, holder: None }
    }

    /// Whether to try again after [`POLL`], now that this process was found to hold it (0: it can't be told which).
    pub fn goes_on(&mut self, pid: u32, now: Instant) -> bool {
        let since = match self.holder {
            Some((same, since)) if same == pid => since,
            _ => now,
        };
        self.holder = Some((pid, since));
        now.duration_since(since) < SAME && now.duration_since(self.began) < ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_it_is_given_up_before_those_who_take_turns() {
        let start = Instant::now();
        let tried = |pid: fn(u64) -> u32| {
            let mut patience = Patience::new(start);
            let late = |ms: u64| start + Duration::from_millis(ms);
            (0..).map(|n| n * 25).find(|ms| !patience.goes_on(pid(*ms), late(*ms))).unwrap_or_default()
        };
        assert_eq!(tried(|_| 7), 1000);
        assert_eq!(tried(|_| 0), 1000);
        assert_eq!(tried(|ms| (ms / 500) as u32), 5000);
    }
}
