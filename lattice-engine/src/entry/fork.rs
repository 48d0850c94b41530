//! The proof that an author has signed two entries where only one can stand: two headers with their signatures. Nothing
//! else is needed to believe it, so it travels to members who hold neither entry.
//!
//! It refuses what proves nothing: headers of different authors or stores, the same entry twice, and two that can stand in one
//! chain.

use bytes::Bytes;

use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::{self, Signature};
use crate::wire::v1;

use super::{EntryError, Header, Kind, entry_id};

/// A header as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    pub header: Bytes,
    pub signature: Signature,
}

/// Two headers of one author that can't both be true to one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    pub store: StoreId,
    pub author: NodeId,
    /// The number that stands for two entries.
    pub seq: u64,
    /// Those two.
    pub ids: [EntryId; 2],
    /// Of these two, or the second of one that names its entry as the one before it. In this order: by seq, then by id.
    headers: [SignedHeader; 2],
}

/// Why two headers prove no fork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFork {
    #[error("one of its headers is none: {0}")]
    Header(#[from] EntryError),
    #[error("its headers are of two authors, or of two stores")]
    Apart,
    #[error("its headers can stand in one chain")]
    OneChain,
    #[error("it is not two headers with their signatures, in their order")]
    Encoding,
}

impl ForkProof {
    /// Checks what two headers prove; not their signatures: [`ForkProof::verify`] does.
    pub fn new(one: SignedHeader, two: SignedHeader) -> Result<Self, NoFork> {
        let mut both = [(Header::decode(&one.header)?, one), (Header::decode(&two.header)?, two)];
        both.sort_by_key(|((id, header), _)| (header.seq, *id));
        let [((first, a), one), ((second, b), two)] = both;
        if a.author != b.author || a.store != b.store || a.kind == Kind::Genesis {
            return Err(NoFork::Apart);
        }
        let other = match b.seq - a.seq {
            0 if first != second => second,
            1 if b.prev != first => b.prev,
            _ => return Err(NoFork::OneChain),
        };
        Ok(Self { store: a.store, author: a.author, seq: a.seq, ids: [first, other], headers: [one, two] })
    }

    /// Whether the author has signed both.
    pub fn verify(&self) -> Result<(), EntryError> {
        for signed in &self.headers {
            identity::verify(&self.author, &entry_id(&signed.header), &signed.signature)?;
        }
        Ok(())
    }

    pub fn headers(&self) -> &[SignedHeader; 2] {
        &self.headers
    }

    /// Bytes that it keeps in memory.
    pub fn weight(&self) -> usize {
        self.headers.iter().map(|signed| signed.header.len() + signed.signature.len()).sum()
    }
}

impl From<&ForkProof> for v1::ForkProof {
    fn from(proof: &ForkProof) -> Self {
        let wire = |signed: &SignedHeader| v1::SignedHeader {
            header: signed.header.clone(),
            signature: Bytes::copy_from_slice(&signed.signature),
        };
        let [one, two] = &proof.headers;
        Self { one: Some(wire(one)), two: Some(wire(two)) }
    }
}

impl TryFrom<v1::ForkProof> for ForkProof {
    type Error = NoFork;

    /// One encoding for one proof: the other order is none.
    fn try_from(wire: v1::ForkProof) -> Result<Self, NoFork> {
        let read = |signed: Option<v1::SignedHeader>| -> Result<SignedHeader, NoFork> {
            let signed = signed.ok_or(NoFork::Encoding)?;
            let signature = signed.signature[..].try_into().map_err(|_| NoFork::Encoding)?;
            Ok(SignedHeader { header: signed.header, signature })
        };
        let one = read(wire.one)?;
        let proof = Self::new(one.clone(), read(wire.two)?)?;
        if proof.headers[0] == one { Ok(proof) } else { Err(NoFork::Encoding) }
    }
}
