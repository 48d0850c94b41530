//! [`Disk`] on the real file system. It refuses nothing that the kernel allows, and retries nothing but `EINTR`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{Disk, DiskFile, Open};

/// Of one write: `IOV_MAX` of Linux.
const MAX_PIECES: usize = 1024;

/// The file system of this machine. Files are made with mode 0600, directories with 0700.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create(true).truncate(false);
            }
            Open::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = std::fs::read_dir(dir)?
            .map(|e| e.map(|e| e.file_name().into()))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn write_pieces_at(&self, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<_> = pieces.iter().copied().map(IoSlice::new).collect();
        let mut left = &mut slices[..];
        // Takes away what is empty.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(&self.0, &left[..left.len().min(MAX_PIECES)], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut left, n);
                    offset += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.0, how, offset, len) {
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn allocated(&self) -> io::Result<u64> {
        // `st_blocks` counts 512-byte units whatever the block size is.
        Ok(self.0.metadata()?.blocks() * 512)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stand_behind_one_another_however_many_they_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = RealDisk.open(&dir.path().join("f"), Open::CreateNew).expect("made");
        file.write_all_at(b"before", 0).expect("written");
        let pieces: Vec<Vec<u8>> = (0..3 * MAX_PIECES).map(|n| vec![n as u8; n % 7]).collect();
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        file.write_pieces_at(&slices, 6).expect("written");
        file.write_pieces_at(&[], 6).expect("nothing to do");
        let wanted = [&b"before"[..], &pieces.concat()].concat();
        let mut found = vec![0; file.len().expect("measured") as usize];
        file.read_exact_at(&mut found, 0).expect("read");
        assert!(found == wanted);
    }
}
