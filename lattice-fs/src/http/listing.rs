//! Keys in directory order, a page at a time: a key, then what is below it. A page begins where the last one ended, so
//! the memory of a listing is a page, and a key that is made or removed meanwhile moves no other.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::key::{Key, MAX_SEGMENT};
use lattice_engine::merge::Record;
use lattice_engine::store::Handle;

use super::problem::{Code, Problem, Result};

/// Children fetched at once.
const BATCH: usize = 256;

/// A listing under way.
#[derive(Debug)]
pub struct Listing<'a> {
    store: &'a Handle,
    /// Names in the first directory begin with this.
    start: Vec<u8>,
    /// Whether to go below the first directory.
    deep: bool,
    frames: Vec<Frame>,
}

/// A directory that is being listed.
#[derive(Debug)]
struct Frame {
    dir: Key,
    after: Option<Vec<u8>>,
    ready: VecDeque<(Bytes, Arc<Record>)>,
    done: bool,
}

impl Frame {
    fn new(dir: Key, after: Option<Vec<u8>>) -> Self {
        Self { dir, after, ready: VecDeque::new(), done: false }
    }
}

impl<'a> Listing<'a> {
    /// All keys that begin with `prefix`, those after the key `after` only. Not `deep`: nothing below the first `/`
    /// that follows the prefix.
    pub fn new(store: &'a Handle, prefix: &[u8], deep: bool, after: Option<&[u8]>) -> Result<Self> {
        let prefix = prefix.strip_prefix(b"/").unwrap_or(prefix);
        let cut = prefix.iter().rposition(|b| *b == b'/');
        let (dir, start) = cut.map_or((&b""[..], prefix), |i| (&prefix[..i], &prefix[i + 1..]));
        let dir = if dir.is_empty() && cut.is_none() { Key::ROOT } else { Key::parse(dir)? };
        let mut frames = Vec::new();
        match after {
            None => frames.push(Frame::new(dir, before(start))),
            Some(after) => resume(&mut frames, dir, after, deep)?,
        }
        Ok(Self { store, start: start.to_vec(), deep, frames })
    }

    /// The next key, in order.
    pub fn next(&mut self) -> Result<Option<(Key, Arc<Record>)>> {
        while let Some(frame) = self.frames.last_mut() {
            if frame.ready.is_empty() && !frame.done {
                let batch = self.store.list(&frame.dir, frame.after.as_deref(), BATCH)?;
                frame.done = batch.len() < BATCH;
                frame.after = batch.last().map(|(name, _)| name.to_vec()).or(frame.after.take());
                frame.ready = batch.into();
            }
            let Some((name, record)) = frame.ready.pop_front() else {
                self.frames.pop();
                continue;
            };
            let key = frame.dir.join(&name)?;
            if self.frames.len() == 1 && !name.starts_with(&self.start) {
                if *name > *self.start {
                    self.frames.clear();
                }
                continue;
            }
            if self.deep && record.below.children > 0 {
                self.frames.push(Frame::new(key.clone(), None));
            }
            return Ok(Some((key, record)));
        }
        Ok(None)
    }
}

/// A name before every name that begins with `start`, and after every other one that is before those: a listing from
/// there on doesn't read the directory from its beginning.
fn before(start: &[u8]) -> Option<Vec<u8>> {
    let (last, head) = start.split_last()?;
    let mut name = head.to_vec();
    name.push(last.checked_sub(1)?);
    name.resize(MAX_SEGMENT + 1, 0xff);
    Some(name)
}

/// Frames as they stood after the key `after` had been listed.
fn resume(frames: &mut Vec<Frame>, dir: Key, after: &[u8], deep: bool) -> Result<()> {
    let after = Key::parse(after)?;
    if !after.is_below(&dir) {
        return Err(Problem::new(
            Code::BadRequest,
            "the cursor is not of this listing: begin again without it",
        ));
    }
    let mut at = dir.clone();
    for segment in after.segments().skip(dir.segments().count()) {
        frames.push(Frame::new(at.clone(), Some(segment.to_vec())));
        at = at.join(segment)?;
        if !deep {
            return Ok(());
        }
    }
    frames.push(Frame::new(at, None));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_name_before_a_prefix_splits_names_exactly(
            start in proptest::collection::vec(1u8..=255, 1..4),
            name in proptest::collection::vec(1u8..=255, 1..8),
        ) {
            let cut = before(&start).expect("not empty");
            if name.starts_with(&start) {
                prop_assert!(name > cut);
            } else if name > cut {
                prop_assert!(name > start);
            }
        }
    }
}
