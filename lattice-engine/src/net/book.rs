//! Where peers were last reached: a local file, not replicated, for what is near one node is far from another. Addresses
//! are hints; who answers at one proves its name by its key.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use iroh::{EndpointAddr, PublicKey, RelayUrl, TransportAddr};
use parking_lot::Mutex;

use super::files;
use crate::id::NodeId;

/// Addresses kept per peer: the latest. Each is tried at every dial.
const MAX_ADDRESSES: usize = 8;

/// Addresses by peer, the latest first.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    known: Mutex<BTreeMap<NodeId, VecDeque<Address>>>,
}

/// A way to a node, in the text that files and messages hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Ip(SocketAddr),
    Relay(RelayUrl),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(at) => at.fmt(f),
            Self::Relay(url) => url.fmt(f),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            let usable = at.port() != 0 && !at.ip().is_unspecified() && !at.ip().is_multicast();
            return if usable { Ok(Self::Ip(at)) } else { Err(()) };
        }
        let url = text.parse().map_err(|_| ())?;
        if text.len() <= 256 { Ok(Self::Relay(url)) } else { Err(()) }
    }
}

impl Address {
    pub fn of(addr: &TransportAddr) -> Option<Self> {
        match addr {
            TransportAddr::Ip(at) => Some(Self::Ip(SocketAddr::new(at.ip().to_canonical(), at.port()))),
            TransportAddr::Relay(url) => Some(Self::Relay(url.clone())),
            _ => None,
        }
    }
}

impl Book {
    /// As the file has it; an unreadable line is left out.
    pub fn load(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut known: BTreeMap<NodeId, VecDeque<Address>> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(node) = words.next().and_then(|n| n.parse().ok()) else { continue };
            known.insert(node, words.filter_map(|w| w.parse().ok()).take(MAX_ADDRESSES).collect());
        }
        Self { path, known: Mutex::new(known) }
    }

    pub fn of(&self, peer: &NodeId) -> Vec<Address> {
        self.known.lock().get(peer).map(|list| list.iter().cloned().collect()).unwrap_or_default()
    }

    /// What a dial is given: every address at once, for iroh tries them side by side.
    pub fn endpoint_addr(&self, peer: &NodeId) -> Option<EndpointAddr> {
        let id = PublicKey::from_bytes(peer.as_bytes()).ok()?;
        let addrs = self.of(peer).into_iter().map(|a| match a {
            Address::Ip(at) => TransportAddr::Ip(at),
            Address::Relay(url) => TransportAddr::Relay(url),
        });
        Some(EndpointAddr::from_parts(id, addrs))
    }

    /// Puts addresses in front of what is known. True: one of them is new.
    pub fn learn(&self, peer: NodeId, addresses: impl IntoIterator<Item = Address>) -> bool {
        let mut known = self.known.lock();
        let list = known.entry(peer).or_default();
        let before = list.clone();
        let addresses: Vec<Address> = addresses.into_iter().take(MAX_ADDRESSES).collect();
        let new = addresses.iter().any(|a| !before.contains(a));
        for address in addresses.into_iter().rev() {
            list.retain(|a| *a != address);
            list.push_front(address);
        }
        list.truncate(MAX_ADDRESSES);
        if *list != before {
            self.save(&known);
        }
        new
    }

    /// Puts addresses behind what is known: what others say, where we have seen for ourselves. True: one is new.
    pub fn hear(&self, peer: NodeId, addresses: impl IntoIterator<Item = Address>) -> bool {
        let mut known = self.known.lock();
        let list = known.entry(peer).or_default();
        let before = list.len();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            if list.len() < MAX_ADDRESSES && !list.contains(&address) {
                list.push_back(address);
            }
        }
        let new = list.len() > before;
        if new {
            self.save(&known);
        }
        new
    }

    pub fn forget(&self, peer: &NodeId) {
        let mut known = self.known.lock();
        if known.remove(peer).is_some() {
            self.save(&known);
        }
    }

    fn save(&self, known: &BTreeMap<NodeId, VecDeque<Address>>) {
        let mut text = String::new();
        for (node, list) in known {
            let _ = write!(text, "{node}");
            for address in list {
                let _ = write!(text, " {address}");
            }
            text.push('\n');
        }
        if let Err(e) = files::write(&self.path, text.as_bytes()) {
            tracing::debug!("{} can't be written: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(port: u16) -> Address {
        Address::Ip(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn the_latest_addresses_are_kept_and_survive_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("net/addresses");
        let (book, peer) = (Book::load(path.clone()), NodeId([7; 32]));
        for port in 1..=20 {
            assert!(book.learn(peer, [ip(port)]));
        }
        assert!(!book.learn(peer, [ip(15)]));
        assert!(!book.hear(peer, [ip(99)]), "there is no room for hearsay");
        let again = Book::load(path).of(&peer);
        assert_eq!(again, book.of(&peer));
        assert_eq!((again.len(), &again[0], &again[1]), (MAX_ADDRESSES, &ip(15), &ip(20)));
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_taken() {
        for text in ["0.0.0.0:1", "127.0.0.1:0", "[::]:5", "224.0.0.1:5", "nonsense", ""] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert_eq!("127.0.0.1:5".parse(), Ok(ip(5)));
    }
}
