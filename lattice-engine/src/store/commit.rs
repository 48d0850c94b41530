//! Committing: plan, build, append, apply. Whoever holds the writer's lock commits for all that wait behind it, and what
//! waits together becomes one entry where the commits don't touch each other's keys.
//!
//! On return a commit is in the log's file: it survives a kill of the process, and a power loss after `sync`.

use std::sync::Arc;

use crate::entry::{Entry, Op};
use crate::merge::EntryRef;

use super::apply::{Applier, Known};
use super::change::Change;
use super::core::{Store, Ticket};
use super::error::{Result, StoreError};
use super::plan::Plan;
use super::writer::{Part, Writer};

/// At most this many commits share an entry.
const MAX_ROUND: usize = 256;

impl Store {
    pub(super) fn commit(&self, changes: Vec<Change>, origin: u64) -> Result<EntryRef> {
        let ticket = Ticket::of(changes, origin);
        self.commit_tickets(std::slice::from_ref(&ticket));
        self.refold()?;
        ticket.answer()
    }

    /// Commits that one caller has at once.
    pub(super) fn commit_each(&self, commits: Vec<Vec<Change>>, origin: u64) -> Vec<Result<EntryRef>> {
        let tickets: Vec<_> = commits.into_iter().map(|changes| Ticket::of(changes, origin)).collect();
        self.commit_tickets(&tickets);
        let refolded = self.refold().map_err(Arc::new);
        let answer = |ticket: &Arc<Ticket>| match &refolded {
            Ok(()) => ticket.answer(),
            Err(e) => Err(StoreError::Shared(e.clone())),
        };
        tickets.iter().map(answer).collect()
    }

    fn commit_tickets(&self, tickets: &[Arc<Ticket>]) {
        self.wait_held();
        self.queue.lock().extend_from_slice(tickets);
        {
            let mut writer = self.writer.lock();
            // Who had the lock before has taken the whole queue, so it has answered all of them or none.
            if tickets.iter().any(|ticket| ticket.done.get().is_none()) {
                let waiting = std::mem::take(&mut *self.queue.lock());
                self.commit_all(&mut writer, waiting);
            }
        }
        self.back_pressure();
    }

    fn commit_all(&self, writer: &mut Writer, waiting: Vec<Arc<Ticket>>) {
        let mut waiting = waiting.into_iter().peekable();
        while let Some(first) = waiting.next() {
            let Some(plan) = self.plan(&first) else { continue };
            let mut round = vec![first];
            let mut touched = plan;
            let mut parts = split(std::mem::take(&mut touched.ops), &touched.breaks);
            while parts.len() == 1 && round.len() < MAX_ROUND {
                let Some(next) = waiting.peek() else { break };
                if next.origin != round[0].origin {
                    break;
                }
                // Planned before the round commits: sound because plans that share a round touch different keys.
                let Ok(plan) = Plan::of(&self.view, next.changes.lock().clone()) else { break };
                if !touched.disjoint(&plan) || !plan.ops.iter().all(|(op, _)| parts[0].fits(op)) {
                    break;
                }
                for (op, parents) in plan.ops {
                    parts[0].push(op, parents);
                }
                touched.keys.extend(plan.keys);
                touched.dirs.extend(plan.dirs);
                touched.known.extend(plan.known);
                touched.cite_all |= plan.cite_all;
                if let Some(ticket) = waiting.next() {
                    round.push(ticket);
                }
            }
            if touched.cite_all
                && let Some(first) = parts.first_mut()
            {
                writer.cite_tips(&self.view.branches.read(), first);
            }
            let origin = round[0].origin;
            let result = self.commit_parts(writer, parts, touched.known, origin).map_err(Arc::new);
            for ticket in round {
                // Set once: each ticket is in one round.
                let _ = ticket.done.set(result.clone());
            }
        }
    }

    /// `None`: the ticket is answered, with an error.
    fn plan(&self, ticket: &Ticket) -> Option<Plan> {
        let changes = std::mem::take(&mut *ticket.changes.lock());
        match self.writable().and_then(|()| Plan::of(&self.view, changes)) {
            Ok(plan) => Some(plan),
            Err(e) => {
                let _ = ticket.done.set(Err(Arc::new(e)));
                None
            }
        }
    }

    /// Builds, appends and applies: one entry, or several as one group.
    pub(super) fn commit_parts(
        &self,
        writer: &mut Writer,
        parts: Vec<Part>,
        known: Known,
        origin: u64,
    ) -> Result<EntryRef> {
        if parts.iter().all(|p| p.ops.is_empty()) {
            let tip = *writer.tip();
            return Ok(EntryRef { hlc: tip.hlc, author: writer.author, id: tip.id, seq: tip.seq });
        }
        let entries = writer.build(parts, self.clock.now_ms())?;
        // INVARIANT: a node whose own chain has forked doesn't come here, see `writable`: the chain is called as its author.
        let own = entries.iter().map(|entry| (entry.header.author, entry));
        let positions = writer.append(own).inspect_err(|e| self.freeze_on(e))?;
        let mut applier = Applier::knowing(&self.view, known);
        for (entry, position) in entries.iter().zip(&positions) {
            self.view.members.note(entry);
            applier.entry(entry, *position).inspect_err(|e| self.freeze_unapplied(e))?;
            applier.placed(entry.header.author, entry, *position);
        }
        applier.mark(positions.last().copied());
        // One that a crash had torn off is given up.
        writer.chains.open_groups.remove(&writer.author);
        let bytes = applier.finish();
        self.announce(entries.iter().zip(&positions), origin, bytes);
        // `build` makes an entry of every part, and there was one.
        entries.last().map(Entry::entry_ref).ok_or_else(|| StoreError::Refused("nothing to commit".into()))
    }
}

/// Operations cut into what fits an entry each, and where another one must begin.
fn split(ops: Vec<(Op, Vec<EntryRef>)>, breaks: &[usize]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(1);
    let mut part = Part::default();
    for (i, (op, parents)) in ops.into_iter().enumerate() {
        if !part.fits(&op) || breaks.contains(&i) {
            parts.push(std::mem::take(&mut part));
        }
        part.push(op, parents);
    }
    parts.push(part);
    parts
}
