//! The bytes of one in-memory file: 1 MiB blocks, so that growing never copies what is there and
//! a hole takes no memory. Refuses nothing: offsets are bounded by the caller.

/// One block of a file, in bytes.
pub const BLOCK: usize = 1 << 20;

/// File content. A block may be shorter than [`BLOCK`]: what is missing reads as zeros.
#[derive(Debug, Default)]
pub struct Data {
    blocks: Vec<Vec<u8>>,
    len: u64,
}

impl Data {
    /// Size in bytes, holes included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that take memory.
    pub fn allocated(&self) -> u64 {
        self.blocks.iter().map(|b| b.len() as u64).sum()
    }

    /// Calls `with` with at most `size` bytes from `offset`: fewer only at the end of the file.
    pub fn read<R>(&self, offset: u64, size: usize, with: impl FnOnce(&[u8]) -> R) -> R {
        let left = self.len.saturating_sub(offset);
        let size = usize::try_from(left).map_or(size, |left| size.min(left));
        let (first, at) = split(offset);
        if let Some(block) = self.blocks.get(first)
            && at + size <= block.len()
        {
            return with(&block[at..at + size]);
        }
        with(&self.gather(offset, size))
    }

    fn gather(&self, offset: u64, size: usize) -> Vec<u8> {
        let mut out = vec![0; size];
        let mut done = 0;
        while done < size {
            let (index, at) = split(offset + done as u64);
            let step = (BLOCK - at).min(size - done);
            if let Some(block) = self.blocks.get(index)
                && at < block.len()
            {
                let have = step.min(block.len() - at);
                out[done..done + have].copy_from_slice(&block[at..at + have]);
            }
            done += step;
        }
        out
    }

    /// Writes all of `bytes` at `offset`, growing the file where needed.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (index, at) = split(offset + done as u64);
            let step = (BLOCK - at).min(bytes.len() - done);
            if self.blocks.len() <= index {
                self.blocks.resize_with(index + 1, Vec::new);
            }
            let block = &mut self.blocks[index];
            let from = &bytes[done..done + step];
            if at == block.len() {
                block.extend_from_slice(from);
            } else {
                if block.len() < at + step {
                    block.resize(at + step, 0);
                }
                block[at..at + step].copy_from_slice(from);
            }
            done += step;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    /// Cuts or extends with zeros.
    pub fn truncate(&mut self, len: u64) {
        if len < self.len {
            let (index, at) = split(len);
            self.blocks.truncate(index + 1);
            if let Some(block) = self.blocks.get_mut(index) {
                block.truncate(at);
            }
        }
        self.len = len;
    }

    /// Makes `offset..offset + length` read as zeros; the size stays.
    pub fn zero(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length).min(self.len);
        let mut at = offset;
        while at < end {
            let (index, from) = split(at);
            let step = ((BLOCK - from) as u64).min(end - at);
            if let Some(block) = self.blocks.get_mut(index) {
                let to = block.len().min(from + step as usize);
                if from == 0 && to == block.len() {
                    block.clear();
                } else if from < to {
                    block[from..to].fill(0);
                }
            }
            at += step;
        }
    }
}

fn split(offset: u64) -> (usize, usize) {
    let block = BLOCK as u64;
    ((offset / block) as usize, (offset % block) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_vec(ops in prop::collection::vec(
            (0u8..3, 0usize..2_200_000, 0usize..70_000, any::<u8>()), 1..20)) {
            let mut data = Data::default();
            let mut model: Vec<u8> = Vec::new();
            for (op, at, n, byte) in ops {
                match op {
                    0 => {
                        data.write(at as u64, &vec![byte; n]);
                        if n > 0 && model.len() < at + n { model.resize(at + n, 0); }
                        if n > 0 { model[at..at + n].fill(byte); } else { data.truncate(model.len() as u64); }
                    }
                    1 => { data.truncate(at as u64); model.resize(at, 0); }
                    _ => {
                        data.zero(at as u64, n as u64);
                        let end = (at + n).min(model.len());
                        if at < end { model[at..end].fill(0); }
                    }
                }
                prop_assert_eq!(data.len(), model.len() as u64);
                prop_assert!(data.read(0, model.len(), |b| b == &model[..]));
                prop_assert!(data.read(at as u64, n, |b| b == &model[at.min(model.len())..(at + n).min(model.len())]));
            }
        }
    }
}
