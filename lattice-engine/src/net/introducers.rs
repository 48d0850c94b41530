//! Whom a node that has just joined takes for members, until the root store says who they are.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::files;
use crate::id::NodeId;

/// In the data directory's `net/`.
const FILE: &str = "introducers";

/// Replaces them.
pub(super) fn keep(net: &Path, lines: &str) -> io::Result<()> {
    files::write(&net.join(FILE), lines.as_bytes())
}

pub(super) fn all(net: &Path) -> BTreeSet<NodeId> {
    let text = std::fs::read_to_string(net.join(FILE)).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}
