//! Registers by file: a sorted list, because nearly every record has one file and a tree's node would take eleven times
//! the memory of it. It refuses nothing.

use crate::id::FileId;

use super::attrs::FileAttrs;

/// The attribute registers of a record's files, by file id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files(Vec<(FileId, FileAttrs)>);

impl Files {
    fn place(&self, file: &FileId) -> Result<usize, usize> {
        self.0.binary_search_by(|(id, _)| id.cmp(file))
    }

    pub fn get(&self, file: &FileId) -> Option<&FileAttrs> {
        self.place(file).ok().map(|at| &self.0[at].1)
    }

    pub fn contains(&self, file: &FileId) -> bool {
        self.place(file).is_ok()
    }

    /// Those of `file`, none set where it had none.
    pub fn of(&mut self, file: FileId) -> &mut FileAttrs {
        let at = match self.place(&file) {
            Ok(at) => at,
            Err(at) => {
                // Room for one: two files with a head here are rare.
                self.0.reserve_exact(1);
                self.0.insert(at, (file, FileAttrs::default()));
                at
            }
        };
        &mut self.0[at].1
    }

    pub fn insert(&mut self, file: FileId, attrs: FileAttrs) {
        *self.of(file) = attrs;
    }

    pub fn remove(&mut self, file: &FileId) -> Option<FileAttrs> {
        self.place(file).ok().map(|at| self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&FileId, &FileAttrs)> {
        self.0.iter().map(|(id, attrs)| (id, attrs))
    }

    /// Takes out those that `keep` says no to.
    pub fn take(&mut self, keep: impl Fn(&FileId) -> bool) -> Vec<(FileId, FileAttrs)> {
        if self.0.iter().all(|(id, _)| keep(id)) {
            return Vec::new();
        }
        let (kept, taken) = std::mem::take(&mut self.0).into_iter().partition(|(id, _)| keep(id));
        self.0 = kept;
        taken
    }
}

impl FromIterator<(FileId, FileAttrs)> for Files {
    /// A file that comes twice has what came last.
    fn from_iter<I: IntoIterator<Item = (FileId, FileAttrs)>>(files: I) -> Self {
        let mut all = Self::default();
        files.into_iter().for_each(|(file, attrs)| all.insert(file, attrs));
        all
    }
}
