//! Names that a person, or another disk, takes for the same: they differ in case or in Unicode form only. Both are kept,
//! bytes as they are, and flagged: a copy to a disk that folds case would lose one of them.
//!
//! Found on demand by looking at names. Names that aren't UTF-8 are nobody's twins.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use lattice_engine::key::Key;
use lattice_engine::store::{Handle, Result};
use unicode_normalization::UnicodeNormalization;

/// Names of one directory that are taken for one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twins {
    pub dir: Key,
    /// Two at least, in the directory's order.
    pub names: Vec<Bytes>,
}

/// What a look at many directories found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub twins: Vec<Twins>,
    /// False when there were more keys than one looked at.
    pub complete: bool,
}

/// The twins directly in `dir`.
pub fn in_dir(handle: &Handle, dir: &Key) -> Result<Vec<Twins>> {
    const PAGE: usize = 1000;
    let mut seen = Names::default();
    let mut after: Option<Bytes> = None;
    loop {
        let page = handle.list(dir, after.as_deref(), PAGE)?;
        for (name, _) in &page {
            seen.add(name);
        }
        match page.last() {
            Some((name, _)) if page.len() == PAGE => after = Some(name.clone()),
            _ => return Ok(seen.twins(dir)),
        }
    }
}

/// The twins of every directory at `below` and under it, looking at `max_keys` keys at most.
pub fn below(handle: &Handle, below: &Key, max_keys: usize) -> Result<Found> {
    let (mut left, mut complete) = (max_keys, true);
    let mut dirs: HashMap<Key, Names> = HashMap::new();
    handle.walk(below, &mut |key, _| {
        if left == 0 {
            complete = false;
            return ControlFlow::Break(());
        }
        left -= 1;
        if let Some(dir) = key.parent() {
            dirs.entry(dir).or_default().add(&Bytes::copy_from_slice(key.name()));
        }
        ControlFlow::Continue(())
    })?;
    let mut twins: Vec<Twins> = dirs.into_iter().flat_map(|(dir, names)| names.twins(&dir)).collect();
    twins.sort_by(|a, b| (&a.dir, &a.names).cmp(&(&b.dir, &b.names)));
    Ok(Found { twins, complete })
}

/// Names by what they fold to.
#[derive(Default)]
struct Names(HashMap<String, Vec<Bytes>>);

impl Names {
    fn add(&mut self, name: &Bytes) {
        if let Ok(text) = std::str::from_utf8(name) {
            self.0.entry(fold(text)).or_default().push(name.clone());
        }
    }

    fn twins(self, dir: &Key) -> Vec<Twins> {
        let mut twins: Vec<Twins> = self
            .0
            .into_values()
            .filter(|names| names.len() > 1)
            .map(|names| Twins { dir: dir.clone(), names })
            .collect();
        twins.sort_by(|a, b| a.names.cmp(&b.names));
        twins
    }
}

/// Decomposed, case folded, and decomposed again, as folding may compose. Through upper case first, so that ß and SS,
/// ς and σ meet.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let upper: String = name.nfd().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twins_of(names: &[&[u8]]) -> Vec<Vec<Bytes>> {
        let mut seen = Names::default();
        for name in names {
            seen.add(&Bytes::copy_from_slice(name));
        }
        seen.twins(&Key::ROOT).into_iter().map(|t| t.names).collect()
    }

    #[test]
    fn names_that_fold_together_are_twins() {
        for pair in [
            ["README", "readme"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["CAF\u{c9}", "cafe\u{301}"],
            ["stra\u{df}e", "STRASSE"],
            ["\u{3c3}\u{3c2}", "\u{3a3}\u{3a3}"],
        ] {
            assert_eq!(twins_of(&pair.map(str::as_bytes)).len(), 1, "{pair:?}");
        }
    }

    #[test]
    fn other_names_are_not() {
        assert_eq!(twins_of(&[b"a", b"b", b"a.txt", "\u{e9}".as_bytes(), b"e"]), Vec::<Vec<Bytes>>::new());
        // Not UTF-8: nothing to fold, even where the ASCII part differs in case only.
        assert_eq!(twins_of(&[b"A\xff", b"a\xff"]), Vec::<Vec<Bytes>>::new());
    }

    #[test]
    fn three_of_a_kind_are_one_group() {
        assert_eq!(twins_of(&[b"Makefile", b"MAKEFILE", b"makefile", b"x"])[0].len(), 3);
    }
}
