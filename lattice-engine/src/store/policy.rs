//! What of a store's content this node keeps without being asked: all of it (the default), or, in a store that is on demand,
//! what is pinned; the rest is fetched when somebody reads it.
//!
//! A choice of this node alone, in a file of its data directory: it is about this machine's disk, must be possible while nobody
//! is reachable, and is nobody else's to make, as a key of the root store would be. So are pins: they are of a path, and cover
//! what is below it, now and later; a file that is renamed leaves its pin behind.
//!
//! It drops nothing: what is here stays here, whatever the policy becomes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use parking_lot::{Mutex, RwLock};

use crate::disk::{self, Disk, Open};
use crate::entry::Content;
use crate::key::Key;

use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;

/// In the store's directory.
const FILE: &str = "policy";
/// Each costs a line that is read at every start.
const MAX_PINS: usize = 10_000;

/// When content that peers have written is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fetch {
    /// In the background, as soon as an entry names it.
    #[default]
    Eager,
    /// When it is read, but for what is pinned.
    OnDemand,
}

/// Of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub fetch: Fetch,
    pub pins: BTreeSet<Key>,
}

/// How much of what a store's files hold is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Here {
    /// Versions that are current and are kept as chunks.
    pub files: u64,
    /// Those of them that are here to the last byte.
    pub whole: u64,
    pub bytes: u64,
    pub here: u64,
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eager => "eager",
            Self::OnDemand => "on-demand",
        })
    }
}

impl FromStr for Fetch {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "eager" => Ok(Self::Eager),
            "on-demand" => Ok(Self::OnDemand),
            other => Err(format!("{other:?} is no policy: eager, or on-demand")),
        }
    }
}

impl Policy {
    /// Whether what stands at `key` is fetched without being read.
    pub fn fetches(&self, key: &Key) -> bool {
        self.fetch == Fetch::Eager || self.pin_of(key).is_some()
    }

    /// The pin that covers `key`: its own, or that of a directory above it.
    pub fn pin_of(&self, key: &Key) -> Option<Key> {
        let mut at = Some(key.clone());
        while let Some(key) = at {
            if self.pins.contains(&key) {
                return Some(key);
            }
            at = key.parent();
        }
        None
    }

    fn encode(&self) -> String {
        let pins = self.pins.iter().map(|key| format!("pin {}\n", HEXLOWER.encode(key.as_bytes())));
        std::iter::once(format!("{}\n", self.fetch)).chain(pins).collect()
    }

    /// A line that makes no sense is left out. Where the first is one, nothing is fetched unasked: that can be made up for.
    fn decode(text: &str) -> Self {
        let mut lines = text.lines();
        let fetch = lines.next().unwrap_or_default().parse().unwrap_or(Fetch::OnDemand);
        let key = |line: &str| {
            let path = HEXLOWER.decode(line.strip_prefix("pin ")?.as_bytes()).ok()?;
            if path.is_empty() { Some(Key::ROOT) } else { Key::parse(&path).ok() }
        };
        Self { fetch, pins: lines.filter_map(key).take(MAX_PINS).collect() }
    }
}

/// A store's policy, and the lock of who changes it.
#[derive(Debug, Default)]
pub(super) struct Policies {
    current: RwLock<Arc<Policy>>,
    changing: Mutex<()>,
}

impl Policies {
    /// As the file in `dir` has it; where there is none, the default.
    pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !disk.exists(&path) {
            return Ok(Self::default());
        }
        let failed = || StoreError::io(format!("cannot read {}", path.display()));
        let file = disk.open(&path, Open::Read).map_err(failed())?;
        let mut bytes = vec![0; usize::try_from(file.len().map_err(failed())?).unwrap_or_default()];
        file.read_exact_at(&mut bytes, 0).map_err(failed())?;
        let policy = Policy::decode(&String::from_utf8_lossy(&bytes));
        Ok(Self { current: RwLock::new(Arc::new(policy)), changing: Mutex::default() })
    }
}

impl Store {
    /// Durable when it returns.
    fn set_policy(&self, change: impl FnOnce(&mut Policy) -> Result<bool>) -> Result<bool> {
        self.thawed()?;
        let _one = self.policy.changing.lock();
        let mut policy = Policy::clone(&self.policy.current.read());
        if !change(&mut policy)? {
            return Ok(false);
        }
        let path = self.dir.join(FILE);
        disk::replace(&*self.disk, &path, policy.encode().as_bytes())
            .map_err(StoreError::io(format!("cannot write {}", path.display())))?;
        *self.policy.current.write() = Arc::new(policy);
        Ok(true)
    }
}

impl Handle {
    /// As it is now. It is another `Arc` after each change.
    pub fn policy(&self) -> Arc<Policy> {
        self.store.policy.current.read().clone()
    }

    /// From now on. False: it was so already.
    pub fn set_fetch(&self, fetch: Fetch) -> Result<bool> {
        self.store.set_policy(|policy| Ok(std::mem::replace(&mut policy.fetch, fetch) != fetch))
    }

    /// What stands at `key` and below it is fetched and kept, whatever the policy. False: it was pinned already.
    pub fn pin(&self, key: &Key) -> Result<bool> {
        self.store.set_policy(|policy| {
            if policy.pins.len() >= MAX_PINS && !policy.pins.contains(key) {
                let why = format!("{key}: there are {MAX_PINS} pins already; pin a directory above them");
                return Err(StoreError::Refused(why));
            }
            Ok(policy.pins.insert(key.clone()))
        })
    }

    /// False: there was no pin at this very key.
    pub fn unpin(&self, key: &Key) -> Result<bool> {
        self.store.set_policy(|policy| Ok(policy.pins.remove(key)))
    }

    /// How much of its files' content is here. Looks at every file.
    pub fn here(&self) -> Result<Here> {
        let mut sum = Here::default();
        self.store.for_each_record(&mut |record| {
            for content in record.heads.iter().filter_map(|h| h.node.as_ref()?.content()) {
                if let Content::Chunks(_) | Content::Manifest { .. } = content {
                    let here = self.store.content.bytes_here(content).map_err(StoreError::Content)?;
                    sum.files += 1;
                    sum.whole += u64::from(here == content.size());
                    sum.bytes += content.size();
                    sum.here += here;
                }
            }
            Ok(())
        })?;
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::parse(path.as_bytes()).expect("a key")
    }

    #[test]
    fn a_pin_covers_what_is_below_it_and_nothing_beside_it() {
        let pins = [key("a/b"), key("c")].into();
        let policy = Policy { fetch: Fetch::OnDemand, pins };
        for inside in ["a/b", "a/b/x/y", "c", "c/d"] {
            assert!(policy.fetches(&key(inside)), "{inside}");
        }
        for outside in ["a", "a/bc", "a/x", "cc"] {
            assert!(!policy.fetches(&key(outside)), "{outside}");
        }
        assert_eq!(policy.pin_of(&key("a/b/x/y")), Some(key("a/b")));
        assert!(Policy { pins: [Key::ROOT].into(), ..policy }.fetches(&key("any/thing")));
        assert!(Policy::default().fetches(&key("any/thing")), "eager by default");
    }

    #[test]
    fn what_is_written_down_is_read_and_what_makes_no_sense_fetches_nothing() {
        let pins = [key("a\nb"), key("c d"), Key::ROOT].into();
        let policy = Policy { fetch: Fetch::OnDemand, pins };
        assert_eq!(Policy::decode(&policy.encode()), policy);
        assert_eq!(Policy::decode(&Policy::default().encode()), Policy::default());
        for damaged in ["", "\0\0\0\0\0\0", "lazy\npin zz\npin 2e2e\nnonsense"] {
            let read = Policy::decode(damaged);
            assert_eq!(read, Policy { fetch: Fetch::OnDemand, pins: BTreeSet::new() }, "{damaged:?}");
        }
    }
}
