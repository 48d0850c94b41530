//! Names that few programs expect and every filesystem must keep.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

fn names() -> BTreeSet<OsString> {
    let mut names: BTreeSet<OsString> = [
        &b"with space"[..],
        b"new\nline",
        b"tab\tand \\ and \"",
        b"invalid \xff\xfe utf-8 \xc3",
        b"-rf",
        b"*",
        b".hidden",
        b"...",
        b"%2F%00",
        b"COM1:",
        "e\u{301} and \u{e9}".as_bytes(),
        "\u{1f980}".as_bytes(),
        b".lattice~",
        b"\x01\x02\x7f",
    ]
    .iter()
    .map(|name| OsStr::from_bytes(name).to_owned())
    .collect();
    names.insert(OsString::from_vec(vec![b'n'; 255]));
    names.insert(OsString::from_vec([0xe2, 0x82, 0xac].repeat(85)));
    names
}

#[test]
fn odd_names_are_kept_byte_for_byte() {
    let Some(mut mounted) = super::mounted(&[]) else {
        return;
    };
    let (dir, all) = (mounted.join("odd"), names());
    fs::create_dir(&dir).expect("a directory");
    for name in &all {
        fs::write(dir.join(name), name.as_bytes()).unwrap_or_else(|e| panic!("create {name:?}: {e}"));
        fs::create_dir(mounted.join("").join([b"d", &name.as_bytes()[1..]].concat().as_os()))
            .unwrap_or_else(|e| panic!("mkdir like {name:?}: {e}"));
    }
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        let listed: BTreeSet<_> =
            fs::read_dir(&dir).expect("ls").map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(listed, all);
        for name in &all {
            assert_eq!(fs::read(dir.join(name)).expect("read"), name.as_bytes());
            let other = dir.join([b"r", &name.as_bytes()[1..]].concat().as_os());
            fs::rename(dir.join(name), &other).unwrap_or_else(|e| panic!("rename {name:?}: {e}"));
            fs::remove_file(&other).expect("rm");
        }
    }
}

trait AsOs {
    fn as_os(&self) -> &OsStr;
}

impl AsOs for Vec<u8> {
    fn as_os(&self) -> &OsStr {
        OsStr::from_bytes(self)
    }
}

#[test]
fn a_name_of_256_bytes_is_refused() {
    let Some(mounted) = super::mounted(&[]) else {
        return;
    };
    let long = mounted.join(&"n".repeat(256));
    let kinds = [
        fs::write(&long, "").expect_err("create").kind(),
        fs::create_dir(&long).expect_err("mkdir").kind(),
        fs::metadata(&long).expect_err("stat").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::InvalidFilename; 3]);
}
