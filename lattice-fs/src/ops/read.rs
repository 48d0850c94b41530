//! `read` and `lseek`: from what is staged, or from the version that was opened.

use lattice_engine::entry::Content;
use lattice_engine::key::Key;

use super::Fs;
use super::errno::{Errno, Result};
use super::inode::{Inode, Place, State};
use super::open::THROUGH;
use super::volume::Volume;

impl Fs {
    /// Fills `buf` from `offset`; fewer bytes only at the end of the file.
    pub fn read(&self, ino: u64, handle: u64, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if handle != 0 && handle != THROUGH {
            let text = self.texts.lock().get(&handle).cloned().ok_or(Errno::BADF)?;
            return text.read_at(buf, offset).map_err(|e| super::errno::of_store("read", &Key::ROOT, &e));
        }
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::INVAL);
        };
        let mut state = inode.state.lock();
        if let Some(staged) = &state.staged {
            return staged.read_at(buf, offset).map_err(|e| self.stage_failed(volume, "read", &inode, &e));
        }
        if let Some(Content::Inline(bytes)) = state.content() {
            let rest = usize::try_from(offset).ok().and_then(|o| bytes.get(o..)).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            return Ok(n);
        }
        let reader = self.reader(volume, &inode, &mut state)?;
        drop(state);
        reader.read_at(buf, offset).map_err(|e| {
            let key = self.table.key(volume, ino, None).unwrap_or(Key::ROOT);
            volume.failed("read", &key, &e)
        })
    }

    /// `SEEK_DATA` and `SEEK_HOLE`; the kernel does the other kinds itself.
    pub fn lseek(&self, ino: u64, offset: i64, whence: i32) -> Result<i64> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::INVAL);
        };
        let at = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
        let mut state = inode.state.lock();
        let size = state.size();
        if at >= size {
            return Err(Errno::NXIO);
        }
        let data = self.next_data(volume, &inode, &mut state, at)?;
        let found = match (whence, data) {
            (libc::SEEK_DATA, Some(data)) => data.start.max(at),
            (libc::SEEK_DATA, None) => return Err(Errno::NXIO),
            (libc::SEEK_HOLE, Some(data)) if data.start <= at => data.end,
            (libc::SEEK_HOLE, _) => at,
            _ => return Err(Errno::INVAL),
        };
        Ok(found.min(size) as i64)
    }

    /// The run of data at or after `at`.
    fn next_data(
        &self,
        volume: &Volume,
        inode: &Inode,
        state: &mut State,
        at: u64,
    ) -> Result<Option<std::ops::Range<u64>>> {
        if let Some(staged) = &state.staged {
            let range = staged.next_data(at);
            return range.map_err(|e| self.stage_failed(volume, "lseek", inode, &e.into()));
        }
        let reader = self.reader(volume, inode, state)?;
        Ok(reader.data_ranges().into_iter().find(|r| r.end > at))
    }
}
