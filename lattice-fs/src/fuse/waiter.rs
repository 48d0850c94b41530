//! Whether a program that waits for an answer has been sent a signal that it would act on: then it is waited for in vain.
//!
//! The kernel has a request of its own for that, but only tells those who take it, and fuser turns it down; from then on a
//! reader sleeps until its answer comes, whatever it is sent. So what waits long looks at the waiting thread itself.

use fuser::Request;

/// The thread that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Waiter(u32);

impl Waiter {
    /// Somebody who is not to be interrupted.
    pub const PATIENT: Self = Self(0);

    pub fn of(request: &Request) -> Self {
        Self(request.pid())
    }

    /// A signal that it neither blocks nor ignores is pending, or it is gone.
    pub fn is_interrupted(self) -> bool {
        // The kernel's own requests (readahead, writeback), and threads that can't be seen from here.
        if self.0 == 0 {
            return false;
        }
        match std::fs::read_to_string(format!("/proc/{}/status", self.0)) {
            Ok(status) => pending(&status),
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    }
}

/// From the text of `/proc/<pid>/status`.
fn pending(status: &str) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let set = |name| mask(name).unwrap_or_default();
    (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & !set("SigIgn:") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_signal_counts_unless_it_is_blocked_or_ignored() {
        let status = |thread: u64, process: u64, blocked: u64, ignored: u64| {
            format!(
                "Name:\tcat\nSigQ:\t0/9\nSigPnd:\t{thread:016x}\nShdPnd:\t{process:016x}\nSigBlk:\t{blocked:016x}\n\
                 SigIgn:\t{ignored:016x}\nSigCgt:\t0000000000000000\n"
            )
        };
        assert!(!pending(&status(0, 0, 0, 0)));
        assert!(pending(&status(2, 0, 0, 0)) && pending(&status(0, 0x4000, 0, 0)));
        assert!(!pending(&status(2, 0, 2, 0)) && !pending(&status(0, 2, 0, 2)));
        assert!(pending(&status(2, 0x4000, 2, 0)));
        assert!(!pending(""), "a system that doesn't tell");
    }

    #[test]
    fn this_very_thread_is_not_interrupted_and_one_that_is_gone_is() {
        assert!(!Waiter(std::process::id()).is_interrupted());
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        child.wait().expect("its end");
        assert!(Waiter(child.id()).is_interrupted());
        assert!(!Waiter::PATIENT.is_interrupted());
    }
}
