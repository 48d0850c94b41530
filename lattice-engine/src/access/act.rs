//! What one entry of the root store says about members: [`Act`], and the keys and values that say it.
//!
//! | key | value | says |
//! |---|---|---|
//! | `nodes/<node>/added` | empty, or `invite <id>` | the node is a member |
//! | `nodes/<node>/name` | text | what it is called: data like any other, not an act |
//! | `nodes/<node>/revoked/<store>` | `<seq> <entry id>`, or a line for each branch | no member any more; of its entries in that store, these and those before them count |
//! | `stores/<store>/authors/<node>` | empty | a guest: its entries in that one store count |
//!
//! One entry is one act, with everything it says. Only puts of values that stand in the entry count: an act must mean the
//! same to all who have the entry. A deletion undoes nothing: a node is removed by being revoked, and for good.

use std::collections::BTreeMap;

use crate::entry::{Content, Entry, EntryRef, Op, Value};
use crate::id::{EntryId, NodeId, StoreId};

use super::cutoff::{Cutoff, Cutoffs};
use super::invite::InviteId;

/// Reasons kept of one entry: enough to see what is wrong.
const MAX_IGNORED: usize = 8;

/// What stands in the keys that say something.
const NEEDLES: [&[u8]; 2] = [b"nodes/", b"/authors/"];

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// A member from now on; by which invite, if by one.
    Add { node: NodeId, invite: Option<InviteId> },
    /// No member any more: of its entries these count, up to here; of a store that isn't listed, none.
    Revoke { node: NodeId, tips: BTreeMap<StoreId, Cutoffs> },
    /// Not a member; its entries in this one store count.
    Guest { store: StoreId, node: NodeId },
}

/// Something under `nodes/` that says nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} in entry {} of {}: {why}", entry.short(), author.short())]
pub struct Ignored {
    pub entry: EntryId,
    pub author: NodeId,
    /// Cut to 80 characters.
    pub key: String,
    pub why: &'static str,
}

/// What one entry says, by whom, and after what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub at: EntryRef,
    /// The entries that its author had seen when it wrote it, with all that is before them: the one before, and those it cites.
    pub after: Vec<(NodeId, u64, EntryId)>,
    pub does: Vec<Does>,
}

impl Act {
    /// Whether a payload is worth decoding: a quick no for most of a large root store.
    pub fn may_be_in(payload: &[u8]) -> bool {
        NEEDLES.iter().any(|needle| payload.windows(needle.len()).any(|w| w == *needle))
    }

    /// What an entry of the root store says; `None`: nothing about members.
    pub fn of(entry: &Entry) -> (Option<Self>, Vec<Ignored>) {
        let mut reader = Reader { entry, does: Vec::new(), revoked: BTreeMap::new(), ignored: Vec::new() };
        for op in &entry.ops {
            reader.read(op);
        }
        let Reader { mut does, revoked, ignored, .. } = reader;
        does.extend(revoked.into_iter().map(|(node, tips)| Does::Revoke { node, tips }));
        let act = (!does.is_empty()).then(|| Self { at: entry.entry_ref(), after: after(entry), does });
        (act, ignored)
    }
}

/// What an entry comes after by what it names itself.
fn after(entry: &Entry) -> Vec<(NodeId, u64, EntryId)> {
    let header = &entry.header;
    let before = (header.author, header.seq.saturating_sub(1), header.prev);
    [before].into_iter().chain(header.deps.iter().map(|dep| (dep.author, dep.seq, dep.id))).collect()
}

struct Reader<'a> {
    entry: &'a Entry,
    does: Vec<Does>,
    revoked: BTreeMap<NodeId, BTreeMap<StoreId, Cutoffs>>,
    ignored: Vec<Ignored>,
}

impl Reader<'_> {
    fn read(&mut self, op: &Op) {
        let Op::Put { key, node, .. } = op else { return };
        let path: Vec<&[u8]> = key.as_bytes().split(|b| *b == b'/').collect();
        let said = match path[..] {
            [b"nodes", node_id, b"added"] => self.added(node_id, inline(&node.value)),
            [b"nodes", node_id, b"revoked", store] => self.revoked(node_id, store, inline(&node.value)),
            [b"stores", store, b"authors", node_id] => self.guest(store, node_id),
            _ => Ok(()),
        };
        if let Err(why) = said
            && self.ignored.len() < MAX_IGNORED
        {
            let key = String::from_utf8_lossy(key.as_bytes()).chars().take(80).collect();
            let (entry, author) = (self.entry.id, self.entry.header.author);
            self.ignored.push(Ignored { entry, author, key, why });
        }
    }

    fn added(&mut self, node: &[u8], value: Option<&[u8]>) -> Result<(), &'static str> {
        let node = exact(node).ok_or("it names no node")?;
        let invite = match value.ok_or("its value doesn't stand in the entry")? {
            b"" => None,
            text => Some(invite_of(text).ok_or("its value is neither empty nor an invite")?),
        };
        self.does.push(Does::Add { node, invite });
        Ok(())
    }

    fn revoked(&mut self, node: &[u8], store: &[u8], value: Option<&[u8]>) -> Result<(), &'static str> {
        let node: NodeId = exact(node).ok_or("it names no node")?;
        let store = exact(store).ok_or("it names no store")?;
        if node == self.entry.header.author {
            return Err("a node can't revoke itself");
        }
        let value = value.ok_or("its value doesn't stand in the entry")?;
        let cutoffs = cutoffs_of(value).ok_or("its value is not a sequence number and an entry id")?;
        self.revoked.entry(node).or_default().insert(store, cutoffs);
        Ok(())
    }

    fn guest(&mut self, store: &[u8], node: &[u8]) -> Result<(), &'static str> {
        let store = exact(store).ok_or("it names no store")?;
        let node = exact(node).ok_or("it names no node")?;
        self.does.push(Does::Guest { store, node });
        Ok(())
    }
}

fn inline(value: &Value) -> Option<&[u8]> {
    match value {
        Value::File(Content::Inline(bytes)) => Some(bytes),
        _ => None,
    }
}

/// A name in the one form in which it is written: two keys must not say the same thing.
fn exact<T: std::str::FromStr + ToString>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<T>().ok().filter(|id| id.to_string() == text)
}

fn invite_of(text: &[u8]) -> Option<InviteId> {
    exact(text.strip_prefix(b"invite ")?)
}

/// A line for each, in their order.
fn cutoffs_of(text: &[u8]) -> Option<Cutoffs> {
    let lines: Vec<Cutoff> = text.split(|b| *b == b'\n').map(cutoff_of).collect::<Option<_>>()?;
    let in_order = lines.is_sorted_by(|a, b| a < b);
    Cutoffs::new(&lines.into_iter().collect()).filter(|_| in_order)
}

fn cutoff_of(text: &[u8]) -> Option<Cutoff> {
    let space = text.iter().position(|b| *b == b' ')?;
    Some(Cutoff { seq: exact(&text[..space])?, id: exact(&text[space + 1..])? })
}

/// The value of `nodes/<node>/added`.
pub fn added_value(invite: Option<InviteId>) -> String {
    invite.map_or_else(String::new, |id| format!("invite {id}"))
}

/// The value of `nodes/<node>/revoked/<store>`.
pub fn cutoff_value(cutoffs: &Cutoffs) -> String {
    let lines: Vec<String> = cutoffs.iter().map(|cutoff| format!("{} {}", cutoff.seq, cutoff.id)).collect();
    lines.join("\n")
}
