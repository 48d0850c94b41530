//! A source-like tree from a seed: directories, text files with log-normal sizes, a few scripts
//! and symlinks. The same seed gives the same bytes everywhere.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::random::Random;

/// What a tree came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Made {
    pub files: usize,
    pub dirs: usize,
    pub bytes: u64,
}

const WORDS: &[&str] = &[
    "let", "store", "entry", "fn", "return", "match", "self", "value", "if", "else", "key", "for", "in",
    "node", "head", "pub", "struct", "impl", "use", "log", "chain", "0", "1", "result", "ok", "error", "//",
    "->", "=>", "{", "}", "(", ")", ";", "mod", "while", "index", "buffer", "len",
];

/// Median and spread of a file's size, in bytes: what a mid-sized source repository has.
const MEDIAN: f64 = 3_000.0;
const SIGMA: f64 = 1.2;
/// No single file dominates a tree, in bytes.
const LARGEST: f64 = 400_000.0;

/// Text of about `len` bytes.
pub fn text(random: &mut Random, len: usize) -> String {
    let mut out = String::with_capacity(len + 16);
    let mut column = 0;
    while out.len() < len {
        let word = random.pick(WORDS);
        out.push_str(word);
        column += word.len() + 1;
        if column > 60 + random.index(30) {
            out.push_str("\n    ");
            column = 4;
        } else {
            out.push(' ');
        }
    }
    out.push('\n');
    out
}

/// Makes a tree of `files` files in `root`, which is created.
///
/// # Errors
/// What the filesystem said.
pub fn make(root: &Path, files: usize, seed: u64) -> io::Result<Made> {
    let mut random = Random::new(seed);
    let mut made = Made::default();
    fs::create_dir_all(root)?;
    let mut dirs: Vec<PathBuf> = vec![root.to_owned()];
    for n in 0..files {
        if dirs.len() < 2 || random.one_in(14) {
            let parent = random.pick(&dirs).clone();
            if parent.components().count() < root.components().count() + 6 {
                let dir =
                    parent.join(format!("{}_{}", random.pick(&["core", "util", "net", "ui", "test"]), n));
                fs::create_dir(&dir)?;
                made.dirs += 1;
                dirs.push(dir);
            }
        }
        let dir = random.pick(&dirs).clone();
        let ext = random.pick(&["rs", "rs", "rs", "c", "h", "md", "toml", "py"]);
        let path = dir.join(format!("file_{n:05}.{ext}"));
        let len = random.log_normal(MEDIAN, SIGMA).min(LARGEST) as usize;
        let body = text(&mut random, len);
        fs::write(&path, &body)?;
        made.files += 1;
        made.bytes += body.len() as u64;
        if random.one_in(40) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        if random.one_in(100) {
            symlink(format!("file_{n:05}.{ext}"), dir.join(format!("link_{n}")))?;
        }
    }
    Ok(made)
}
