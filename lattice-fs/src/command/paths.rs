//! `lattice paths`: where things are on this machine.

use clap::Args;

use super::context::Context;
use super::error::Result;

/// Print where things are on this machine.
#[derive(Debug, Args)]
pub struct PathsArgs {
    /// One of them only, bare.
    #[arg(value_parser = ["config", "config_file", "data", "state", "cache", "runtime", "socket", "log", "shell_history"])]
    which: Option<String>,
}

pub async fn run(ctx: &Context, args: PathsArgs) -> Result<()> {
    if let Some(which) = args.which {
        let found = ctx.paths.named().into_iter().find(|(name, _)| *name == which);
        return found.map_or(Ok(()), |(_, path)| ctx.out.line(path.display().to_string()));
    }
    if ctx.out.json {
        return ctx.out.doc(&*ctx.paths);
    }
    ctx.paths
        .named()
        .into_iter()
        .try_for_each(|(name, path)| ctx.out.line(format!("{name:<14}{}", path.display())))
}
