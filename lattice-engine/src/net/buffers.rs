//! Buffers that are filled, sent, and filled again: making one for each of very many chunks means clearing it, and that its
//! memory is never in the CPU's cache. They live as long as the stream that they are for.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers that are kept; what is in excess of them is freed. Some twice what a stream carries unread.
const KEPT: usize = 64;

/// Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

#[derive(Debug)]
struct Filled {
    buffer: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// The first bytes of a buffer, as many as `fill` says that it put there. Once nobody has them, it is used again.
    pub fn fill<E>(&self, fill: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>) -> Result<Bytes, E> {
        let buffer = self.0.lock().pop().unwrap_or_default();
        let mut filled = Filled { buffer, len: 0, home: self.clone() };
        filled.len = fill(&mut filled.buffer)?;
        Ok(Bytes::from_owner(filled))
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock();
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<usize, ()> {
        |buf| {
            buf.resize(buf.len().max(bytes.len()), 0);
            buf[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_has_it() {
        let buffers = Buffers::default();
        let long = buffers.fill(put(b"a long one")).expect("filled");
        let beside = buffers.fill(put(b"beside")).expect("filled");
        let part = long.slice(2..6);
        drop(long);
        assert_eq!((&part[..], &beside[..], buffers.0.lock().len()), (&b"long"[..], &b"beside"[..], 0));
        drop(part);
        let short = buffers.fill(put(b"short")).expect("filled");
        assert_eq!((&short[..], buffers.0.lock().len()), (&b"short"[..], 0));
        assert_eq!(buffers.fill(|_| Err(1)), Err(1));
        assert_eq!(buffers.0.lock().len(), 1, "also after an error");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let buffers = Buffers::default();
        let all: Vec<_> = (0..2 * KEPT).map(|_| buffers.fill(put(b"x")).expect("filled")).collect();
        drop(all);
        assert_eq!(buffers.0.lock().len(), KEPT);
    }
}
