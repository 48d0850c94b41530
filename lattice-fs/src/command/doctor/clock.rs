//! Whether the wall clock can be right. A wrong one loses nothing, but picks which of two concurrent versions shows first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, ok, warn};
use crate::paths::Paths;

/// 2025-01-01: this program is younger.
const BUILT_AFTER: u64 = 1_735_689_600;
/// As far as a file may seem to come from the future before somebody is wrong.
const SLACK: Duration = Duration::from_secs(60);

pub fn sane(paths: &Paths) -> Finding {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let advice = "set it: timedatectl set-ntp true";
    if seconds < BUILT_AFTER {
        return warn("clock", "it stands before this program was written", advice);
    }
    match newest(paths).and_then(|t| t.duration_since(now).ok()) {
        Some(ahead) if ahead > SLACK => {
            warn("clock", format!("files of the store are {} s ahead of it", ahead.as_secs()), advice)
        }
        _ => ok("clock", "plausible"),
    }
}

/// When the data directory was last written.
fn newest(paths: &Paths) -> Option<SystemTime> {
    let entries = std::fs::read_dir(&paths.data).ok()?;
    entries.flatten().filter_map(|e| e.metadata().ok()?.modified().ok()).max()
}
