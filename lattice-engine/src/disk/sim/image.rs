//! What is on the disk after a crash: the recorded operations, less what was never promised.

use std::collections::BTreeSet;
use std::path::Path;

use super::Rng;
use super::tree::{Inode, Op, Tree, punch, write};

/// The unit in which a write is torn.
const SECTOR: u64 = 512;

/// Everything that was done: what a kill of the process leaves.
pub(super) fn kill(base: &Tree, ops: &[Op]) -> Tree {
    let mut tree = start(base, ops);
    for op in ops {
        tree.apply(op);
    }
    tree
}

/// One of the states that a power loss after `ops` may leave.
pub(super) fn crash(base: &Tree, ops: &[Op], rng: &mut Rng) -> Tree {
    let mut tree = start(base, ops);
    let durable = durable(ops);
    // Now and then a crash in which nothing at all or everything was still on its way.
    let mood = rng.below(6);
    for (op, durable) in ops.iter().zip(durable) {
        if durable || mood == 0 {
            tree.apply(op);
        } else if mood != 1 {
            apply_some(&mut tree, op, rng);
        }
    }
    tree
}

/// The base with room for all files that `ops` make.
fn start(base: &Tree, ops: &[Op]) -> Tree {
    let mut tree = base.clone();
    let made = ops.iter().filter(|op| matches!(op, Op::Create { .. })).count();
    tree.files.resize(base.files.len() + made, Vec::new());
    tree
}

/// For each operation, whether it is promised: walked backwards, because a sync covers what is before it.
fn durable(ops: &[Op]) -> Vec<bool> {
    let mut synced: BTreeSet<Inode> = BTreeSet::new();
    let mut dirs: BTreeSet<&Path> = BTreeSet::new();
    let in_synced = |dirs: &BTreeSet<&Path>, path: &Path| path.parent().is_some_and(|d| dirs.contains(d));
    let mut durable: Vec<bool> = ops
        .iter()
        .rev()
        .map(|op| match op {
            Op::Write { inode, .. } | Op::SetLen { inode, .. } | Op::Punch { inode, .. } => {
                synced.contains(inode)
            }
            Op::Sync { inode } => {
                synced.insert(*inode);
                true
            }
            Op::SyncFailed { inode } => {
                synced.remove(inode);
                true
            }
            Op::SyncDir { dir } => {
                dirs.insert(dir);
                true
            }
            Op::Create { path, .. } | Op::Link { path, .. } | Op::Remove { path } => in_synced(&dirs, path),
            // One of both directories is enough: a rename is never half there.
            Op::Rename { from, to, .. } => in_synced(&dirs, from) || in_synced(&dirs, to),
            Op::Flip { .. } => true,
        })
        .collect();
    durable.reverse();
    durable
}

/// An operation that was not promised: done, not done, or in part.
fn apply_some(tree: &mut Tree, op: &Op, rng: &mut Rng) {
    let Op::Write { inode, offset, data } = op else {
        if rng.one_in(2) {
            tree.apply(op);
        }
        return;
    };
    let file = &mut tree.files[*inode];
    let end = offset + data.len() as u64;
    match rng.below(6) {
        0 | 1 => {}
        2 => write(file, *offset, data),
        // The first sectors only.
        3 => write(file, *offset, &data[..cut(*offset, data.len(), rng)]),
        // The first sectors and the length; the rest are zeros where the file grew, or garbage.
        4 => {
            let torn = cut(*offset, data.len(), rng);
            let old = file.len() as u64;
            if old < end {
                file.resize(end as usize, 0);
                if rng.one_in(2) {
                    rng.fill(&mut file[old.max(*offset) as usize..]);
                }
            }
            write(file, *offset, &data[..torn]);
        }
        // Some sectors in the middle are missing.
        _ => {
            let old = file.len() as u64;
            let before = file.clone();
            write(file, *offset, data);
            let (a, b) = (cut(*offset, data.len(), rng) as u64, cut(*offset, data.len(), rng) as u64);
            let lost = offset + a.min(b)..offset + a.max(b);
            punch(file, lost.start, lost.end - lost.start);
            let kept = lost.start.min(old) as usize..lost.end.min(old) as usize;
            file[kept.clone()].copy_from_slice(&before[kept]);
        }
    }
}

/// How many bytes of a write reach the disk if it is cut at the start of a sector.
fn cut(offset: u64, len: usize, rng: &mut Rng) -> usize {
    let first = SECTOR - offset % SECTOR;
    let boundaries = 1 + (len as u64).saturating_sub(first).div_ceil(SECTOR);
    match rng.below(boundaries + 1) {
        0 => 0,
        n => ((first + (n - 1) * SECTOR) as usize).min(len),
    }
}
