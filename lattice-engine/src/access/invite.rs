//! Invites: what the root store keeps of one, how a joiner proves to hold it, and whether it is let in.
//!
//! An invite is 256 random bits that only its ticket carries. They are the seed of a key pair whose public half is in the
//! record `invites/<invite id>` of the root store, so that any online member can admit, and none can join by what it has
//! read there: not even one that is revoked before the invite is used up. A hash of the bits would not do: who checks a
//! keyed hash must hold the key.
//!
//! The joiner signs who it is and whom it asks ([`Secret::prove`]). The proof is of no use to whoever sees it: the
//! connection has proved that the joiner is that node, and only that member would take it.
//!
//! Uses are counted by the acts that name the invite and count ([`Members::uses`](super::Members::uses)). Two members who
//! admit at the same time without hearing of each other may exceed the number; both nodes are members then, and the
//! count shows it.

use std::fmt;

use zeroize::Zeroizing;

use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::{self, Identity, Signature};

use super::Members;

/// BLAKE3 `derive_key` context of an invite's key from its secret.
pub const KEY_DOMAIN: &str = "lattice 2026 v1 invite key";
/// BLAKE3 `derive_key` context of an invite's id from its public key.
pub const ID_DOMAIN: &str = "lattice 2026 v1 invite id";
/// BLAKE3 `derive_key` context of what a joiner signs.
pub const JOIN_DOMAIN: &str = "lattice 2026 v1 join";

/// Bytes of a record.
const MAX_RECORD: usize = 256;
/// The first line of a record.
const RECORD: &str = "lattice invite 1";

/// An invite: made from its public key, so the name proves what it names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub [u8; 16]);

impl InviteId {
    fn of(key: &NodeId) -> Self {
        let hash = blake3::derive_key(ID_DOMAIN, key.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }

    /// The key of its record in the root store.
    pub fn path(&self) -> String {
        format!("invites/{self}")
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteId({self})")
    }
}

/// What was given is not an invite's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an invite's id (32 hex digits)")]
pub struct ParseInviteIdError(String);

impl std::str::FromStr for InviteId {
    type Err = ParseInviteIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let id = bytes.and_then(|b| b.try_into().ok()).map(Self);
        id.ok_or_else(|| ParseInviteIdError(text.chars().take(80).collect()))
    }
}

/// What makes an invite one: whoever holds it may join. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Of 256 bits that the caller drew.
    pub fn new(bits: [u8; 32]) -> Self {
        Self(Zeroizing::new(bits))
    }

    /// For a ticket.
    pub(super) fn bits(&self) -> &[u8; 32] {
        &self.0
    }

    fn key(&self) -> Identity {
        Identity::from_seed(*Zeroizing::new(blake3::derive_key(KEY_DOMAIN, &*self.0)))
    }

    pub fn id(&self) -> InviteId {
        InviteId::of(&self.key().node_id())
    }

    /// The record of this invite, by member `by`. `expires_ms`: Unix milliseconds.
    pub fn record(&self, by: NodeId, expires_ms: u64, uses: u32) -> InviteRecord {
        InviteRecord { key: self.key().node_id(), by, expires_ms, uses }
    }

    /// Proves to `admitter` that `joiner` holds the invite.
    pub fn prove(&self, root: &StoreId, joiner: &NodeId, admitter: &NodeId) -> Proof {
        let key = self.key();
        Proof { key: key.node_id(), signature: key.sign(&statement(root, joiner, admitter)) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a joiner signs: a hash of a domain of its own, so that it can be no entry's id.
fn statement(root: &StoreId, joiner: &NodeId, admitter: &NodeId) -> EntryId {
    let mut hasher = blake3::Hasher::new_derive_key(JOIN_DOMAIN);
    hasher.update(root.as_bytes()).update(joiner.as_bytes()).update(admitter.as_bytes());
    EntryId(*hasher.finalize().as_bytes())
}

/// What a joiner shows: 96 bytes, the invite's public key and a signature by it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    key: NodeId,
    signature: Signature,
}

impl Proof {
    pub const LEN: usize = 96;

    /// The invite that it is for: where to find the record.
    pub fn invite(&self) -> InviteId {
        InviteId::of(&self.key)
    }

    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..32].copy_from_slice(self.key.as_bytes());
        bytes[32..].copy_from_slice(&self.signature);
        bytes
    }

    /// `None`: not as long as a proof. Whether it proves anything is for [`admit`] to say.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let (key, signature) = bytes.split_at_checked(32)?;
        Some(Self { key: NodeId::from_slice(key)?, signature: signature.try_into().ok()? })
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({})", self.invite())
    }
}

/// What the root store keeps of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteRecord {
    /// The public half of the secret's key pair.
    pub key: NodeId,
    /// Who wrote the record: it counts while that is a member. Not in the value: the entry's author says it.
    pub by: NodeId,
    /// Unix milliseconds.
    pub expires_ms: u64,
    pub uses: u32,
}

impl InviteRecord {
    pub fn id(&self) -> InviteId {
        InviteId::of(&self.key)
    }

    /// The value of `invites/<id>`.
    pub fn to_value(&self) -> String {
        format!("{RECORD}\nkey {}\nexpires {}\nuses {}\n", self.key, self.expires_ms, self.uses)
    }

    /// From a value that `by` wrote. `None`: it is no record in the one form that [`InviteRecord::to_value`] gives.
    pub fn from_value(value: &[u8], by: NodeId) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|t| t.len() <= MAX_RECORD)?;
        let mut lines = text.lines();
        if lines.next() != Some(RECORD) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let key = field("key")?.parse().ok()?;
        let expires_ms = field("expires")?.parse().ok()?;
        let uses = field("uses")?.parse().ok()?;
        let record = Self { key, by, expires_ms, uses };
        (record.to_value() == text).then_some(record)
    }
}

/// A joiner that is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// To be added, by this invite.
    New(InviteId),
    /// It is a member: an answer that was lost is given again, and uses nothing up.
    Already,
}

/// Why a joiner is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this invite has expired: ask for a new one")]
    Expired,
    #[error("this invite has been used already: ask for a new one")]
    UsedUp,
    #[error("this invite is not known here: it was taken back, or this member has not heard of it yet")]
    Unknown,
    #[error("this invite is not proved: the ticket was altered or copied wrongly")]
    Forged,
    #[error("this node was revoked, which is for good: join with a new identity")]
    Revoked,
}

/// Whether `joiner`, whom the connection has proved to be that node, is let in by `admitter`. `record` is what the root
/// store holds under the proof's invite, `members` what it says of members.
pub fn admit(
    record: Option<&InviteRecord>,
    members: &Members,
    (root, joiner, admitter): (&StoreId, &NodeId, &NodeId),
    proof: &Proof,
    now_ms: u64,
) -> Result<Admission, Refusal> {
    let record = record.filter(|r| r.key == proof.key && members.contains(&r.by)).ok_or(Refusal::Unknown)?;
    identity::verify(&record.key, &statement(root, joiner, admitter), &proof.signature)
        .map_err(|_| Refusal::Forged)?;
    match members.get(joiner) {
        Some(member) if member.is_active() => return Ok(Admission::Already),
        Some(_) => return Err(Refusal::Revoked),
        None => {}
    }
    if now_ms >= record.expires_ms {
        return Err(Refusal::Expired);
    }
    if members.uses(&record.id()) >= record.uses {
        return Err(Refusal::UsedUp);
    }
    Ok(Admission::New(record.id()))
}
