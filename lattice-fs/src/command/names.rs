//! What members are called, for lists that would otherwise show ids.

use std::collections::BTreeMap;

use super::context::Context;
use super::error::Result;
use super::output::{safe, short};
use crate::client::Client;
use crate::http::net_model::{PeerDoc, PeerList};

/// Names by id.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub async fn load(client: &Client) -> Result<Self> {
        let list: PeerList = client.get("/peers").send().await?.json().await?;
        Ok(Self::of_peers(&list.peers))
    }

    /// Where documents are printed the ids do.
    pub async fn for_text(ctx: &Context, client: &Client) -> Result<Self> {
        if ctx.out.json { Ok(Self::default()) } else { Self::load(client).await }
    }

    /// A name that two have, one of them revoked, gets the id beside it.
    fn of_peers(peers: &[PeerDoc]) -> Self {
        let name = |p: &PeerDoc| match peers.iter().filter(|other| other.name == p.name).count() {
            1 => safe(&p.name),
            _ => format!("{}@{}", safe(&p.name), short(&p.id)),
        };
        let named = peers.iter().filter(|p| !p.name.is_empty());
        Self(named.map(|p| (p.id.clone(), name(p))).collect())
    }

    /// What to show for a node: its name, or the first digits of its id.
    pub fn show(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| short(id).into())
    }
}
