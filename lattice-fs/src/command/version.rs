//! `lattice version`.

use clap::Args;

use super::context::Context;
use super::error::Result;

/// Print this program's version.
#[derive(Debug, Args)]
pub struct VersionArgs {}

pub async fn run(ctx: &Context, _: VersionArgs) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "name": "lattice", "version": version }));
    }
    ctx.out.line(format!("lattice {version}"))
}
