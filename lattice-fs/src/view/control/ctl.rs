//! `ctl`: commands, one a line. All lines of a write are read before the first is done, so a write with a word that
//! isn't a command changes nothing. A command that fails ends the write; those before it are done.
//!
//! Empty lines and lines that start with `#` are skipped. Keys are written as everywhere in Lattice's text: `\\`, `\n`,
//! `\t`, `\r`, `\xNN` and `\u{N}` stand for what can't be typed; spaces stand for themselves.

use std::time::Duration;

use lattice_engine::key::Key;
use lattice_engine::store::KeepHistory;

use super::{Control, ControlError, Result};
use crate::view::resolve;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const VERBS: &str = "resolve KEY ID, discard KEY ID, sync, gc [all|none|<days>d]";

#[derive(Debug, Clone, PartialEq)]
enum Command {
    Resolve { key: Key, id: String },
    Discard { key: Key, id: String },
    Sync,
    Gc(Keep),
}

/// How much history `gc` leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Keep {
    All,
    None,
    For(Duration),
}

impl Control {
    /// Does what the lines say, in order. Takes all bytes or fails. `settled` gets the keys whose conflicts were settled
    /// or shrank, also by the commands before one that fails.
    ///
    /// # Errors
    /// `BadCommand` with the line's number, before anything is done; what a command itself fails with.
    pub fn write_ctl(&self, bytes: &[u8], settled: &mut Vec<Key>) -> Result<()> {
        for command in parse(bytes)? {
            self.run(command, settled)?;
        }
        Ok(())
    }

    fn run(&self, command: Command, settled: &mut Vec<Key>) -> Result<()> {
        match command {
            Command::Resolve { key, id } => {
                resolve::resolve(&self.handle, &key, &id)?;
                settled.push(key);
            }
            Command::Discard { key, id } => {
                resolve::discard(&self.handle, &key, &id)?;
                settled.push(key);
            }
            Command::Sync => self.handle.sync()?,
            Command::Gc(keep) => {
                let keep = match keep {
                    Keep::All => KeepHistory::All,
                    Keep::None => KeepHistory::Heads,
                    Keep::For(time) => KeepHistory::For(time),
                };
                self.handle.gc(keep)?;
            }
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Command>> {
    let lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(i, line)| command(line).map_err(|why| ControlError::BadCommand { line: i + 1, why }))
        .collect()
}

fn command(line: &[u8]) -> std::result::Result<Command, String> {
    let (verb, rest) = match line.iter().position(u8::is_ascii_whitespace) {
        Some(end) => (&line[..end], line[end..].trim_ascii_start()),
        None => (line, &b""[..]),
    };
    match (verb, rest) {
        (b"resolve", rest) => key_and_id(rest).map(|(key, id)| Command::Resolve { key, id }),
        (b"discard", rest) => key_and_id(rest).map(|(key, id)| Command::Discard { key, id }),
        (b"sync", b"") => Ok(Command::Sync),
        (b"gc", rest) => keep(rest).map(Command::Gc),
        _ => Err(format!("{:?} is not a command: there are {VERBS}", String::from_utf8_lossy(line))),
    }
}

/// The id is the last word; the key is all before it, with its spaces.
fn key_and_id(rest: &[u8]) -> std::result::Result<(Key, String), String> {
    let Some(space) = rest.iter().rposition(u8::is_ascii_whitespace) else {
        return Err("a key and the id of one of its versions are needed".into());
    };
    let key = parse_key(rest[..space].trim_ascii_end())?;
    let id = String::from_utf8_lossy(&rest[space + 1..]).into_owned();
    Ok((key, id))
}

fn keep(text: &[u8]) -> std::result::Result<Keep, String> {
    let days = |text: &[u8]| std::str::from_utf8(text.strip_suffix(b"d")?).ok()?.parse::<u32>().ok();
    match text {
        b"" | b"all" => Ok(Keep::All),
        b"none" => Ok(Keep::None),
        text => days(text)
            .map(|n| Keep::For(DAY * n))
            .ok_or_else(|| "gc takes all, none or a number of days such as 30d".into()),
    }
}

/// Reads a key as its `Display` writes it. Bytes that aren't part of an escape stand for themselves.
///
/// # Errors
/// An escape that isn't one, or what isn't a key.
pub fn parse_key(text: &[u8]) -> std::result::Result<Key, String> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'\\' {
            path.push(*byte);
            continue;
        }
        rest = unescape(tail, &mut path)
            .ok_or_else(|| format!("{:?} holds an escape that isn't one", String::from_utf8_lossy(text)))?;
    }
    Key::parse(&path).map_err(|e| e.to_string())
}

/// Reads one escape behind its backslash; what follows it.
fn unescape<'a>(text: &'a [u8], path: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, tail) = text.split_first()?;
    let number = |hex: &[u8]| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok();
    match kind {
        b'\\' => path.push(b'\\'),
        b'n' => path.push(b'\n'),
        b't' => path.push(b'\t'),
        b'r' => path.push(b'\r'),
        b'x' => {
            path.push(number(tail.get(..2)?)? as u8);
            return tail.get(2..);
        }
        b'u' => {
            let inner = tail.strip_prefix(b"{")?;
            let end = inner.iter().position(|b| *b == b'}')?;
            let c = char::from_u32(number(&inner[..end])?)?;
            path.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return inner.get(end + 1..);
        }
        _ => return None,
    }
    Some(tail)
}

/// Takes any bytes for what is written to `ctl`, and for a key in its text.
pub(crate) fn decode_any(bytes: &[u8]) {
    if let Ok(commands) = parse(bytes) {
        assert!(commands.len() <= bytes.split(|b| *b == b'\n').count(), "more commands than lines");
    }
    if let Ok(key) = parse_key(bytes) {
        assert_eq!(parse_key(key.to_string().as_bytes()), Ok(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(s: &str) -> Key {
        Key::parse(s.as_bytes()).expect(s)
    }

    #[test]
    fn lines_are_commands() {
        let text =
            b"# first\n\nresolve my notes.md abcd1234\n  sync\ngc\ngc none\ngc 30d\ndiscard a\\nb ff00\n";
        let commands = parse(text).expect("commands");
        let (id, other) = ("abcd1234".to_string(), "ff00".to_string());
        assert_eq!(
            commands,
            [
                Command::Resolve { key: key("my notes.md"), id },
                Command::Sync,
                Command::Gc(Keep::All),
                Command::Gc(Keep::None),
                Command::Gc(Keep::For(DAY * 30)),
                Command::Discard { key: key("a\nb"), id: other },
            ]
        );
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_line() {
        for (line, why) in [
            ("frobnicate", "is not a command"),
            ("sync now", "is not a command"),
            ("resolve", "are needed"),
            ("resolve a", "are needed"),
            ("resolve ../a 1234", "can't hold"),
            ("resolve a\\q 1234", "escape"),
            ("resolve a\\x4 1234", "escape"),
            ("resolve a\\u{110000} 1234", "escape"),
            ("gc yesterday", "gc takes"),
        ] {
            let error = parse(format!("sync\n{line}\n").as_bytes()).expect_err(line).to_string();
            assert!(error.starts_with("line 2: ") && error.contains(why), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_it_was_written(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            if let Ok(key) = Key::from_wire(bytes.into()) {
                prop_assert_eq!(parse_key(key.to_string().as_bytes()), Ok(key));
            }
        }
    }
}
