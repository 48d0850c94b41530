//! Whose entries count in a store: [`Governed`], which holds the membership that they are judged against.
//!
//! A root store says itself who the members are: its acts are collected as its log is read and written, and folded anew
//! when one has come. Every other store is given its membership by its node. A store of no root store takes everyone's.
//!
//! The log keeps what doesn't count: it is the truth, and the verdict may change. What doesn't count is left out of the
//! projection ([`leave_out`]), and of what is published and exported, but for what an entry that counts builds on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::access::{Act, Acts, Cutoff, Limit, Members, Membership, Verdict};
use crate::chain::{ChainId, Tip};
use crate::entry::{Decoded, Entry, EntryRef, Op};
use crate::id::{EntryId, NodeId, StoreId};
use crate::log::{LogReader, Position, Record as LogRecord};
use crate::state::Cut;

use super::apply::Applier;
use super::branches::Branches;
use super::error::{Result, StoreError};
use super::view::View;
use super::writer::Chains;

/// Who says whose entries count.
#[derive(Debug, Clone)]
pub enum Authority {
    /// Nobody: every author's do. For a store outside of any root store.
    Everyone,
    /// The store itself: it is a root store.
    Itself,
    /// The root store that it is declared in, as things stand at opening.
    Root(Arc<Membership>),
}

/// The membership of one open store, and its changes.
#[derive(Debug)]
pub(super) struct Governed {
    store: StoreId,
    genesis: EntryId,
    current: RwLock<Arc<Membership>>,
    /// Of forked authors who were revoked.
    limits: RwLock<Arc<Limits>>,
    /// Of a root store.
    own: Option<Mutex<Own>>,
    /// Counts changes of the membership, and of what members are called.
    changes: (Mutex<u64>, Condvar),
}

/// How much of each chain of a forked author counts, where a revocation says that not all does: what the entries that it names
/// come after, and those themselves. A chain that isn't listed: nothing.
pub(super) type Limits = BTreeMap<NodeId, BTreeMap<ChainId, u64>>;

#[derive(Debug)]
struct Own {
    acts: Acts,
    /// What the acts amounted to when they were folded last.
    members: Members,
    /// An act has come since then.
    stale: bool,
}

impl Governed {
    /// For a store whose genesis stands at `founder`; a root store's log is read once.
    pub fn new(authority: &Authority, founder: EntryRef, log: &LogReader) -> Result<Self> {
        let store = StoreId::of_genesis(&founder.id);
        let (current, own) = match authority {
            Authority::Everyone => (Arc::new(Membership::everyone()), None),
            Authority::Root(membership) => (membership.clone(), None),
            Authority::Itself => {
                let acts = read_acts(log, founder)?;
                let members = acts.fold();
                let own = Own { acts, stale: false, members };
                (Arc::new(Membership::of(store, &own.members)), Some(Mutex::new(own)))
            }
        };
        let limits = RwLock::default();
        let (genesis, current) = (founder.id, RwLock::new(current));
        Ok(Self { store, genesis, current, limits, own, changes: Default::default() })
    }

    /// With the same membership, which nothing changes: for a second look at the same log.
    pub fn fixed(&self, membership: Arc<Membership>, limits: Arc<Limits>) -> Self {
        let (current, limits) = (RwLock::new(membership), RwLock::new(limits));
        let (store, genesis) = (self.store, self.genesis);
        Self { store, genesis, current, limits, own: None, changes: Default::default() }
    }

    pub fn genesis(&self) -> EntryId {
        self.genesis
    }

    pub fn current(&self) -> Arc<Membership> {
        self.current.read().clone()
    }

    pub fn set(&self, membership: Arc<Membership>, limits: Arc<Limits>) {
        *self.current.write() = membership;
        *self.limits.write() = limits;
        self.changed();
    }

    pub fn limits(&self) -> Arc<Limits> {
        self.limits.read().clone()
    }

    /// Whether an entry, which is of `chain`, is projected.
    pub fn counts(&self, chain: &ChainId, at: &EntryRef) -> bool {
        let limit = self.current.read().limit(&self.store, &at.author);
        match limit {
            Limit::UpTo(_) if at.seq > 0 => match self.limits.read().get(&at.author) {
                Some(chains) => chains.get(chain).is_some_and(|upto| at.seq <= *upto),
                // Of a branch that has just begun: until it is known what comes before the last entry that counts.
                None => *chain == at.author && limit.allows(at.seq, &at.id),
            },
            limit => at.seq == 0 || limit.allows(at.seq, &at.id),
        }
    }

    /// What becomes of an entry that comes from elsewhere: valid ones are taken, whether they count or not.
    pub fn admits(&self, entry: &Entry) -> Verdict {
        let header = &entry.header;
        let current = self.current.read();
        if current.shared(&self.store, &header.author).allows(header.seq, &entry.id) {
            return Verdict::Valid;
        }
        current.judge(&self.store, &header.author, header.seq, &entry.id)
    }

    /// Why this node can't write here.
    pub fn why_not(&self, own: &NodeId) -> Option<String> {
        let current = self.current.read();
        if current.limit(&self.store, own) == Limit::All {
            return None;
        }
        Some(if current.has_revoked(own) {
            "this node was revoked by a member: what it has can be read, and nothing that it writes would count anywhere. \
             Join again with a new identity"
                .into()
        } else {
            "this node is not a member yet, as far as its root store knows: it takes writes once a member has been reached"
                .into()
        })
    }

    /// Whether no later entry of its chain counts.
    pub fn is_last(&self, chain: &ChainId, at: &EntryRef) -> bool {
        let EntryRef { author, seq, .. } = at;
        match (self.current.read().limit(&self.store, author), self.limits.read().get(author)) {
            (Limit::UpTo(_), Some(chains)) => chains.get(chain).is_none_or(|upto| upto <= seq),
            (Limit::UpTo(cutoffs), None) => cutoffs.last() <= *seq,
            _ => false,
        }
    }

    /// An entry was logged: whether it counts or not, a root store's may say something about members.
    pub fn note(&self, entry: &Entry) {
        let Some(own) = &self.own else { return };
        let (act, ignored) = Act::of(entry);
        if let Some(why) = ignored.first() {
            tracing::warn!(store = %self.store, more = ignored.len() - 1, "ignored: {why}");
        }
        if let Some(act) = act {
            let mut own = own.lock();
            own.stale |= own.acts.insert(act);
        }
        let about_nodes = |op: &Op| op.key().is_some_and(|key| key.as_bytes().starts_with(b"nodes/"));
        if entry.ops.iter().any(about_nodes) {
            self.changed();
        }
    }

    /// A chain has forked: what an act came after may be less than it seemed.
    pub fn forked(&self) {
        if let Some(own) = &self.own {
            own.lock().stale = true;
        }
    }

    /// A root store, which says itself who its members are.
    pub fn is_root(&self) -> bool {
        self.own.is_some()
    }

    /// An act has come since they were folded.
    pub fn is_stale(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.lock().stale)
    }

    /// What the acts amount to, if some have come since it was asked last.
    pub fn refold(&self, view: &View) -> Option<Arc<Membership>> {
        let mut own = self.own.as_ref()?.lock();
        if !std::mem::take(&mut own.stale) {
            return None;
        }
        own.members = own.acts.fold_by(&|author, seq, id| view.lineage(author, seq, id));
        Some(Arc::new(Membership::of(self.store, &own.members)))
    }

    /// `None`: not a root store.
    pub fn members(&self) -> Option<Members> {
        Some(self.own.as_ref()?.lock().members.clone())
    }

    /// How often it has changed.
    pub fn version(&self) -> u64 {
        *self.changes.0.lock()
    }

    pub fn changed(&self) {
        *self.changes.0.lock() += 1;
        self.changes.1.notify_all();
    }

    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let deadline = Instant::now() + timeout;
        let mut changes = self.changes.0.lock();
        while *changes == seen && !self.changes.1.wait_until(&mut changes, deadline).timed_out() {}
        *changes
    }

    /// What counts of forked authors who were revoked. `find`: the chain of an entry.
    pub fn limits_of(
        &self,
        membership: &Membership,
        branches: &Branches,
        find: impl Fn(&NodeId, &Cutoff) -> Result<Option<ChainId>>,
    ) -> Result<Limits> {
        let mut limits = Limits::new();
        for author in branches.authors() {
            let Limit::UpTo(cutoffs) = membership.limit(&self.store, author) else { continue };
            let mut chains: BTreeMap<ChainId, u64> = BTreeMap::new();
            for cutoff in cutoffs.iter() {
                let named = if cutoff.seq > 0 { find(author, cutoff)? } else { None };
                let path = named.map(|chain| branches.path(&chain, cutoff.seq));
                // It isn't here, or not yet: it may be of any of them. The same everywhere, whichever came first.
                let before = cutoff.seq.saturating_sub(1);
                let any = || branches.chains(author).into_iter().map(|chain| (chain, before)).collect();
                for (chain, upto) in path.unwrap_or_else(any) {
                    let have = chains.entry(chain).or_default();
                    *have = (*have).max(upto);
                }
            }
            limits.insert(*author, chains);
        }
        Ok(limits)
    }

    /// The chains, of those with these tips, that can't be projected whole, and up to where they can. `named` gives the
    /// id of an entry of an author that hasn't forked.
    pub fn cuts<'a>(
        &self,
        (membership, limits): (&Membership, &Limits),
        branches: &Branches,
        tips: impl Iterator<Item = (&'a ChainId, &'a Tip)>,
        named: impl Fn(&NodeId, u64) -> Result<Option<EntryId>>,
    ) -> Result<BTreeMap<ChainId, u64>> {
        let mut cuts = BTreeMap::new();
        for (chain, tip) in tips.filter(|(_, tip)| tip.seq > 0) {
            let author = branches.author(chain);
            let upto = match membership.limit(&self.store, &author) {
                Limit::All => continue,
                Limit::Nothing => 0,
                Limit::UpTo(_) if limits.contains_key(&author) => {
                    limits[&author].get(chain).copied().unwrap_or(0)
                }
                Limit::UpTo(cutoffs) => {
                    let mut upto = 0;
                    for cutoff in cutoffs.iter().filter(|cutoff| cutoff.seq > 0) {
                        let is_it = named(&author, cutoff.seq)? == Some(cutoff.id);
                        upto = upto.max(if is_it { cutoff.seq } else { cutoff.seq - 1 });
                    }
                    upto
                }
            };
            let upto = upto.max(branches.first(chain) - 1);
            if tip.seq > upto {
                cuts.insert(*chain, upto);
            }
        }
        Ok(cuts)
    }
}

/// The acts in a root store's log.
fn read_acts(log: &LogReader, founder: EntryRef) -> Result<Acts> {
    let mut acts = Acts::new(founder);
    for record in log.scan(None) {
        let (_, record) = record.map_err(StoreError::Log)?;
        let LogRecord::Entry { header, payload, signature } = record else { continue };
        if !Act::may_be_in(&payload) {
            continue;
        }
        if let Decoded::Known(entry) = Entry::decode(header, payload, signature)?
            && let (Some(act), _) = Act::of(&entry)
        {
            acts.insert(act);
        }
    }
    Ok(acts)
}

/// An entry that is in the log and doesn't count: its chain goes on, and the records don't know of it.
pub(super) fn leave_out(
    applier: &mut Applier<'_>,
    chains: &mut Chains,
    chain: ChainId,
    entry: &Entry,
    position: Position,
) {
    let before = entry.header.seq - 1;
    chains.tips.insert(chain, Tip::of(entry));
    // It can't become whole.
    chains.open_groups.remove(&chain);
    let cut = *chains.cuts.entry(chain).or_insert(Cut { upto: before, needed: before });
    applier.cut(chain, cut);
    applier.placed(chain, entry, position);
    applier.mark(Some(position));
}

/// After an entry that counts was projected: entries that don't count and that it builds on are needed by whoever is to
/// have it. And a group that its author can't end any more holds nothing up.
pub(super) fn after_projecting(
    applier: &mut Applier<'_>,
    chains: &mut Chains,
    chain: ChainId,
    entry: &Entry,
) -> Result<()> {
    if entry.header.group_more && applier.members().is_last(&chain, &entry.entry_ref()) {
        chains.open_groups.remove(&chain);
    }
    if chains.cuts.is_empty() {
        return Ok(());
    }
    let mut open = deps(applier, entry)?;
    while let Some((chain, seq)) = open.pop() {
        let Some(cut) = chains.cuts.get_mut(&chain).filter(|cut| seq > cut.needed) else { continue };
        let news = cut.needed + 1..=seq;
        cut.needed = seq;
        applier.cut(chain, *cut);
        for seq in news {
            if let Some((needed, _)) = applier.logged(&chain, seq)? {
                open.extend(deps(applier, &needed)?);
            }
        }
    }
    Ok(())
}

/// What an entry names, as chains, each up to a number.
fn deps(applier: &Applier<'_>, entry: &Entry) -> Result<Vec<(ChainId, u64)>> {
    let mut paths = Vec::with_capacity(entry.header.deps.len());
    for dep in &entry.header.deps {
        paths.extend(applier.path_to(dep)?);
    }
    Ok(paths)
}
