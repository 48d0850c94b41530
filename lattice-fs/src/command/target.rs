//! What a command works on, as a person names it: `STORE:KEY`, a store, or a path inside a mount.
//!
//! A store is its name, its UUID or a unique prefix of it. A word that begins with `/`, `./`, `../` or `~/`, or is `.` or
//! `..`, is a path; so is one without a colon that names something that exists. A path is resolved by the attributes
//! that a mount shows on its directories.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use crate::http::encode;
use crate::patience::look;

const STORE: &str = "user.lattice.store";
const KEY: &str = "user.lattice.key";

/// A key in a store; an empty key is the store's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub store: String,
    pub key: Vec<u8>,
}

impl Target {
    /// `STORE:KEY` or a path; there must be a key.
    ///
    /// In a mount a bare name is a key there, also where nothing has that name any more: no store is one.
    pub fn key(arg: &OsStr) -> Result<Self> {
        let found = Self::any(arg)?;
        if found.key.is_empty()
            && !arg.as_bytes().contains(&b':')
            && let Ok(below) = at_path(Path::new(arg))
            && !below.key.is_empty()
        {
            return Ok(below);
        }
        found.with_key(arg)
    }

    /// Itself, if it is a key; `arg` is what named it.
    pub fn with_key(self, arg: &OsStr) -> Result<Self> {
        if self.key.is_empty() {
            let detail = format!(
                "{} names a store and no key in it: a key is STORE:KEY, or a path that begins with ./ or /",
                arg.display()
            );
            return Err(Error::Usage(detail));
        }
        Ok(self)
    }

    /// As [`key`](Self::key), or a whole store (`STORE`, `STORE:`).
    pub fn any(arg: &OsStr) -> Result<Self> {
        let bytes = arg.as_bytes();
        if looks_like_path(bytes) {
            return at_path(Path::new(arg));
        }
        match bytes.iter().position(|b| *b == b':') {
            Some(colon) => {
                let key = &bytes[colon + 1..];
                Ok(Self { store: text(&bytes[..colon])?, key: key.strip_prefix(b"/").unwrap_or(key).into() })
            }
            None if bytes.contains(&b'/') => at_path(Path::new(arg)),
            None if in_mount(Path::new(arg))? => at_path(Path::new(arg)),
            None => Ok(Self { store: text(bytes)?, key: Vec::new() }),
        }
    }

    /// As [`any`](Self::any), for what lists: a `/` at the end says that it is to be a directory.
    pub fn listed(arg: &OsStr) -> Result<(Self, bool)> {
        let mut target = Self::any(arg)?;
        let dir = target.key.ends_with(b"/");
        if dir {
            target.key.pop();
        }
        Ok((target, dir))
    }

    /// A store, by name or by a path in it.
    pub fn store(arg: &OsStr) -> Result<String> {
        let bytes = arg.as_bytes();
        if looks_like_path(bytes) || bytes.contains(&b'/') {
            return Ok(at_path(Path::new(arg))?.store);
        }
        text(bytes.strip_suffix(b":").unwrap_or(bytes))
    }

    /// Where the router has a resource of this key: `/stores/{store}/{resource}/{key}`.
    pub fn route(&self, resource: &str) -> String {
        format!("{}/{}", store_route(&self.store, resource), encode(&self.key))
    }

    /// As a person would write it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.store, String::from_utf8_lossy(&self.key))
    }
}

/// Where the router has a store's resource.
pub fn store_route(store: &str, resource: &str) -> String {
    let store = encode(store.as_bytes()).replace('/', "%2F");
    if resource.is_empty() { format!("/stores/{store}") } else { format!("/stores/{store}/{resource}") }
}

fn text(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok("") => Err(Error::Usage("a store's name is missing before the \":\"".into())),
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Error::Usage(format!(
            "{:?} is not UTF-8, as a store's name is",
            String::from_utf8_lossy(bytes)
        ))),
    }
}

fn looks_like_path(arg: &[u8]) -> bool {
    arg == b"." || arg == b".." || [&b"/"[..], b"./", b"../", b"~/"].iter().any(|p| arg.starts_with(p))
}

fn in_mount(path: &Path) -> Result<bool> {
    in_time(path, |path| path.symlink_metadata().is_ok() && found_at(path).is_ok())
}

/// The key at a path, whether or not anything is there (any more).
fn at_path(path: &Path) -> Result<Target> {
    in_time(path, found_at)?
}

/// Looks at a path, behind which there may be a daemon that hangs.
fn in_time<T: Send + 'static>(path: &Path, at: fn(&Path) -> T) -> Result<T> {
    let there = path.to_owned();
    look(move || at(&there)).map_err(|limit| {
        let (path, seconds) = (path.display(), limit.as_secs());
        Error::TimedOut(format!(
            "looking at {path} took over {seconds} s: the daemon of that mount hangs, `lattice doctor` says more"
        ))
    })
}

fn found_at(path: &Path) -> Result<Target> {
    let path = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
    let kind = path.symlink_metadata().map(|m| m.file_type());
    match &kind {
        Ok(t) if t.is_dir() => {
            if let Some(found) = attributes(&path)? {
                return Ok(found);
            }
        }
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error()) => {
            let detail =
                format!("{} is in a mount whose daemon is gone: run `lattice mount` again", path.display());
            return Err(Error::Failed(detail));
        }
        _ => {}
    }
    if let Some(found) = below_parent(&path)? {
        return Ok(found);
    }
    // A mount of all stores shows each one's name as a link.
    if kind.is_ok_and(|t| t.is_symlink())
        && let Some(found) = attributes(&path)?
    {
        return Ok(found);
    }
    Err(Error::Usage(format!("{} is not inside a Lattice mount: name a key as STORE:KEY", path.display())))
}

/// By the nearest directory above that is there, and the names from there on.
fn below_parent(path: &Path) -> Result<Option<Target>> {
    let mut names: Vec<&OsStr> = Vec::new();
    let mut at = path;
    while let (Some(parent), Some(name)) = (at.parent(), at.file_name()) {
        names.push(name);
        match parent.metadata() {
            Ok(meta) if meta.is_dir() => {
                return Ok(attributes(parent)?.map(|mut found| {
                    for name in names.iter().rev() {
                        if !found.key.is_empty() {
                            found.key.push(b'/');
                        }
                        found.key.extend_from_slice(name.as_bytes());
                    }
                    found
                }));
            }
            _ => at = parent,
        }
    }
    Ok(None)
}

/// The store and the key that a mount shows for what stands at `path`; `None` outside a mount.
fn attributes(path: &Path) -> Result<Option<Target>> {
    let Some(store) = xattr(path, STORE)? else { return Ok(None) };
    let key = xattr(path, KEY)?.unwrap_or_default();
    let store = String::from_utf8_lossy(&store).trim().to_owned();
    Ok(Some(Target { store, key: key.strip_prefix(b"/").unwrap_or(&key).into() }))
}

fn xattr(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 8192];
    match rustix::fs::getxattr(path, name, &mut value[..]) {
        Ok(n) => {
            value.truncate(n);
            Ok(Some(value))
        }
        Err(e)
            if matches!(
                e,
                rustix::io::Errno::ACCESS | rustix::io::Errno::IO | rustix::io::Errno::NOTCONN
            ) =>
        {
            Err(unreadable(path, e.into()))
        }
        Err(_) => Ok(None),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.into(), done: "looked at", source }
}

/// A path that a daemon can use: absolute, and whatever it leads through resolved as far as it is there.
pub fn absolute_dir(dir: &Path) -> Result<PathBuf> {
    let dir = std::path::absolute(dir).map_err(|source| unreadable(dir, source))?;
    Ok(strip_slash(dir))
}

fn strip_slash(dir: PathBuf) -> PathBuf {
    let mut bytes = dir.into_os_string().into_vec();
    while bytes.len() > 1 && bytes.last() == Some(&b'/') {
        bytes.pop();
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(arg: &str) -> Target {
        Target::any(OsStr::new(arg)).expect("a target")
    }

    #[test]
    fn a_store_and_a_key() {
        assert_eq!(target("home:a/b"), Target { store: "home".into(), key: b"a/b".into() });
        assert_eq!(target("home:/a:b"), Target { store: "home".into(), key: b"a:b".into() });
        assert_eq!(target("home"), Target { store: "home".into(), key: vec![] });
        assert!(matches!(Target::key(OsStr::new("home:")), Err(Error::Usage(_))));
        assert!(matches!(Target::any(OsStr::new(":a")), Err(Error::Usage(_))));
    }

    #[test]
    fn a_key_of_any_bytes_has_a_route() {
        let arg = OsStr::from_bytes(b"home:\xff/a b?");
        assert_eq!(Target::key(arg).expect("a target").route("keys"), "/stores/home/keys/%FF/a%20b%3F");
    }

    #[test]
    fn a_path_outside_a_mount_says_so() {
        let tmp = tempfile::tempdir().expect("tempdir");
        let e = Target::any(tmp.path().join("x").as_os_str()).expect_err("no mount");
        assert!(e.to_string().contains("is not inside a Lattice mount"), "{e}");
    }

    #[test]
    fn a_directory_s_last_slash_is_dropped() {
        assert_eq!(strip_slash("/a/b//".into()), Path::new("/a/b"));
        assert_eq!(strip_slash("/".into()), Path::new("/"));
    }
}
