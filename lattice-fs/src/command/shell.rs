//! `lattice shell`: the same commands at a prompt, with history and completion.

mod complete;
mod words;

use clap::Args;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::runtime::Handle;

use super::context::Context;
use super::error::{Error, Result};
use crate::paths::make_private_dir;
use complete::Helper;

/// A prompt for the same commands.
#[derive(Debug, Args)]
pub struct ShellArgs {}

/// Runs a line's command; the words after `lattice`.
pub trait Runner {
    /// Prints its own errors.
    fn run(&self, ctx: &Context, words: Vec<String>) -> impl Future<Output = ()>;
    /// The program's commands, for completion.
    fn program(&self) -> clap::Command;
}

pub async fn run(ctx: &Context, runner: &impl Runner) -> Result<()> {
    tokio::task::block_in_place(|| prompt(ctx, runner, &Handle::current()))
}

fn prompt(ctx: &Context, runner: &impl Runner, handle: &Handle) -> Result<()> {
    let config = Config::builder().history_ignore_space(true).completion_type(CompletionType::List).build();
    let mut editor: Editor<Helper, FileHistory> = Editor::with_config(config).map_err(broken)?;
    editor.set_helper(Some(Helper::new(ctx.clone(), handle.clone(), runner.program())));
    let history = &ctx.paths.shell_history;
    if history.exists() {
        editor.load_history(history).map_err(broken)?;
    }
    loop {
        let line = match editor.readline("lattice> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(broken(e)),
        };
        match words::split(&line) {
            Err(e) => ctx.out.note(format!("error: {e}")),
            Ok(words) => match words.first().map(String::as_str) {
                None => continue,
                Some("exit" | "quit") => break,
                Some("shell") => ctx.out.note("this is the shell"),
                Some(_) => {
                    editor.add_history_entry(line.as_str()).map_err(broken)?;
                    handle.block_on(runner.run(ctx, words));
                    // Between two lines the data directory is free for others.
                    handle.block_on(ctx.release())?;
                }
            },
        }
    }
    if make_private_dir(&ctx.paths.state)
        .and_then(|()| editor.save_history(history).map_err(std::io::Error::other))
        .is_err()
    {
        ctx.out.note(format!("the history can't be kept in {}", history.display()));
    }
    Ok(())
}

fn broken(e: ReadlineError) -> Error {
    Error::Failed(format!("the prompt broke: {e}"))
}
