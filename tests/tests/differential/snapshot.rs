//! Two trees, compared entry by entry: kinds, permissions, owners, link targets and bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::calls::describe;

/// One line for each path that isn't the same in both.
pub fn differences(one: &Path, other: &Path) -> Vec<String> {
    let mut paths = BTreeSet::new();
    collect(one, Path::new(""), &mut paths);
    collect(other, Path::new(""), &mut paths);
    paths
        .into_iter()
        .filter_map(|path| {
            let (left, right) = (describe(&one.join(&path)), describe(&other.join(&path)));
            (left != right).then(|| format!("{}: mount {left}, plain {right}", path.display()))
        })
        .collect()
}

fn collect(root: &Path, below: &Path, into: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(root.join(below)) else {
        return;
    };
    for entry in entries.flatten() {
        let path = below.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(root, &path, into);
        }
        into.insert(path);
    }
}
