//! A set of byte ranges: what of a file was written over its base. Sorted, disjoint, merged when they touch.

use std::ops::Range;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Adds a range, merging it with those it overlaps or touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let merged = self.0[first..last].iter().fold(range, |m, r| m.start.min(r.start)..m.end.max(r.end));
        self.0.splice(first..last, [merged]);
    }

    /// Forgets everything from `end` on.
    pub fn truncate(&mut self, end: u64) {
        self.0.retain_mut(|r| {
            r.end = r.end.min(end);
            r.start < r.end
        });
    }

    /// Whether `at` is inside, and how far that stays true: the end of this run.
    pub fn run_at(&self, at: u64) -> (bool, u64) {
        let next = self.0.partition_point(|r| r.end <= at);
        match self.0.get(next) {
            Some(r) if r.start <= at => (true, r.end),
            Some(r) => (false, r.start),
            None => (false, u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_exactly_the_bytes_put_in(
            ops in prop::collection::vec((0u64..64, 0u64..16, any::<bool>()), 0..40)
        ) {
            let mut set = Ranges::default();
            let mut model = [false; 96];
            for (at, len, truncate) in ops {
                if truncate && len == 0 {
                    set.truncate(at);
                    model[at as usize..].fill(false);
                } else {
                    set.insert(at..at + len);
                    model[at as usize..(at + len) as usize].fill(true);
                }
                let sorted = set.as_slice().windows(2).all(|w| w[0].end < w[1].start);
                prop_assert!(sorted, "{:?}", set);
                for (i, inside) in model.iter().enumerate() {
                    prop_assert_eq!(set.run_at(i as u64).0, *inside);
                }
            }
        }
    }
}
