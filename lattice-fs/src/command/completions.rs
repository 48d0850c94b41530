//! `lattice completions`: a completion script for a shell.

use clap::{Args, Command};
use clap_complete::Shell;

use super::context::Context;
use super::error::Result;

/// Print a completion script for a shell.
///
/// bash: lattice completions bash > ~/.local/share/bash-completion/completions/lattice
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    shell: Shell,
}

pub async fn run(ctx: &Context, args: CompletionsArgs, mut program: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "lattice", &mut script);
    ctx.out.raw(&script)
}
