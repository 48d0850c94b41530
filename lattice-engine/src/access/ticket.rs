//! The text that carries an invite: `lattice1` and base32, in lower case.
//!
//! It is made to be copied by people and read from a QR code: upper case and white space do no harm, and what was altered
//! or cut off is told from what is no ticket, what a newer version wrote and what has expired. Bytes in FORMAT.md.

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use prost::Message;

use crate::id::{EntryId, NodeId, StoreId};
use crate::wire::{decode_strict, v1};

use super::invite::Secret;

/// BLAKE3 `derive_key` context of a ticket's checksum.
pub const CHECKSUM_DOMAIN: &str = "lattice 2026 v1 ticket";
/// Addresses in a ticket.
pub const MAX_ADDRESSES: usize = 16;
/// Bytes of an address.
pub const MAX_ADDRESS: usize = 256;

const PREFIX: &str = "lattice";
const VERSION: char = '1';
const CHECKSUM: usize = 4;
/// Characters of a ticket: more than its parts can take.
const MAX_TEXT: usize = 8192;

/// An invite and where to go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The root store's genesis: names the root store, and proves it when it comes.
    pub genesis: EntryId,
    pub secret: Secret,
    /// Unix milliseconds: for a message before anybody is asked. The record decides.
    pub expires_ms: u64,
    /// Who made it: a member to ask. Any other will do as well.
    pub inviter: NodeId,
    /// Where the inviter was, as the network layer writes addresses. Hints.
    pub addresses: Vec<Bytes>,
}

/// Why a text is no ticket that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("this is not a ticket: one begins with \"lattice1\", and `lattice invite` prints it")]
    NotATicket,
    #[error("this ticket is damaged: a part is missing or was altered. Copy it again, all of it")]
    Damaged,
    #[error("this ticket is of version {0}, and this lattice reads version 1: use a newer one")]
    Newer(char),
    #[error("this ticket has expired: ask for a new one")]
    Expired,
}

impl Ticket {
    pub fn root(&self) -> StoreId {
        StoreId::of_genesis(&self.genesis)
    }

    /// Addresses over the bounds are left out: they are hints.
    pub fn to_text(&self) -> String {
        let addresses: Vec<Bytes> =
            self.addresses.iter().filter(|a| fits(a)).take(MAX_ADDRESSES).cloned().collect();
        let mut bytes = v1::Ticket {
            genesis: Bytes::copy_from_slice(self.genesis.as_bytes()),
            secret: Bytes::copy_from_slice(self.secret.bits()),
            expires_ms: self.expires_ms,
            inviter: Bytes::copy_from_slice(self.inviter.as_bytes()),
            addresses,
        }
        .encode_to_vec();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{PREFIX}{VERSION}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }

    /// Reads a ticket, whether it has expired or not.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        if text.len() > MAX_TEXT {
            return Err(TicketError::NotATicket);
        }
        let text: String =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
        let rest = text.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        match rest.chars().next() {
            Some(VERSION) => {}
            Some(newer @ ('2'..='9' | 'a'..='z')) => return Err(TicketError::Newer(newer)),
            _ => return Err(TicketError::NotATicket),
        }
        let body = rest[VERSION.len_utf8()..].to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (body, sum) = bytes
            .len()
            .checked_sub(CHECKSUM)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(TicketError::Damaged)?;
        if checksum(body) != *sum {
            return Err(TicketError::Damaged);
        }
        let ticket: v1::Ticket = decode_strict(body).map_err(|_| TicketError::Damaged)?;
        Self::from_wire(ticket).ok_or(TicketError::Damaged)
    }

    /// [`Ticket::parse`], refusing one that has expired.
    pub fn parse_at(text: &str, now_ms: u64) -> Result<Self, TicketError> {
        let ticket = Self::parse(text)?;
        if now_ms >= ticket.expires_ms { Err(TicketError::Expired) } else { Ok(ticket) }
    }

    fn from_wire(wire: v1::Ticket) -> Option<Self> {
        let bounded = wire.addresses.len() <= MAX_ADDRESSES && wire.addresses.iter().all(fits);
        bounded.then_some(Self {
            genesis: EntryId::from_slice(&wire.genesis)?,
            secret: Secret::new(wire.secret[..].try_into().ok()?),
            expires_ms: wire.expires_ms,
            inviter: NodeId::from_slice(&wire.inviter)?,
            addresses: wire.addresses,
        })
    }
}

fn fits(address: &Bytes) -> bool {
    !address.is_empty() && address.len() <= MAX_ADDRESS
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::derive_key(CHECKSUM_DOMAIN, bytes);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hash[..CHECKSUM]);
    sum
}
