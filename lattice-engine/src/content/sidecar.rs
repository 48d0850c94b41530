//! What stands beside an adopted file: which chunks it holds. `<n>.idx` describes `<n>.raw`, whose bytes are exactly the
//! file's. It is written whole and published by rename; one that doesn't check is rebuilt by cutting the file again.

use std::path::Path;
use std::sync::Arc;

use super::error::{ContentError, Result, io_at};
use super::index::Location;
use super::layout::MAX_CHUNKS;
use super::record::{Header, PACK_HEADER, check_header, file_header, u32_at, u64_at};
use crate::disk::{Disk, DiskFile, Open};
use crate::id::ChunkId;

const MAGIC: &[u8; 8] = b"LATTRIDX";
/// Header, size, digest, count, crc.
const FIXED: usize = PACK_HEADER as usize + 8 + 32 + 4 + 4;
const ROW: usize = 44;

/// The chunks of an adopted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    /// Of the file, in bytes.
    pub size: u64,
    /// Names the content that the file is, whole; `None` once any of it has been punched out or found damaged.
    pub digest: Option<ChunkId>,
    /// By offset, disjoint.
    pub chunks: Vec<(ChunkId, u64, u32)>,
}

impl Sidecar {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.chunks.len() * ROW + 4);
        out.extend_from_slice(&file_header(MAGIC));
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.digest.map_or([0; 32], |d| d.0));
        out.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        let crc = crc32fast::hash(&out[PACK_HEADER as usize..]);
        out.extend_from_slice(&crc.to_le_bytes());
        for (id, offset, len) in &self.chunks {
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[FIXED..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `Ok(None)`: damaged.
    fn decode(path: &Path, bytes: &[u8]) -> Result<Option<Self>> {
        let Some((mut sidecar, count)) = Self::decode_fixed(path, bytes)? else {
            return Ok(None);
        };
        let end = FIXED + count * ROW;
        if bytes.len() != end + 4 || u32_at(bytes, end) != crc32fast::hash(&bytes[FIXED..end]) {
            return Ok(None);
        }
        let mut free = 0;
        for row in bytes[FIXED..end].chunks_exact(ROW) {
            let (id, offset, len) = (ChunkId::from_slice(&row[..32]), u64_at(row, 32), u32_at(row, 40));
            let Some(id) = id else { return Ok(None) };
            let fits = offset.checked_add(u64::from(len)).is_some_and(|end| end <= sidecar.size);
            if offset < free || !fits {
                return Ok(None);
            }
            free = offset + u64::from(len);
            sidecar.chunks.push((id, offset, len));
        }
        Ok(Some(sidecar))
    }

    fn decode_fixed(path: &Path, bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let start = PACK_HEADER as usize;
        let Some(fixed) = bytes.get(..FIXED) else {
            return Ok(None);
        };
        let mut header = [0; PACK_HEADER as usize];
        header.copy_from_slice(&fixed[..start]);
        match check_header(&header, MAGIC) {
            Header::Valid => {}
            Header::Invalid => return Ok(None),
            Header::Version(found) => {
                let known = super::record::VERSION;
                return Err(ContentError::Version { path: path.into(), found, known });
            }
        }
        let count = u32_at(fixed, FIXED - 8) as usize;
        if u32_at(fixed, FIXED - 4) != crc32fast::hash(&fixed[start..FIXED - 4]) || count > MAX_CHUNKS {
            return Ok(None);
        }
        let digest = ChunkId::from_slice(&fixed[start + 8..start + 40]).filter(|d| d.0 != [0; 32]);
        Ok(Some((Self { size: u64_at(fixed, start), digest, chunks: Vec::new() }, count)))
    }

    /// Writes it beside its place and renames it there. Not flushed: what a crash leaves half written doesn't check and
    /// is made again. The handle is for flushing.
    pub fn publish(&self, disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let tmp = path.with_extension("idx.tmp");
        let write = || {
            let file = disk.open(&tmp, Open::Create)?;
            file.set_len(0)?;
            file.write_all_at(&self.encode(), 0)?;
            disk.rename(&tmp, path)?;
            Ok(file)
        };
        write().map_err(io_at("write the chunk list", path))
    }

    /// `Ok(None)`: missing or damaged.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        Self::load(disk, path, None, Self::decode)
    }

    /// Size and digest alone, without the chunks.
    pub fn read_fixed(disk: &dyn Disk, path: &Path) -> Result<Option<Self>> {
        Self::load(disk, path, Some(FIXED), |path, bytes| {
            Ok(Self::decode_fixed(path, bytes)?.map(|(sidecar, _)| sidecar))
        })
    }

    fn load(
        disk: &dyn Disk,
        path: &Path,
        limit: Option<usize>,
        decode: impl Fn(&Path, &[u8]) -> Result<Option<Self>>,
    ) -> Result<Option<Self>> {
        if !disk.exists(path) {
            return Ok(None);
        }
        let read = || -> std::io::Result<Vec<u8>> {
            let file = disk.open(path, Open::Read)?;
            let len = file.len()?.min((FIXED + MAX_CHUNKS * ROW + 4) as u64) as usize;
            let mut bytes = vec![0; len.min(limit.unwrap_or(len))];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        decode(path, &read().map_err(io_at("read the chunk list", path))?)
    }

    /// Where each chunk stands in pack `pack`.
    pub fn locations(&self, pack: u64) -> impl Iterator<Item = (ChunkId, Location)> + '_ {
        self.chunks.iter().map(move |(id, offset, len)| {
            (*id, Location { pack, offset: *offset, stored_len: *len, len: *len, flags: 0 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_reads_back_and_no_flipped_bit_passes() {
        let sidecar = Sidecar {
            size: 100,
            digest: Some(ChunkId([3; 32])),
            chunks: vec![(ChunkId([1; 32]), 0, 40), (ChunkId([2; 32]), 60, 40)],
        };
        let path = Path::new("x.idx");
        let bytes = sidecar.encode();
        assert_eq!(Sidecar::decode(path, &bytes).expect("version 1"), Some(sidecar));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sidecar::decode(path, &flipped).expect("damage, not a version"), None, "bit {bit}");
        }
        assert_eq!(Sidecar::decode(path, &bytes[..bytes.len() - 1]).expect("damage"), None);
    }
}
