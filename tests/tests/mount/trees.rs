//! Whole trees in and out: tar, cp, mv, rsync, diff.

use std::path::Path;

use lattice_tests::fixture::Cmd;
use lattice_tests::trees;

/// Everything about a tree that a copy must keep, a line per path. Times to the nanosecond, but
/// not those of symlinks: rsync and tar don't all keep them.
fn listing(dir: &Path) -> String {
    let script = r"find . -mindepth 1 -type d -printf '%P d %m %U:%G\n' -o \
        -type l -printf '%P l %U:%G %l\n' -o -printf '%P %y %m %U:%G %s %T@\n' | sort";
    Cmd::bash(dir, script).ok().expect("find")
}

fn same_listing(one: &Path, other: &Path) {
    let (one, other) = (listing(one), listing(other));
    let differing = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    assert!(one == other, "first difference: {differing:?}");
}

fn same(one: &Path, other: &Path) {
    let diff = Cmd::new("diff").args(["-r", "--no-dereference"]).arg(one).arg(other);
    diff.ok().expect("the same bytes");
    same_listing(one, other);
}

#[test]
fn tar_extracts_what_it_packed() {
    let Some(mut mounted) = super::mounted(&["tar", "diff"]) else {
        return;
    };
    let plain = mounted.beside("plain");
    trees::make(&plain, 1_500, 2).expect("a tree");
    Cmd::bash(&mounted.beside(""), "tar --format=pax -cf tree.tar plain").ok().expect("tar c");
    Cmd::bash(mounted.dir(), "tar xf ../tree.tar").ok().expect("tar x");
    same(&plain, &mounted.join("plain"));
    // And back out of the mount, from a mount that has nothing cached.
    if mounted.persists() {
        mounted.remount().expect("a new mount");
        Cmd::bash(
            mounted.dir(),
            "tar --format=pax -cf ../back.tar plain && mkdir ../back && tar xf ../back.tar -C ../back",
        )
        .ok()
        .expect("tar c from the mount");
        same(&plain, &mounted.beside("back/plain"));
    }
}

#[test]
fn cp_and_mv_keep_everything() {
    let Some(mut mounted) = super::mounted(&["cp", "mv", "diff", "setfattr"]) else {
        return;
    };
    let plain = mounted.beside("plain");
    trees::make(&plain, 400, 3).expect("a tree");
    let xattrs = "find . -name '*.rs' -exec setfattr -n user.note -v kept {} +; mkfifo pipe; touch -h -d 2001-02-03 pipe";
    Cmd::bash(&plain, xattrs).ok().expect("xattrs and a pipe");
    Cmd::bash(mounted.dir(), "cp -a ../plain copy").ok().expect("cp -a");
    let no_pipe = |dir: &Path| Cmd::bash(dir, "rm pipe").ok().expect("rm pipe");
    let note = "getfattr -R -P -d . 2>/dev/null | grep -c '^user.note=\"kept\"' ";
    let count = |dir: &Path| Cmd::bash(dir, note).ok().expect("getfattr");
    assert_eq!(count(&plain), count(&mounted.join("copy")), "cp -a keeps xattrs");
    same_listing(&plain, &mounted.join("copy"));
    no_pipe(&plain);
    no_pipe(&mounted.join("copy"));

    let script = "mkdir -p deep/er && mv copy deep/er/moved && mv deep other && mkdir empty && mv -T other/er/moved empty";
    Cmd::bash(mounted.dir(), script).ok().expect("mv of directories");
    same(&plain, &mounted.join("empty"));
    // Across filesystems and back.
    Cmd::bash(mounted.dir(), "mv empty ../out && mv ../out in").ok().expect("mv across");
    same(&plain, &mounted.join("in"));
    Cmd::bash(mounted.dir(), "cp -a in in2 && rm -rf in").ok().expect("cp -a inside, rm -rf");
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        same(&plain, &mounted.join("in2"));
        let left = Cmd::bash(mounted.dir(), "ls -A").ok().expect("ls");
        assert_eq!(left, "in2\nother\n");
    }
}

#[test]
fn rsync_has_nothing_to_do_the_second_time() {
    let Some(mut mounted) = super::mounted(&["rsync", "setfattr", "diff"]) else {
        return;
    };
    let plain = mounted.beside("plain");
    trees::make(&plain, 800, 4).expect("a tree");
    let xattrs = "find . -name '*.c' -exec setfattr -n user.origin -v disk {} +";
    Cmd::bash(&plain, xattrs).ok().expect("xattrs");
    let dir = mounted.beside("");
    let sync = |from: &str, to: &str| {
        let script = format!("rsync -aHX --itemize-changes {from}/ {to}/");
        Cmd::bash(&dir, &script).ok().expect("rsync")
    };
    assert!(sync("plain", "m/tree").lines().count() > 800);
    assert_eq!(sync("plain", "m/tree"), "", "nothing to do the second time");
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        assert_eq!(sync("plain", "m/tree"), "", "nothing to do after a new mount");
    } else {
        sync("plain", "m/tree");
    }
    sync("m/tree", "back");
    assert_eq!(sync("m/tree", "back"), "", "nothing to do the second time, back");
    same(&plain, &mounted.beside("back"));
}
