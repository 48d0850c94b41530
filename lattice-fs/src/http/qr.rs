//! QR codes of tickets: for a terminal as text, for the page as the path of a drawing. Neither is ever kept.

use std::fmt::Write;

use qrcode::{Color, QrCode};

use super::net_model::QrDoc;

/// Upper case, which a QR code packs closer; a ticket reads the same in either. `None` where it doesn't fit in one.
pub fn encode(ticket: &str) -> Option<QrCode> {
    QrCode::new(ticket.to_ascii_uppercase()).ok()
}

/// As a drawing.
pub fn of(ticket: &str) -> Option<QrDoc> {
    let code = encode(ticket)?;
    let size = code.width();
    let colors = code.into_colors();
    let mut path = String::new();
    for (y, row) in colors.chunks(size).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                // Writing to a string doesn't fail.
                let _ = write!(path, "M{x} {y}h{0}v1h-{0}z", run.len());
            }
            x += run.len();
        }
    }
    Some(QrDoc { size, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The squares that a path fills.
    fn fill(doc: &QrDoc) -> Vec<bool> {
        let mut dark = vec![false; doc.size * doc.size];
        for run in doc.path.split('z').filter(|r| !r.is_empty()) {
            let (at, len) = run.trim_start_matches('M').split_once('h').expect("a run");
            let (x, y) = at.split_once(' ').expect("a place");
            let (x, y): (usize, usize) = (x.parse().expect("x"), y.parse().expect("y"));
            let len: usize = len.split_once('v').expect("a height").0.parse().expect("a length");
            dark[y * doc.size + x..y * doc.size + x + len].fill(true);
        }
        dark
    }

    #[test]
    fn the_drawing_has_the_codes_dark_squares_and_no_others() {
        let doc = of("lattice1abcdef").expect("fits");
        let code = encode("lattice1abcdef").expect("fits");
        assert_eq!(doc.size, code.width());
        let dark: Vec<bool> = code.into_colors().into_iter().map(|c| c == Color::Dark).collect();
        assert_eq!(fill(&doc), dark);
    }

    #[test]
    fn what_is_too_long_has_no_code() {
        assert!(of(&"a".repeat(5000)).is_none());
    }
}
