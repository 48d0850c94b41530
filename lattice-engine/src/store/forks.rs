//! Authors who signed two entries where one can stand: a copied data directory, a restored backup, or a lie. The headers that
//! prove it are kept in a file beside the log, shown, and told to peers; whoever sees that its own name is written under
//! twice writes no more. The entries themselves are kept, whatever their branch: [`super::branches`].
//!
//! It refuses proofs that their author hasn't signed, and those of authors of whom nothing is here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use prost::Message;

use crate::disk::{self, Disk, Open};
use crate::entry::{Entry, ForkProof, SignedHeader};
use crate::id::{NodeId, StoreId};
use crate::sync::{MAX_FORKS, SharedForks};
use crate::wire::v1;

use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;

/// Bytes of headers that are kept: most are of a few hundred.
const MAX_BYTES: usize = 4 << 20;

/// The first fork seen of each author.
#[derive(Debug, Default)]
pub(super) struct Forks {
    file: PathBuf,
    by_author: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    proofs: BTreeMap<NodeId, Arc<ForkProof>>,
    bytes: usize,
    /// The same, for those who are told.
    shared: SharedForks,
}

impl Forks {
    /// Those that an earlier start has kept.
    pub fn load(disk: &dyn Disk, dir: &Path, store: StoreId) -> Self {
        let forks = Self { file: dir.join("forks"), by_author: Mutex::default() };
        match read(disk, &forks.file) {
            Ok(proofs) => {
                let mut known = forks.by_author.lock();
                proofs.into_iter().filter(|p| p.store == store).for_each(|proof| drop(known.add(proof)));
            }
            // Peers tell of them again.
            Err(why) => tracing::warn!(store = %store, "{} is left aside: {why}", forks.file.display()),
        }
        forks
    }

    pub fn shared(&self) -> SharedForks {
        self.by_author.lock().shared.clone()
    }

    pub fn of(&self, author: &NodeId) -> Option<Arc<ForkProof>> {
        self.by_author.lock().proofs.get(author).cloned()
    }

    /// Keeps a proof, where there is none of its author and room for it. True: it is new.
    fn note(&self, disk: &dyn Disk, proof: ForkProof) -> bool {
        let mut known = self.by_author.lock();
        let Some(proof) = known.add(proof) else { return false };
        tracing::error!(
            author = %proof.author, seq = proof.seq, one = %proof.ids[0], other = %proof.ids[1],
            "an author has signed two entries of one number: a copied data directory or a restored backup"
        );
        if let Err(e) = write(disk, &self.file, &known.shared) {
            tracing::warn!(
                "{} can't be written, so the fork is forgotten with this process: {e}",
                self.file.display()
            );
        }
        true
    }
}

impl Known {
    fn add(&mut self, proof: ForkProof) -> Option<Arc<ForkProof>> {
        let room = self.proofs.len() < MAX_FORKS && self.bytes + proof.weight() <= MAX_BYTES;
        if !room || self.proofs.contains_key(&proof.author) {
            return None;
        }
        let proof = Arc::new(proof);
        self.bytes += proof.weight();
        self.proofs.insert(proof.author, proof.clone());
        self.shared = self.proofs.values().cloned().collect();
        Some(proof)
    }
}

/// Each proof with its length before it, as it travels.
fn read(disk: &dyn Disk, path: &Path) -> std::result::Result<Vec<ForkProof>, String> {
    if !disk.exists(path) {
        return Ok(Vec::new());
    }
    let file = disk.open(path, Open::Read).map_err(|e| e.to_string())?;
    let len = file.len().map_err(|e| e.to_string())?.min(2 * MAX_BYTES as u64);
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| e.to_string())?;
    let mut bytes = Bytes::from(bytes);
    let mut proofs = Vec::new();
    while bytes.has_remaining() {
        let proof = v1::ForkProof::decode_length_delimited(&mut bytes).map_err(|e| e.to_string())?;
        let proof = ForkProof::try_from(proof).map_err(|e| e.to_string())?;
        proof.verify().map_err(|e| e.to_string())?;
        proofs.push(proof);
    }
    Ok(proofs)
}

fn write(disk: &dyn Disk, path: &Path, proofs: &SharedForks) -> std::io::Result<()> {
    let bytes: Vec<u8> = proofs
        .iter()
        .flat_map(|proof| v1::ForkProof::from(&**proof).encode_length_delimited_to_vec())
        .collect();
    disk::replace(disk, path, &bytes)
}

impl Handle {
    /// The authors who are known to have signed two entries where one can stand, with the proof.
    pub fn forks(&self) -> SharedForks {
        self.store.forks.shared()
    }

    /// Takes the proof of a fork that a peer told of. True: it is news. One of an author of whom nothing is here is left:
    /// it is told again when that has come.
    ///
    /// # Errors
    /// Its author hasn't signed it, or not for this store.
    pub fn receive_fork(&self, proof: ForkProof) -> Result<bool> {
        let store = &self.store;
        if proof.store != store.id {
            return Err(StoreError::Refused(format!("the proof of a fork is of store {}", proof.store)));
        }
        let ours = proof.author == self.author();
        if store.forks.of(&proof.author).is_some() || !(ours || store.has_chain(&proof.author)) {
            return Ok(false);
        }
        proof.verify()?;
        Ok(store.fork_proved(proof))
    }
}

impl Store {
    fn has_chain(&self, author: &NodeId) -> bool {
        self.writer.lock().chains.tips.get(author).is_some_and(|tip| tip.seq > 0)
    }

    /// Two entries of one author have met: `held` is here, `other` has come. True: that is news.
    pub(super) fn forked(&self, held: &Entry, other: &Entry) -> bool {
        let signed = |entry: &Entry| {
            let ours =
                || (entry.header.author == self.identity.node_id()).then(|| self.identity.sign(&entry.id));
            let signature = entry.signature.or_else(ours)?;
            Some(SignedHeader { header: Bytes::copy_from_slice(&entry.header_bytes), signature })
        };
        if let (Some(one), Some(two)) = (signed(held), signed(other))
            && let Ok(proof) = ForkProof::new(one, two)
        {
            return self.fork_proved(proof);
        }
        false
    }

    /// A fork whose proof was checked.
    fn fork_proved(&self, proof: ForkProof) -> bool {
        let (author, seq) = (proof.author, proof.seq);
        let news = self.forks.note(&*self.disk, proof);
        if author == self.identity.node_id() {
            self.forked_here(seq);
        }
        news
    }

    /// Another entry of ours has come under a number that we have used: someone writes with our identity. More entries
    /// would only make more branches.
    pub(super) fn forked_here(&self, seq: u64) {
        let why = forked_by(seq);
        let mut forked = self.forked.write();
        // Every new connection tells of it again.
        if forked.is_none() {
            tracing::error!(store = %self.id, why, "the store takes no more writes of this node");
            *forked = Some(why);
        }
    }
}

/// Why a node doesn't write any more, and what its user does about it.
pub(super) fn forked_by(seq: u64) -> String {
    format!(
        "this node's identity writes elsewhere too (entry {seq} is there twice): a copied data directory or a restored \
         backup. What is here can be read, and goes to the other members. To go on, join as a new node: `lattice help \
         join` says how"
    )
}
