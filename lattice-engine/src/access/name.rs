//! Names of members and tokens: text from others, which ends up on terminals.

/// Bytes of a member's name.
pub const MAX_NAME: usize = 255;

/// A name as it may be shown on a terminal: no control characters, no lines, no more than [`MAX_NAME`] bytes. `None`:
/// nothing is left.
pub fn clean_name(name: &str) -> Option<String> {
    let mut clean = String::new();
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    for c in name.trim().chars().filter(shown) {
        if clean.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        clean.push(c);
    }
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}
