//! A line into words, as a shell reads them: blanks part, quotes and backslashes keep together. Nothing is expanded.

/// A quote that isn't closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {0} is not closed")]
pub struct Unclosed(char);

/// The words of a line; a leading `lattice` is dropped, for lines that are pasted.
pub fn split(line: &str) -> Result<Vec<String>, Unclosed> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(Unclosed('\\'))?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.first().is_some_and(|w| w == "lattice") {
        words.remove(0);
    }
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unclosed> {
    loop {
        match chars.next().ok_or(Unclosed(quote))? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(Unclosed(quote))? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_a_shell_reads_them() {
        let of = |line| split(line).expect("closed");
        assert_eq!(of("put home:a 'x y'"), ["put", "home:a", "x y"]);
        assert_eq!(of(r#"lattice  put "a \"b\" \n" c\ d ''"#), ["put", r#"a "b" \n"#, "c d", ""]);
        assert!(of("  ").is_empty());
        assert_eq!(split("a 'b"), Err(Unclosed('\'')));
        assert_eq!(split("a \\"), Err(Unclosed('\\')));
    }
}
