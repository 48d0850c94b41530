//! `write`, `fallocate` and `copy_file_range`: into what is staged, never into the store.

use std::sync::Arc;

use super::Fs;
use super::attr::drop_set_id;
use super::errno::{Errno, FROZEN, Result};
use super::inode::{Inode, Place};
use super::volume::{Volume, now};

/// `fallocate(2)` modes.
const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
const PUNCH_HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE;
const ZERO_RANGE: i32 = libc::FALLOC_FL_ZERO_RANGE;
/// Bytes of one step of `copy_file_range`.
const COPY_STEP: usize = 1 << 20;
/// Bytes that one call copies at most, so that a signal is heard now and then.
const COPY_MAX: u64 = 64 << 20;

impl Fs {
    /// Writes all of `data`. `kill_set_id`: the writer may not keep set-id bits on it.
    pub fn write(&self, ino: u64, offset: u64, data: &[u8], kill_set_id: bool) -> Result<()> {
        let inode = self.table.get(ino)?;
        let volume = match &inode.place {
            Place::Store(volume) => volume,
            Place::Control(volume, path) => return self.write_control(volume, path, data),
            _ => return Err(Errno::PERM),
        };
        self.write_file(volume, &inode, offset, data, kill_set_id)
    }

    fn write_file(
        &self,
        volume: &Volume,
        inode: &Arc<Inode>,
        offset: u64,
        data: &[u8],
        kill_set_id: bool,
    ) -> Result<()> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::FBIG);
        }
        let mut state = inode.state.lock();
        if state.frozen.is_some() {
            return Err(FROZEN);
        }
        self.ensure_staged(volume, inode, &mut state, false)?;
        let staged = state.staged.as_mut().ok_or(Errno::IO)?;
        staged
            .write_at(data, offset, || volume.handle.staging_path())
            .map_err(|e| self.stage_failed(volume, "write", inode, &e))?;
        state.touch(now());
        if kill_set_id {
            drop_set_id(&mut state);
        }
        self.note_dirty(inode, &mut state);
        Ok(())
    }

    /// Modes 0 and `KEEP_SIZE` promise space as little as a compressing disk does: the size changes, and the next write
    /// may still find the disk full.
    pub fn fallocate(&self, ino: u64, offset: u64, len: u64, mode: i32) -> Result<()> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::OPNOTSUPP);
        };
        let end = offset.checked_add(len).filter(|e| *e <= i64::MAX as u64).ok_or(Errno::FBIG)?;
        let keep = mode & KEEP_SIZE != 0;
        let zero = match mode & !KEEP_SIZE {
            0 => false,
            PUNCH_HOLE if keep => true,
            ZERO_RANGE => true,
            _ => return Err(Errno::OPNOTSUPP),
        };
        let mut state = inode.state.lock();
        if state.frozen.is_some() {
            return Err(FROZEN);
        }
        self.ensure_staged(volume, &inode, &mut state, false)?;
        let staged = state.staged.as_mut().ok_or(Errno::IO)?;
        let failed = |e| self.stage_failed(volume, "fallocate", &inode, &e);
        if zero {
            staged.zero(offset..end).map_err(failed)?;
        }
        if !keep && end > staged.size() {
            staged.set_len(end, || volume.handle.staging_path()).map_err(failed)?;
        }
        if staged.is_dirty() {
            state.touch(now());
        }
        self.note_dirty(&inode, &mut state);
        Ok(())
    }

    /// Bytes copied: fewer than asked at the end of the source, or of one call's share.
    pub fn copy_range(&self, from: u64, from_at: u64, to: u64, to_at: u64, len: u64) -> Result<u64> {
        let target = self.table.get(to)?;
        let Place::Store(volume) = &target.place else {
            return Err(Errno::XDEV);
        };
        let mut buf = vec![0; COPY_STEP.min(len as usize)];
        let len = len.min(COPY_MAX);
        let mut done = 0;
        while done < len {
            let step = (len - done).min(COPY_STEP as u64) as usize;
            let n = self.read(from, 0, from_at + done, &mut buf[..step])?;
            if n == 0 {
                break;
            }
            self.write_file(volume, &target, to_at + done, &buf[..n], false)?;
            done += n as u64;
        }
        Ok(done)
    }
}
