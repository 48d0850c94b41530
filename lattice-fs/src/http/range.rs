//! The `Range` header: one range of bytes. More than one, or another unit, is ignored, as RFC 9110 allows.

use std::ops::Range;

/// What a request asks of a body of `size` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Whole,
    Part(Range<u64>),
    /// Outside the body: 416.
    Nothing,
}

/// Reads a `Range` header's value.
pub fn parse(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Asked::Whole };
    let Some((from, to)) = spec.split_once('-').map(|(a, b)| (a.trim(), b.trim())) else {
        return Asked::Whole;
    };
    match (from, to) {
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(0) => Asked::Nothing,
            Ok(n) if size > 0 => Asked::Part(size.saturating_sub(n)..size),
            Ok(_) => Asked::Nothing,
            Err(_) => Asked::Whole,
        },
        (from, to) => {
            let Ok(from) = from.parse::<u64>() else { return Asked::Whole };
            let last = if to.is_empty() { Ok(u64::MAX) } else { to.parse::<u64>() };
            match last {
                Ok(last) if last < from => Asked::Whole,
                Ok(_) if from >= size => Asked::Nothing,
                Ok(last) => Asked::Part(from..last.saturating_add(1).min(size)),
                Err(_) => Asked::Whole,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_as_rfc_9110_reads_them() {
        for (header, size, asked) in [
            (None, 10, Asked::Whole),
            (Some("bytes=0-3"), 10, Asked::Part(0..4)),
            (Some("bytes=4-"), 10, Asked::Part(4..10)),
            (Some("bytes=-3"), 10, Asked::Part(7..10)),
            (Some("bytes=-30"), 10, Asked::Part(0..10)),
            (Some("bytes=0-99"), 10, Asked::Part(0..10)),
            (Some("bytes=10-"), 10, Asked::Nothing),
            (Some("bytes=0-"), 0, Asked::Nothing),
            (Some("bytes=-0"), 10, Asked::Nothing),
            (Some("bytes=5-2"), 10, Asked::Whole),
            (Some("bytes=0-1,3-4"), 10, Asked::Whole),
            (Some("lines=1-2"), 10, Asked::Whole),
        ] {
            assert_eq!(parse(header, size), asked, "{header:?} of {size}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_inside_the_body(from: u64, to: u64, size: u64) {
            if let Asked::Part(r) = parse(Some(&format!("bytes={from}-{to}")), size) {
                prop_assert!(r.start < r.end && r.end <= size);
            }
        }
    }
}
