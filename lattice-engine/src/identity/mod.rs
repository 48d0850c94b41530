//! A node's ed25519 key pair: who writes. Signs entry ids and checks signatures.
//!
//! Refuses: a key file that other users can read, a malformed one, and signatures that `verify_strict` does not accept
//! (small-order keys, malleable forms): every replica must give the same verdict, so signatures are checked one by one,
//! never in batches. The secret is zeroized when dropped and never printed.

mod file;

use std::collections::HashMap;
use std::fmt;

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::id::{EntryId, NodeId};

pub use file::KeyFileError;

/// An ed25519 signature, as it stands on the wire.
pub type Signature = [u8; 64];

/// What stands before the entry id in the signed message.
pub const SIGNATURE_DOMAIN: &[u8; 25] = b"lattice 2026 v1 signature";

/// Why a signature doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("{0} is not an ed25519 public key")]
    NotAKey(NodeId),
    #[error("the signature on entry {entry} is not {author}'s")]
    Mismatch { author: NodeId, entry: EntryId },
}

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed: {0}")]
pub struct RandomError(#[from] getrandom::Error);

/// `N` bytes from the system's random number generator.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A key pair. Not `Clone`: share it behind an `Arc`, so that the secret is in memory once.
pub struct Identity {
    key: SigningKey,
    node_id: NodeId,
}

impl Identity {
    /// A new key pair.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_seed(*Zeroizing::new(random_bytes()?)))
    }

    /// The key pair of an RFC 8032 secret key. The caller's copy of the seed is the caller's to wipe.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        let node_id = NodeId(key.verifying_key().to_bytes());
        Self { key, node_id }
    }

    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The secret key, for the endpoint of this node's connections: it proves the same name there.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// Signs an entry. Deterministic (RFC 8032), so it may be done, or done again, long after the entry was made.
    pub fn sign(&self, id: &EntryId) -> Signature {
        self.key.sign(&message(id)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// Checks that `node` signed entry `id`.
pub fn verify(node: &NodeId, id: &EntryId, signature: &Signature) -> Result<(), SignatureError> {
    Verifier::default().verify(node, id, signature)
}

/// Checks many signatures of few authors: each author's key is unpacked once, which is a seventh of the work.
#[derive(Debug, Default)]
pub struct Verifier(HashMap<NodeId, Option<VerifyingKey>>);

impl Verifier {
    /// As [`verify`], and with the same verdict.
    pub fn verify(
        &mut self,
        node: &NodeId,
        id: &EntryId,
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let key = self.0.entry(*node).or_insert_with(|| VerifyingKey::from_bytes(node.as_bytes()).ok());
        key.as_ref()
            .ok_or(SignatureError::NotAKey(*node))?
            .verify_strict(&message(id), &DalekSignature::from_bytes(signature))
            .map_err(|_| SignatureError::Mismatch { author: *node, entry: *id })
    }
}

fn message(id: &EntryId) -> [u8; 57] {
    let mut message = [0; 57];
    message[..25].copy_from_slice(SIGNATURE_DOMAIN);
    message[25..].copy_from_slice(id.as_bytes());
    message
}

#[cfg(test)]
mod tests;
