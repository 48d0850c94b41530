//! `lattice shell`: the same commands at a prompt, with history and completion. Lines that don't come from a terminal are a
//! script: it ends at the first one that fails, with that one's exit code, as `sh -e` does.

mod complete;
mod words;

use std::io::IsTerminal;

use clap::Args;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::runtime::Handle;

use super::context::Context;
use super::error::{Error, Result};
use crate::paths::make_private_dir;
use complete::Helper;

/// A prompt for the same commands. From a pipe or a file, it ends at the first line that fails, with its exit code.
#[derive(Debug, Args)]
pub struct ShellArgs {}

/// Runs a line's command; the words after `lattice`.
pub trait Runner {
    /// Prints its own errors, and gives the exit code that the command would have ended with.
    fn run(&self, ctx: &Context, words: Vec<String>) -> impl Future<Output = u8>;
    /// The program's commands, for completion.
    fn program(&self) -> clap::Command;
}

pub async fn run(ctx: &Context, runner: &impl Runner) -> Result<()> {
    tokio::task::block_in_place(|| match std::io::stdin().is_terminal() {
        true => prompt(ctx, runner, &Handle::current()),
        false => script(ctx, runner, &Handle::current()),
    })
}

/// A command that reads its standard input gets the lines behind it, as in a shell.
fn script(ctx: &Context, runner: &impl Runner, handle: &Handle) -> Result<()> {
    let (mut text, mut number) = (String::new(), 0);
    loop {
        text.clear();
        number += 1;
        let read = std::io::stdin().read_line(&mut text);
        let read =
            read.map_err(|source| Error::File { path: "standard input".into(), done: "read", source })?;
        if read == 0 {
            return Ok(());
        }
        let words = words::split(&text).map_err(|e| Error::Usage(format!("line {number}: {e}")))?;
        let code = match words.first().map(String::as_str) {
            None => continue,
            Some(word) if word.starts_with('#') => continue,
            Some("exit" | "quit") => return Ok(()),
            Some("shell") => {
                return Err(Error::Usage(format!("line {number}: a shell in the shell is of no use")));
            }
            Some(_) => handle.block_on(runner.run(ctx, words)),
        };
        handle.block_on(ctx.release())?;
        if code != 0 {
            return Err(Error::Stopped { line: number, code });
        }
    }
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
                    // It has said what went wrong.
                    let _code = handle.block_on(runner.run(ctx, words));
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
