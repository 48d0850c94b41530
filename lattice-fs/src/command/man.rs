//! `lattice man`: manual pages.

use std::path::PathBuf;

use clap::{Args, Command};

use super::context::Context;
use super::error::{Error, Result};

/// Write the manual pages.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// A directory for all pages; the main page goes to stdout without.
    dir: Option<PathBuf>,
}

pub async fn run(ctx: &Context, args: ManArgs, program: Command) -> Result<()> {
    match args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            ctx.out.raw(&page)
        }
        Some(dir) => {
            let failed = |source| Error::File { path: dir.clone(), done: "written", source };
            std::fs::create_dir_all(&dir).map_err(failed)?;
            clap_mangen::generate_to(program, &dir).map_err(failed)?;
            ctx.out.note(format!("manual pages are in {}", dir.display()));
            Ok(())
        }
    }
}
