//! `lattice init`: the data directory, this node's identity and the root store.

use clap::Args;
use lattice_engine::node::Node;
use serde::Serialize;

use super::context::Context;
use super::error::Result;
use crate::http::model::{NameDoc, StoreDoc};
use crate::http::problem::blocking;
use crate::paths::make_private_dir;

/// Make this machine's identity and data directory.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Also make a first store of this name.
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
    /// What this node is called, to be told from others [default: the host's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct InitDoc {
    node: String,
    name: String,
    data_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreDoc>,
}

pub async fn run(ctx: &Context, args: InitArgs) -> Result<()> {
    let data = ctx.paths.data.clone();
    let name = args.name.unwrap_or_else(host_name);
    let called = name.clone();
    let node = blocking(move || {
        if let Some(parent) = data.parent() {
            make_private_dir_if_missing(parent)?;
        }
        Ok(Node::init_named(&data, Some(&called))?)
    })
    .await?;
    let store = match args.store {
        None => None,
        Some(name) => {
            let client = ctx.client().await?;
            Some(client.post("/stores").json(&NameDoc { name })?.send().await?.json::<StoreDoc>().await?)
        }
    };
    let doc = InitDoc { node: node.to_string(), name, data_dir: ctx.paths.data.display().to_string(), store };
    if ctx.out.json {
        return ctx.out.doc(&doc);
    }
    ctx.out.line(format!("node {} ({}) in {}", doc.name, doc.node, doc.data_dir))?;
    match &doc.store {
        Some(store) => ctx.out.line(format!("store {} ({})", store.name, store.id)),
        None => {
            ctx.out.note("Next: lattice store create NAME, then lattice mount DIR");
            Ok(())
        }
    }
}

/// As the kernel knows it, without a domain.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or_default();
    if short.is_empty() || short.chars().any(char::is_control) { "lattice".into() } else { short.into() }
}

/// What is there already keeps its mode: it may be somebody's home directory.
fn make_private_dir_if_missing(dir: &std::path::Path) -> crate::http::problem::Result<()> {
    use crate::http::problem::{Code, Problem};
    if dir.exists() {
        return Ok(());
    }
    make_private_dir(dir)
        .map_err(|e| Problem::new(Code::Internal, format!("{} can't be made: {e}", dir.display())))
}
