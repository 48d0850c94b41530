//! Stand-in until `access` lands its node part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::access::{self, Act, Acts, Admission, InviteRecord, Members, Membership, Proof, Secret, Ticket};
use crate::entry::{Attrs, Content, Node as KeyNode, Value};
use crate::id::{FileId, NodeId};
use crate::key::Key;
use crate::store::{Change, Cites, Expect};

use super::Node;
use super::error::{NodeError, Result};

impl Node {
    pub fn members(&self) -> Result<Arc<Members>> {
        let (founder, entries) = self.0.root.all_entries()?;
        let mut acts = Acts::new(founder);
        for entry in &entries {
            if let (Some(act), _) = Act::of(entry) {
                acts.insert(act);
            }
        }
        let mut members = acts.fold();
        let ids: Vec<NodeId> = members.iter().map(|m| m.id).collect();
        for id in ids {
            if let Some(name) = self.text(&format!("nodes/{id}/name"))? {
                members.name(&id, &name);
            }
        }
        Ok(Arc::new(members))
    }

    pub fn membership(&self) -> Arc<Membership> {
        let members = self.members().unwrap_or_default();
        Arc::new(Membership::of(self.0.root.id(), &members))
    }

    fn text(&self, path: &str) -> Result<Option<String>> {
        let key = Key::parse(path.as_bytes()).map_err(|e| NodeError::Refused(e.to_string()))?;
        let Some(record) = self.0.root.get(&key)? else { return Ok(None) };
        let Some(content) = record.winner().and_then(|h| h.node.as_ref()).and_then(|n| n.content()) else {
            return Ok(None);
        };
        Ok(Some(String::from_utf8_lossy(&self.0.root.read(content)?.read_all()?).into_owned()))
    }

    fn put_text(&self, path: &str, text: &str) -> Result<Change> {
        let key = Key::parse(path.as_bytes()).map_err(|e| NodeError::Refused(e.to_string()))?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| NodeError::Refused(e.to_string()))?;
        let node = KeyNode {
            file_id: FileId(id),
            value: Value::File(Content::Inline(Bytes::copy_from_slice(text.as_bytes()))),
            attrs: Attrs { mode: Some(0o600), ..Attrs::default() },
        };
        Ok(Change::Put { key, node, cites: Cites::All, expect: Expect::Anything })
    }

    pub fn admit(&self, joiner: &NodeId, proof: &Proof, name: &str) -> Result<()> {
        let invite = proof.invite();
        let members = self.members()?;
        let record =
            self.text(&invite.path())?.and_then(|t| InviteRecord::from_value(t.as_bytes(), self.id()));
        let root = self.0.root.id();
        let admitted =
            access::admit(record.as_ref(), &members, (&root, joiner, &self.id()), proof, self.now_ms())
                .map_err(|e| NodeError::Refused(e.to_string()))?;
        if let Admission::New(invite) = admitted {
            self.0.root.commit(vec![
                self.put_text(&format!("nodes/{joiner}/added"), &access::act::added_value(Some(invite)))?,
                self.put_text(&format!("nodes/{joiner}/name"), name)?,
            ])?;
            self.0.root.sync()?;
        }
        Ok(())
    }

    pub fn invite(&self, lasts: Duration, uses: u32, addresses: &[String]) -> Result<Ticket> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|e| NodeError::Refused(e.to_string()))?;
        let secret = Secret::new(bits);
        let expires_ms = self.now_ms() + lasts.as_millis() as u64;
        let record = secret.record(self.id(), expires_ms, uses);
        self.0.root.commit(vec![self.put_text(&secret.id().path(), &record.to_value())?])?;
        self.0.root.sync()?;
        Ok(Ticket {
            genesis: self.0.root.genesis(),
            secret,
            expires_ms,
            inviter: self.id(),
            addresses: addresses.iter().map(|a| Bytes::copy_from_slice(a.as_bytes())).collect(),
        })
    }

    pub fn name_member(&self, id: &NodeId, name: &str) -> Result<()> {
        self.0.root.commit(vec![self.put_text(&format!("nodes/{id}/name"), name)?])?;
        Ok(())
    }

    pub fn revoke(&self, id: &NodeId) -> Result<()> {
        let cutoff = access::act::cutoff_value(&access::Cutoff::NOTHING);
        let path = format!("nodes/{id}/revoked/{}", self.0.root.id());
        self.0.root.commit(vec![self.put_text(&path, &cutoff)?])?;
        Ok(())
    }
}
