//! A change of the membership, while the store is open: what is projected and counts no more goes, what was left out and
//! counts comes. Where that makes a difference, the state is made anew from the log beside the one in use and takes its
//! place in one step; readers never see half of it, and writers wait. Mounts and event streams are told to look at everything
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::access::{Cutoff, Cutoffs, Members, Membership};
use crate::id::NodeId;
use crate::state::Overlay;
use crate::sync::Mark;

use super::branches::Branches;
use super::core::{Store, TellMembers};
use super::error::Result;
use super::govern::Limits;
use super::handle::Handle;
use super::open::{Hooks, flush, replay};
use super::view::View;
use super::writer::{Chains, Writer};

impl Handle {
    /// What entries are judged against.
    pub fn membership(&self) -> Arc<Membership> {
        self.store.view.members.current()
    }

    /// Judges by `membership` from now on, and makes the state agree with it. A root store does so by itself.
    pub fn set_membership(&self, membership: Arc<Membership>) -> Result<()> {
        self.store.judge_by(Some(membership), false)
    }

    /// Of a root store: who the members are, without what they are called.
    pub fn members(&self) -> Option<Members> {
        self.store.view.members.members()
    }

    /// Calls back after each change of the membership, on the thread that brought it; one at a time is told.
    pub fn on_members_changed(&self, tell: TellMembers) {
        self.store.members_changed.set(tell);
    }

    /// How much of an author's chain counts here, and of each branch if it has forked; `None`: nothing does, or there is
    /// nothing.
    pub fn accepted(&self, author: &NodeId) -> Result<Option<Cutoffs>> {
        let writer = self.store.writer.lock();
        let branches = self.store.view.branches.read().clone();
        let mut counts = BTreeMap::new();
        for chain in branches.chains(author) {
            let Some(tip) = writer.chains.tips.get(&chain) else { continue };
            let mark = match writer.chains.cuts.get(&chain).map(|cut| cut.upto) {
                None => Some(Mark { seq: tip.seq, id: tip.id }),
                Some(upto) => self.store.view.entry(&chain, upto)?.map(|(_, id)| Mark { seq: upto, id }),
            };
            counts.extend(mark.filter(|mark| mark.seq >= branches.first(&chain)).map(|mark| (chain, mark)));
        }
        let (ends, _) = branches.told(counts);
        Ok(Cutoffs::new(&ends.of(author).map(|end| Cutoff { seq: end.seq, id: end.id }).collect()))
    }

    /// Authors who have written here and whose entries, all or those after some, don't count.
    pub fn left_out(&self) -> Vec<NodeId> {
        // In this order everywhere: the writer's lock, then this one.
        let cuts = &self.store.writer.lock().chains.cuts;
        let branches = self.store.view.branches.read();
        let authors: BTreeSet<NodeId> = cuts.keys().map(|chain| branches.author(chain)).collect();
        authors.into_iter().collect()
    }

    /// Waits until the membership, or what members are called, has changed since `seen` (0 at first), or for `timeout`.
    /// Gives what to pass next time.
    pub fn wait_members_changed(&self, seen: u64, timeout: Duration) -> u64 {
        self.store.view.members.wait(seen, timeout)
    }
}

impl Store {
    /// Takes up what a root store's log says about members since the last time. Not under the writer's lock.
    pub(super) fn refold(&self) -> Result<()> {
        while self.view.members.is_stale() {
            self.judge_by(None, false)?;
        }
        Ok(())
    }

    /// Entries of a forked author who was revoked have come: they tell more of what its last entry that counts comes after.
    pub(super) fn look_again(&self) -> Result<()> {
        self.judge_by(None, true)
    }

    /// By what is given, or by what the store's own acts amount to; `again`: even if that hasn't changed.
    fn judge_by(&self, given: Option<Arc<Membership>>, again: bool) -> Result<()> {
        // In this order everywhere: the applier's lock, the writer's. Acts come under the latter: they are folded under it
        // as well, so that an older fold never replaces a newer one.
        let closed = self.applying.lock();
        let mut writer = self.writer.lock();
        let governed = &self.view.members;
        let membership = given.or_else(|| governed.refold(&self.view)).unwrap_or_else(|| governed.current());
        let limits = Arc::new(self.view.limits_by(&membership)?);
        if *membership == *governed.current() && (!again || *limits == *governed.limits()) {
            return Ok(());
        }
        let cuts = self.view.cuts_by((&membership, &limits), writer.chains.tips.iter())?;
        let have = writer.chains.cuts.iter().map(|(author, cut)| (*author, cut.upto));
        let anew = !cuts.into_iter().eq(have) && !*closed;
        if anew {
            tracing::info!(store = %self.id, "members changed: the state is made anew from the log");
            self.make_anew(&mut writer, (&membership, &limits)).inspect_err(|e| {
                self.freeze(format!(
                    "members changed, and its state could not be made anew ({e}). Reopen the store"
                ));
            })?;
        } else {
            governed.set(membership, limits);
        }
        drop(writer);
        drop(closed);
        if anew || governed.is_root() {
            self.tell_all_changed();
        }
        self.work.dirty(0);
        self.published.nudge();
        self.members_changed.tell(|| self.view.members.current());
        self.retry_strangers()
    }

    /// Replays the log as `membership` has it, and puts the result in place.
    fn make_anew(
        &self,
        writer: &mut Writer,
        (membership, limits): (&Arc<Membership>, &Arc<Limits>),
    ) -> Result<()> {
        flush(&self.view)?;
        let path = self.dir.join("state.anew");
        let state = Arc::new(self.view.state.beside(&self.disk, &path)?);
        let members = self.view.members.fixed(membership.clone(), limits.clone());
        let view = View::new(state, self.view.log.clone(), members, Branches::default());
        let mut chains = Chains::default();
        let hooks = Hooks { flush: &|| flush(&view) };
        let replayed = replay(&view, &mut chains, &self.identity.node_id(), None, &hooks)?;
        flush(&view)?;
        {
            // Readers look into the overlay first, and hold it while they read: they see both before or both after.
            let mut overlay = self.view.overlay.write();
            self.view.state.take_over(&view.state)?;
            *overlay = Overlay::default();
            // In this order: who is given a cursor by the new one finds it counted.
            self.made_anew.fetch_add(1, Ordering::AcqRel);
            self.left_out.store(chains.left_out(), Ordering::Release);
            self.view.members.set(membership.clone(), limits.clone());
        }
        writer.chains.open_groups = chains.open_groups;
        writer.chains.cuts = chains.cuts;
        *self.stalled.write() = replayed.stalled;
        drop(view);
        let _ = self.disk.remove(&path);
        Ok(())
    }

    /// Everything may have changed: caches forget what they know.
    fn tell_all_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.arrived.0.lock() += 1;
        self.arrived.1.notify_all();
        for queue in self.live.lock().iter() {
            queue.miss();
        }
    }
}
