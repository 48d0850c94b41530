//! Real work in the mount, with the programs that people use, and what a mount must survive.
//! `LATTICE_TEST_FS=plain` or `floor` runs what isn't Lattice's own elsewhere, to check the tests.

mod build;
mod conflicts;
mod files;
mod git;
mod large;
mod lifecycle;
mod limits;
mod memory;
mod nameless;
mod names;
mod sqlite;
mod trees;
mod user;

use lattice_tests::fixture::{Kind, Mounted, needs};

/// A mount for a test that needs these programs, or `None` where it is skipped.
fn mounted(programs: &[&str]) -> Option<Mounted> {
    needs(programs).then(|| Mounted::new().expect("a mount"))
}

/// As [`mounted`], for what only Lattice has.
fn lattice(programs: &[&str]) -> Option<Mounted> {
    if Kind::chosen() != Kind::Lattice {
        eprintln!("skipped: it is about Lattice");
        return None;
    }
    mounted(programs)
}
