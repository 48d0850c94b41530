//! Completion at the prompt: commands and options, stores, keys.

use rustyline::completion::{Completer, Pair};
use rustyline::{Helper as IsHelper, Highlighter, Hinter, Validator};
use tokio::runtime::Handle;

use crate::command::context::Context;
use crate::command::target::store_route;
use crate::http::model::{KeyList, StoreList};

/// Keys that are offered at most.
const OFFERED: &str = "100";
/// Characters that a key may hold and a line takes as they are.
const PLAIN: &str = "-_./:@%+=,";

#[derive(Debug, Highlighter, Hinter, Validator)]
pub struct Helper {
    ctx: Context,
    handle: Handle,
    program: clap::Command,
}

impl IsHelper for Helper {}

impl Helper {
    pub fn new(ctx: Context, handle: Handle, mut program: clap::Command) -> Self {
        program.build();
        Self { ctx, handle, program }
    }

    /// The subcommands and options that may stand after these words.
    fn commands(&self, before: &[&str]) -> Vec<String> {
        let mut at = &self.program;
        for word in before {
            match at.find_subcommand(word) {
                Some(next) => at = next,
                None => break,
            }
        }
        let shown = at.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned());
        let options = at.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long());
        shown.chain(options.map(|o| format!("--{o}"))).collect()
    }

    /// Stores, or the keys of the store that stands before the colon. Errors offer nothing: a prompt is no place for them.
    fn targets(&self, word: &str) -> Vec<String> {
        let found = self.handle.block_on(async {
            let client = self.ctx.client().await?;
            let names = match word.split_once(':') {
                None => {
                    let list: StoreList = client.get("/stores").send().await?.json().await?;
                    list.stores.into_iter().map(|s| format!("{}:", s.name)).collect()
                }
                Some((store, prefix)) => {
                    let request = client.get(store_route(store, "keys")).query("prefix", prefix);
                    let request = request.query("delimiter", "/").query("limit", OFFERED);
                    let list: KeyList = request.send().await?.json().await?;
                    let name = |k: crate::http::model::KeyDoc| {
                        let slash = if k.kind == "dir" { "/" } else { "" };
                        format!("{store}:{}{slash}", k.key.key)
                    };
                    list.keys.into_iter().filter(|k| k.key.key_base64.is_none()).map(name).collect()
                }
            };
            self.ctx.release().await?;
            Ok::<Vec<String>, crate::command::error::Error>(names)
        });
        found.unwrap_or_default()
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..pos];
        let start = line.rfind(char::is_whitespace).map_or(0, |i| i + 1);
        let word = &line[start..];
        let before: Vec<&str> = line[..start].split_whitespace().collect();
        let mut found = self.commands(&before);
        if !before.is_empty() && !word.starts_with('-') {
            found.extend(self.targets(word));
        }
        found.retain(|f| f.starts_with(word));
        let pair = |text: String| Pair { replacement: escape(&text), display: text };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

fn escape(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || PLAIN.contains(c);
    text.chars().flat_map(|c| [(!plain(c)).then_some('\\'), Some(c)]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_word_reads_back_as_itself() {
        for text in ["home:a b", "home:it's", "home:x\\y", "plain/é"] {
            assert_eq!(super::super::words::split(&escape(text)).expect("closed"), [text]);
        }
    }
}
