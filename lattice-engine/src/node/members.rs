//! Members of the root store: who they are, adding, naming and revoking them, invites, and letting joiners in.
//!
//! All of it is data in the root store, written by commits that cite everything that is here: what an act has seen decides
//! what it counts for ([`crate::access`]). The root store judges itself; a change of its membership is handed to every other
//! open store before the call that brought it returns.
//!
//! It refuses to revoke while a declared store isn't open here: what a revocation doesn't list counts no more.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::access::{
    self, Admission, Cutoff, InviteId, InviteRecord, Member, Members, Membership, Proof, Secret, clean_name,
};
use crate::entry::EntryRef;
use crate::id::{NodeId, StoreId};
use crate::identity::random_bytes;
use crate::key::Key;
use crate::store::{Authority, Change, Handle, OpenOptions};

use super::declare::{key, put};
use super::error::{NodeError, Result};
use super::{Inner, Node, Opened};

/// Stores that one revocation lists: more don't fit an entry.
const MAX_LISTED: usize = 2000;
/// Uses of one invite.
const MAX_USES: u32 = 10_000;

impl Node {
    /// What entries and connections are judged against, as the root store has it now.
    pub fn membership(&self) -> Arc<Membership> {
        self.0.root.membership()
    }

    /// The members, revoked ones too, with their names.
    pub fn members(&self) -> Result<Members> {
        let mut members = self.0.root.members().unwrap_or_default();
        let ids: Vec<NodeId> = members.iter().map(|m| m.id).collect();
        for id in ids {
            if let Some((name, _)) = self.text(&key(&format!("nodes/{id}/name"))?)? {
                members.name(&id, &String::from_utf8_lossy(&name));
            }
        }
        Ok(members)
    }

    /// Waits until members were added, named or revoked since `seen` (0 at first), or for `timeout`. Gives what to pass
    /// next time.
    pub fn wait_members_changed(&self, seen: u64, timeout: Duration) -> u64 {
        self.0.root.wait_members_changed(seen, timeout)
    }

    /// Makes a node a member; one that is one only gets the name. `name` may be empty.
    pub fn add_member(&self, id: NodeId, name: &str) -> Result<()> {
        self.add(id, name, None)
    }

    fn add(&self, id: NodeId, name: &str, invite: Option<InviteId>) -> Result<()> {
        let membership = self.membership();
        if membership.has_revoked(&id) {
            return Err(NodeError::Refused(format!(
                "{} was revoked, which is for good: it can join with a new identity",
                id.short()
            )));
        }
        let mut changes = Vec::new();
        if !membership.contains(&id) {
            changes.push(put(key(&format!("nodes/{id}/added"))?, &access::act::added_value(invite))?);
        }
        if let Some(name) = clean_name(name) {
            changes.push(put(key(&format!("nodes/{id}/name"))?, &self.free_name(id, name)?)?);
        }
        self.act(changes)
    }

    /// Names a member.
    pub fn name_member(&self, id: NodeId, name: &str) -> Result<()> {
        self.known(&id)?;
        let name = clean_name(name).ok_or_else(|| {
            NodeError::Refused(format!("{name:?} can't be a name: nothing of it can be shown"))
        })?;
        let _one_by_one = self.0.naming.lock();
        if let Some(other) = self.named(&name)?.filter(|other| *other != id) {
            return Err(NodeError::NodeNameTaken { name, by: other });
        }
        self.act(vec![put(key(&format!("nodes/{id}/name"))?, &name)?])
    }

    /// The member of this name.
    fn named(&self, name: &str) -> Result<Option<NodeId>> {
        let members = self.members()?;
        Ok(members.iter().find(|m| m.is_active() && m.name.as_deref() == Some(name)).map(|m| m.id))
    }

    /// The name, or the first of "name-2", "name-3" that no other member has: two laptops that are both called after their
    /// maker must still be told apart.
    fn free_name(&self, id: NodeId, name: String) -> Result<String> {
        let members = self.members()?;
        let others = members.iter().filter(|m| m.is_active() && m.id != id);
        let taken: BTreeSet<&str> = others.filter_map(|m| m.name.as_deref()).collect();
        let mut free = name.clone();
        for n in 2.. {
            if !taken.contains(free.as_str()) {
                break;
            }
            free = format!("{name}-{n}");
        }
        Ok(free)
    }

    /// Ends a membership, for good. What the node has written and is here counts; what comes later doesn't, on any replica.
    pub fn revoke_member(&self, id: NodeId) -> Result<()> {
        self.known(&id)?;
        if id == self.id() {
            return Err(NodeError::Refused("a node can't revoke itself: another member can".into()));
        }
        let mut changes = Vec::new();
        for handle in self.every_store()? {
            // What a power loss could take from us must not be named.
            handle.sync()?;
            let nothing = || Cutoff { seq: 0, id: handle.genesis() }.into();
            let cutoffs = handle.accepted(&id)?.unwrap_or_else(nothing);
            let path = format!("nodes/{id}/revoked/{}", handle.id());
            changes.push(put(key(&path)?, &access::act::cutoff_value(&cutoffs))?);
        }
        if changes.len() > MAX_LISTED {
            return Err(NodeError::Refused(format!(
                "there are {} stores, and a revocation can list {MAX_LISTED}: delete some first",
                changes.len()
            )));
        }
        self.act(changes)
    }

    fn known(&self, id: &NodeId) -> Result<()> {
        let members = self.0.root.members().unwrap_or_default();
        let member = members.get(id).is_some_and(Member::is_active);
        let guest =
            || self.0.stores.read().keys().any(|store| members.guests(store).any(|guest| guest == id));
        if member || guest() {
            return Ok(());
        }
        let why = if members.get(id).is_some() { "was revoked already" } else { "is not a member" };
        Err(NodeError::Refused(format!("{} {why}: `lattice peer list` shows who is", id.short())))
    }

    /// The root store and all that it declares.
    fn every_store(&self) -> Result<Vec<Handle>> {
        let mut all = vec![self.0.root.clone()];
        for (id, opened) in self.0.stores.read().iter() {
            let Opened::Open(handle) = opened else {
                return Err(NodeError::Refused(format!(
                    "store {id} isn't open here, and what counts of the node's entries in it can't be told: mend the \
                     store, or revoke from another member"
                )));
            };
            all.push(handle.clone());
        }
        Ok(all)
    }

    /// Commits to the root store, after everything that is there.
    pub(super) fn act(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.0.root.commit([vec![Change::CiteAll], changes].concat())?;
        self.0.root.sync()?;
        Ok(())
    }

    /// The bytes of a small value of the root store, and the entry that has put it.
    fn text(&self, key: &Key) -> Result<Option<(bytes::Bytes, EntryRef)>> {
        let root = &self.0.root;
        let Some(record) = root.get(key)? else { return Ok(None) };
        let Some(head) = record.winner() else { return Ok(None) };
        match head.node.as_ref().and_then(|n| n.content()) {
            Some(content) => Ok(Some((root.read(content)?.read_all()?, head.entry))),
            None => Ok(None),
        }
    }
}

/// Invites.
impl Node {
    /// Makes an invite, good for `uses` joiners until `expires_ms` (Unix milliseconds). The secret is for its ticket, and
    /// nowhere else.
    pub fn invite(&self, expires_ms: u64, uses: u32) -> Result<Secret> {
        if !(1..=MAX_USES).contains(&uses) {
            return Err(NodeError::Refused(format!(
                "an invite can be used 1 to {MAX_USES} times, not {uses}"
            )));
        }
        let bits = random_bytes().map_err(|e| NodeError::Refused(e.to_string()))?;
        let secret = Secret::new(bits);
        let record = secret.record(self.id(), expires_ms, uses);
        self.act(vec![put(key(&record.id().path())?, &record.to_value())?])?;
        Ok(secret)
    }

    /// The invites in the root store whose makers are members, used up and expired ones too.
    pub fn invites(&self) -> Result<Vec<InviteRecord>> {
        let dir = key("invites")?;
        let mut found = Vec::new();
        for (name, _) in self.0.root.list(&dir, None, usize::MAX)? {
            let id = std::str::from_utf8(&name).ok().and_then(|n| n.parse().ok());
            if let Some(id) = id
                && let Some(record) = self.invite_record(&id)?
            {
                found.push(record);
            }
        }
        Ok(found)
    }

    fn invite_record(&self, id: &InviteId) -> Result<Option<InviteRecord>> {
        let Some((value, at)) = self.text(&key(&id.path())?)? else { return Ok(None) };
        let record = InviteRecord::from_value(&value, at.author);
        Ok(record.filter(|r| r.id() == *id && self.membership().contains(&r.by)))
    }

    /// Takes an invite back.
    pub fn withdraw_invite(&self, id: &InviteId) -> Result<()> {
        let key = key(&id.path())?;
        let (cites, expect) = (crate::store::Cites::All, crate::store::Expect::Exists);
        self.act(vec![Change::Delete { key, cites, expect }])
    }

    /// Lets a joiner in, whom the connection has proved to be that node: a member when this returns.
    pub fn admit(&self, joiner: NodeId, proof: &Proof, name: &str) -> Result<Admission> {
        // Two who come at once with a ticket for one are told apart here; on two nodes they can't be.
        let _one_by_one = self.0.naming.lock();
        let record = self.invite_record(&proof.invite())?;
        let members = self.0.root.members().unwrap_or_default();
        let parties = (&self.0.root.id(), &joiner, &self.id());
        let now = self.0.options.clock.now_ms();
        let admission = access::admit(record.as_ref(), &members, parties, proof, now)?;
        if let Admission::New(invite) = admission {
            self.add(joiner, name, Some(invite))?;
        }
        Ok(admission)
    }
}

/// What other parts of the node need.
impl Node {
    /// How the stores that the root store declares are opened.
    pub(super) fn store_options(&self) -> OpenOptions {
        OpenOptions { authority: Authority::Root(self.membership()), ..self.0.options.clone() }
    }

    /// Vouches for authors who are no members, in one store: this node's user has brought their entries.
    pub(super) fn vouch(&self, store: StoreId, authors: &BTreeSet<NodeId>) -> Result<()> {
        let changes = authors.iter().map(|id| put(key(&format!("stores/{store}/authors/{id}"))?, ""));
        self.act(changes.collect::<Result<_>>()?)
    }

    /// Hands every change of the root store's membership to the other stores.
    pub(super) fn spread_members(&self) {
        let node = Arc::downgrade(&self.0);
        self.0.root.on_members_changed(Box::new(move |membership| spread(&node, membership)));
    }

    /// A data directory of before there were members: whoever has written is vouched for, once. The mark is that the
    /// first member, whose directory it is, has added itself.
    pub(super) fn mark_first_member(&self) -> Result<()> {
        let own = self.id();
        let mark = key(&format!("nodes/{own}/added"))?;
        let members = self.0.root.members().unwrap_or_default();
        let founder = members.get(&own).is_some_and(|m| m.added_by == own);
        if self.0.read_only || !founder || self.0.root.get(&mark)?.is_some() {
            return Ok(());
        }
        let mut changes = vec![put(mark, "")?];
        for (id, opened) in self.0.stores.read().iter() {
            let Opened::Open(handle) = opened else { continue };
            for author in handle.left_out() {
                changes.push(put(key(&format!("stores/{id}/authors/{author}"))?, "")?);
            }
        }
        self.act(changes)
    }
}

/// The mark of [`Node::mark_first_member`], in a root store that has just been made.
pub(super) fn add_first(root: &Handle) -> Result<()> {
    let mark = put(key(&format!("nodes/{}/added", root.author()))?, "")?;
    root.commit(vec![mark])?;
    Ok(())
}

fn spread(node: &Weak<Inner>, membership: &Arc<Membership>) {
    let Some(node) = node.upgrade() else { return };
    let open: Vec<Handle> = node
        .stores
        .read()
        .values()
        .filter_map(|opened| if let Opened::Open(handle) = opened { Some(handle.clone()) } else { None })
        .collect();
    for handle in open {
        if let Err(e) = handle.set_membership(membership.clone()) {
            tracing::error!(store = %handle.id(), "could not take over a change of the members: {e}");
        }
    }
}
