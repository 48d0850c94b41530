//! What a command prints: data on stdout, as text or as JSON; everything else on stderr. Colours and progress only on a
//! terminal. A reader that goes away (`lattice log | head`) ends the command quietly.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::error::{Error, Result};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
    colour: bool,
}

/// A document as a line of JSON Lines.
#[derive(Debug, Serialize)]
pub struct Line<'a, T> {
    pub r#type: &'static str,
    #[serde(flatten)]
    pub doc: &'a T,
}

/// The few ways in which text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { json, colour: wanted && !json && io::stdout().is_terminal() }
    }

    /// Whether a person reads stdout.
    pub fn to_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// One JSON document, or one line of JSON Lines.
    pub fn doc(&self, doc: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_string(doc).map_err(|e| Error::Failed(format!("a result can't be JSON: {e}")))?;
        text.push('\n');
        self.raw(text.as_bytes())
    }

    /// A line of text.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
        Ok(())
    }

    /// Bytes as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// A remark, on stderr, unless a program reads us.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.json {
            // Nobody is left to be told that stderr is closed.
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }

    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colour {
            return text.into();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub fn table(&self, table: &Table) -> Result<()> {
        table.lines().iter().enumerate().try_for_each(|(i, line)| match i {
            0 => self.line(self.paint(Paint::Bold, line)),
            _ => self.line(line),
        })
    }
}

/// Columns, aligned.
#[derive(Debug, Clone)]
pub struct Table {
    /// Whether a column stands to the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Column heads; one that begins with `>` stands to the right, with what is below it.
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        let right = head.map(|h| h.starts_with('>')).into();
        Self { right, rows: vec![head.map(|h| h.trim_start_matches('>').to_owned()).into()] }
    }

    pub fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// No blanks at a line's end.
    fn lines(&self) -> Vec<String> {
        let width = |c: usize| {
            self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0)
        };
        let shape: Vec<_> = self.right.iter().enumerate().map(|(c, right)| (width(c), *right)).collect();
        let cell = |(text, (width, right)): (&String, &(usize, bool))| {
            let pad = " ".repeat(width - text.chars().count());
            if *right { format!("{pad}{text}") } else { format!("{text}{pad}") }
        };
        let line = |row: &Vec<String>| row.iter().zip(&shape).map(cell).collect::<Vec<_>>().join("  ");
        self.rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
    }
}

/// A size for people.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// How many there are of what is named in the plural: `1 store`, `2 stores`, `1 entry`.
pub fn count(n: u64, plural: &str) -> String {
    let one = || match plural.strip_suffix("ies") {
        Some(stem) => format!("1 {stem}y"),
        None => format!("1 {}", plural.strip_suffix('s').unwrap_or(plural)),
    };
    if n == 1 { one() } else { format!("{n} {plural}") }
}

/// The first digits of an id: for people.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A name from elsewhere, safe on a terminal: control characters escaped.
pub fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["NAME", ">SIZE", "ID"]);
        table.row(["a".into(), "5 B".into(), "12ab".into()]);
        table.row(["longer".into(), "12.0 KiB".into(), "7".into()]);
        assert_eq!(table.lines(), ["NAME        SIZE  ID", "a            5 B  12ab", "longer  12.0 KiB  7"]);
    }

    #[test]
    fn sizes_for_people() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn one_of_something_is_not_many() {
        let said =
            [(0, "stores"), (1, "stores"), (1, "entries"), (7, "entries")].map(|(n, what)| count(n, what));
        assert_eq!(said, ["0 stores", "1 store", "1 entry", "7 entries"]);
    }

    #[test]
    fn a_name_can_t_write_to_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
