//! The text files: README, status, status.json, conflicts.tsv and peers.tsv, made when they are looked up.

use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lattice_engine::entry::Time;
use lattice_engine::id::NodeId;
use lattice_engine::key::Key;
use lattice_engine::store::{Peer, StoreStatus};
use serde::Serialize;

use super::{Control, Result, now};
use crate::view::effective::{Kind, differing, ranked_heads, shown_head};
use crate::view::revoked;
use crate::view::twins::{self, Found};

/// An `open` gets the text whose size the look-up before it gave, if that was this recent: else a text that has grown
/// in between would be cut at the old size.
const LOOK_UP_TO_OPEN: Duration = Duration::from_secs(2);
/// Keys that a search for twins looks at.
const TWINS_LIMIT: usize = 50_000;

const README: &str = include_str!("README");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Readme,
    Status,
    StatusJson,
    Conflicts,
    Peers,
}

/// A text as it was made.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub text: Bytes,
    /// Since when it reads like this, as far as anyone has looked.
    pub at: Time,
    made: Instant,
}

/// `status.json`. Fields are only ever added.
#[derive(Serialize)]
struct Status {
    store: String,
    node: String,
    live_keys: u64,
    entries: u64,
    authors: u64,
    conflicts: u64,
    log_bytes: u64,
    pack_bytes: u64,
    state_bytes: u64,
    unsigned: u64,
    unapplied_bytes: u64,
    staged: u64,
    read_only: Option<String>,
    stalled: Option<String>,
    /// That this node was revoked, as far as it knows, and what to do.
    revoked: Option<String>,
    /// Nodes that write in two places: a copied data directory or a restored backup.
    forked: Vec<String>,
    cursor: String,
    /// Other members, and those of them that are connected.
    peers: u64,
    connected: u64,
    twins: Vec<TwinNames>,
    /// False: the store has more keys than were looked at for twins.
    twins_complete: bool,
}

#[derive(Serialize)]
struct TwinNames {
    dir: String,
    names: Vec<String>,
}

impl Text {
    pub const ALL: [Self; 5] = [Self::Readme, Self::Status, Self::StatusJson, Self::Conflicts, Self::Peers];

    pub fn name(self) -> &'static str {
        match self {
            Self::Readme => "README",
            Self::Status => "status",
            Self::StatusJson => "status.json",
            Self::Conflicts => "conflicts.tsv",
            Self::Peers => "peers.tsv",
        }
    }

    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name().as_bytes() == name)
    }
}

impl Control {
    /// The text now; or with `fresh` unset the one that the last look-up made, if it has just been.
    pub(super) fn text(&self, text: Text, fresh: bool) -> Result<Snapshot> {
        let last = self.texts.lock().iter().find(|(t, _)| *t == text).map(|(_, s)| s.clone());
        if let Some(last) = &last
            && !fresh
            && last.made.elapsed() < LOOK_UP_TO_OPEN
        {
            return Ok(last.clone());
        }
        let made = Instant::now();
        let bytes = self.write_text(text)?;
        let at = match last {
            Some(last) if last.text == bytes => last.at,
            _ if text == Text::Readme => self.born,
            _ => now(),
        };
        let snapshot = Snapshot { text: bytes, at, made };
        let mut texts = self.texts.lock();
        texts.retain(|(t, _)| *t != text);
        texts.push((text, snapshot.clone()));
        Ok(snapshot)
    }

    fn write_text(&self, text: Text) -> Result<Bytes> {
        Ok(match text {
            Text::Readme => Bytes::from_static(README.as_bytes()),
            Text::Status => self.status_text()?.into(),
            Text::StatusJson => {
                let json = serde_json::to_string_pretty(&self.status()?);
                // Only strings and numbers, and no map with other keys.
                (json.expect("a status can be written as JSON") + "\n").into()
            }
            Text::Conflicts => self.conflicts_tsv()?.into(),
            Text::Peers => self.peers_tsv().into(),
        })
    }

    fn status(&self) -> Result<Status> {
        let s = self.handle.status()?;
        let found = self.twins(&s)?;
        let peers = self.peers();
        let twins = found.twins.iter().map(|t| TwinNames {
            dir: t.dir.to_string(),
            names: t.names.iter().map(|n| printable(n)).collect(),
        });
        Ok(Status {
            store: s.id.to_string(),
            node: self.handle.author().to_string(),
            live_keys: s.live_keys,
            entries: s.entries,
            authors: s.authors,
            conflicts: s.conflicts,
            log_bytes: s.log_bytes,
            pack_bytes: s.pack_bytes,
            state_bytes: s.state_bytes,
            unsigned: s.unsigned,
            unapplied_bytes: s.unapplied_bytes,
            staged: s.staged,
            read_only: s.read_only,
            stalled: s.stalled,
            revoked: self.revoked(),
            forked: s.forked.iter().map(ToString::to_string).collect(),
            cursor: s.cursor.to_string(),
            peers: peers.len() as u64,
            connected: peers.iter().filter(|p| p.connected).count() as u64,
            twins: twins.collect(),
            twins_complete: found.complete,
        })
    }

    fn status_text(&self) -> Result<String> {
        let s = self.status()?;
        let mut out = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string can't fail.
            let _ = writeln!(out, "{name:<12} {value}");
        };
        line("store", &s.store);
        line("node", &s.node);
        line("keys", &s.live_keys);
        line("conflicts", &s.conflicts);
        let authors = if s.authors == 1 { "1 author".into() } else { format!("{} authors", s.authors) };
        line("entries", &format_args!("{} by {authors}", s.entries));
        let bytes = format_args!("{} log, {} content, {} state", s.log_bytes, s.pack_bytes, s.state_bytes);
        line("bytes", &bytes);
        line("unsigned", &format_args!("{} entries", s.unsigned));
        line("unapplied", &format_args!("{} bytes", s.unapplied_bytes));
        line("staged", &format_args!("{} files", s.staged));
        line("cursor", &s.cursor);
        if s.peers > 0 {
            line("peers", &format_args!("{} of {} connected", s.connected, s.peers));
        }
        if let Some(why) = &s.read_only {
            line("read-only", why);
        }
        if let Some(why) = &s.stalled {
            line("stalled", why);
        }
        if let Some(why) = &s.revoked {
            line("revoked", why);
        }
        for node in &s.forked {
            line(
                "forked",
                &format_args!("{node} writes in two places: a copied data directory or a restored backup"),
            );
        }
        for twins in &s.twins {
            line("twins", &format_args!("/{}: {}", twins.dir, twins.names.join(", ")));
        }
        if !s.twins_complete {
            line("twins", &format_args!("only the first {TWINS_LIMIT} keys were looked at"));
        }
        Ok(out)
    }

    /// Walking the names is worth doing once per change of the store.
    fn twins(&self, status: &StoreStatus) -> Result<Found> {
        let mut last = self.twins.lock();
        if let Some((cursor, found)) = &*last
            && *cursor == status.cursor
        {
            return Ok(found.clone());
        }
        let found = twins::below(&self.handle, &Key::ROOT, TWINS_LIMIT)?;
        *last = Some((status.cursor, found.clone()));
        Ok(found)
    }

    fn conflicts_tsv(&self) -> Result<String> {
        let mut out = String::from("key\tdiffering\tentry\tauthor\thlc\tkind\tsize\tshown\n");
        for (key, record) in self.handle.conflicts(&Key::ROOT)? {
            let shown = shown_head(&record).map(|h| h.entry);
            for head in ranked_heads(&record) {
                let Some(node) = &head.node else { continue };
                let (n, e, kind) = (differing(&record), head.entry, Kind::of(&node.value).word());
                let size = node.content().map_or(0, |c| c.size());
                let mark = if Some(e) == shown { "winner" } else { "-" };
                let (id, author, hlc) = (e.id, e.author, e.hlc);
                // Writing to a string can't fail.
                let _ = writeln!(out, "{key}\t{n}\t{id}\t{author}\t{hlc}\t{kind}\t{size}\t{mark}");
            }
        }
        Ok(out)
    }
}

/// A line per other member, with how far it and this node are apart in this store; `-`: not known.
impl Control {
    fn peers(&self) -> Vec<Peer> {
        self.handle.network().map(|n| n.peers(self.handle.id())).unwrap_or_default()
    }

    /// By those who have cut this node off; where the root store says so, the store is read-only and says it there.
    fn revoked(&self) -> Option<String> {
        let network = self.handle.network()?;
        let by = network.revoked_by();
        let peers = network.peers(self.handle.id());
        let name = |id: &NodeId| {
            let named = peers.iter().find(|p| p.id == *id).and_then(|p| p.name.clone());
            named.unwrap_or_else(|| id.short().to_string())
        };
        (!by.is_empty()).then(|| revoked::told(&by.iter().map(name).collect::<Vec<_>>()))
    }

    fn peers_tsv(&self) -> String {
        let mut out = String::from("peer\tname\tstate\trtt_ms\tpath\tbehind_here\tbehind_there\n");
        let none = || "-".to_owned();
        for p in self.peers() {
            let state = if p.connected { "connected" } else { "away" };
            let rtt = p.rtt.map_or_else(none, |d| format!("{:.3}", d.as_secs_f64() * 1000.0));
            let (here, there) = p.behind.map_or((none(), none()), |(h, t)| (h.to_string(), t.to_string()));
            let name = p.name.unwrap_or_else(none).replace(['\t', '\n'], " ");
            let path = p.path.unwrap_or_else(none);
            // Writing to a string can't fail.
            let _ = writeln!(out, "{}\t{name}\t{state}\t{rtt}\t{path}\t{here}\t{there}", p.id);
        }
        out
    }
}

/// A name as a key's `Display` writes it.
fn printable(name: &[u8]) -> String {
    Key::parse(name).map_or_else(|_| String::from_utf8_lossy(name).into_owned(), |k| k.to_string())
}
