//! git: clone of thousands of files, commit, gc, fsck, and all of it again after a new mount.

use lattice_tests::fixture::Cmd;
use lattice_tests::trees;

const FILES: usize = 3_000;
const IDENTITY: &str = "git config user.name t && git config user.email t@example.invalid";

#[test]
fn clone_commit_gc_and_fsck() {
    let Some(mut mounted) = super::mounted(&["git"]) else {
        return;
    };
    let source = mounted.beside("source");
    trees::make(&source, FILES, 1).expect("a tree");
    Cmd::bash(&source, &format!("git init -q -b main . && {IDENTITY} && git add -A && git commit -qm one"))
        .ok()
        .expect("a repository on the disk");

    let clone = mounted.join("clone");
    Cmd::new("git").args(["clone", "-q", "--no-hardlinks"]).arg(&source).arg(&clone).ok().expect("git clone");
    let work = format!(
        r#"{IDENTITY}
        test -z "$(git status --porcelain)"
        first=$(git ls-files '*.rs' | sed -n 1p)
        echo changed >> "$first"
        git mv "$(git ls-files '*.c' | sed -n 1p)" moved.c
        test "$(git status --porcelain | wc -l)" = 2
        git commit -qam two
        git checkout -q -b side HEAD~1 && echo side > side.txt && git add . && git commit -qm side
        git checkout -q main && git merge -q -m merged side
        git stash list
        git gc -q --prune=now
        git fsck --full --strict
        test "$(git rev-list --count HEAD)" = 4
        git status --porcelain"#
    );
    let status = Cmd::bash(&clone, &work).ok().expect("work in the clone");
    assert_eq!(status, "", "the work tree is clean");

    mounted.remount().expect("a new mount");
    if mounted.persists() {
        let after = "git fsck --full --strict && git status --porcelain && git diff --stat HEAD";
        let status = Cmd::bash(&clone, after).ok().expect("the clone is whole");
        assert_eq!(status, "", "clean after a new mount");
        // A checkout from the packed objects is what was committed.
        let again =
            "git clone -q . ../again && git -C ../again fsck --full && diff -r --exclude=.git . ../again";
        Cmd::bash(&clone, again).ok().expect("a clone of the clone");
    }
}
