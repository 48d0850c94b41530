//! Signatures of own entries, for who is sent them. They stand apart in the log, some time after their entries, in the same
//! order: who reads a chain on and on finds them by reading on where the last ones were. Signing again gives the same
//! bytes and takes ten times as long, so that is done only where they aren't found.

use std::collections::BTreeMap;

use crate::id::EntryId;
use crate::identity::Signature;
use crate::log::{Position, Record as LogRecord};

use super::core::Store;

/// Signatures kept: those of some frames of entries.
const KEPT: usize = 4096;
/// And so many are looked up at a time, for who reads on.
const AHEAD: u64 = 1024;
/// Records that are looked through for one.
const LOOKED_AT: usize = 8192;

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    found: BTreeMap<u64, Signature>,
    /// The number that comes next, and after which record of the log its signature is.
    next: Option<(u64, Position)>,
}

impl Store {
    /// The signature of this node's entry `seq`, which stands at `position`.
    pub(super) fn own_signature(&self, position: Position, seq: u64, id: &EntryId) -> Signature {
        let mut known = self.signatures.lock();
        if !known.found.contains_key(&seq) {
            self.look_up(&mut known, position, seq);
        }
        known.found.get(&seq).copied().unwrap_or_else(|| self.identity.sign(id))
    }

    fn look_up(&self, known: &mut Signatures, position: Position, seq: u64) {
        let after = known.next.filter(|(next, _)| *next == seq).map_or(position, |(_, after)| after);
        known.next = None;
        let me = self.identity.node_id();
        // A record that can't be read ends it: then it is signed again.
        for (at, record) in self.view.log.scan(Some(after)).take(LOOKED_AT).map_while(Result::ok) {
            let LogRecord::Signatures { author, list } = record else { continue };
            if author != me {
                continue;
            }
            if known.found.len() + list.len() > KEPT {
                known.found.clear();
            }
            known.next = list.last().map(|(last, _)| (last + 1, at));
            known.found.extend(list);
            if known.next.is_some_and(|(next, _)| next > seq + AHEAD) {
                return;
            }
        }
    }
}
