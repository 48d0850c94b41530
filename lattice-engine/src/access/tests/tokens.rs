//! Records of tokens, and what a grant covers.

use proptest::prelude::*;

use super::*;
use crate::key::Key;

const GOLDEN: &str = include_str!("../../../tests/golden/tokens.txt");

fn secret() -> TokenSecret {
    TokenSecret::new([0x42; 32])
}

fn key(path: &str) -> Key {
    if path.is_empty() { Key::ROOT } else { Key::parse(path.as_bytes()).expect(path) }
}

fn grant() -> Grant {
    Grant {
        name: "backup".into(),
        scope: Scope::Write,
        store: Some(other_store()),
        prefix: key("notes/work"),
        expires_ms: Some(1_790_000_000_000),
    }
}

fn record() -> TokenRecord {
    TokenRecord::new(&secret(), node(1), grant())
}

#[test]
fn a_record_reads_back_and_knows_its_secret() {
    let all = Grant { name: String::new(), store: None, prefix: Key::ROOT, expires_ms: None, ..grant() };
    for record in [record(), TokenRecord::new(&secret(), node(1), all)] {
        let read = TokenRecord::from_value(record.to_value().as_bytes(), node(1)).expect("its own value");
        assert_eq!(read, record);
        assert!(read.is_of(&secret()) && read.id() == secret().id());
        assert!(!read.is_of(&TokenSecret::new([0x43; 32])));
    }
}

#[test]
fn a_secret_reads_back_and_is_not_printed() {
    let text = secret().to_text();
    assert_eq!(text.len(), 43);
    assert_eq!(TokenSecret::from_text(&text).expect("its own text").id(), secret().id());
    for bad in ["", "abc", &text[1..], &format!("{}=", *text), &format!("{}A", *text)] {
        assert!(TokenSecret::from_text(bad).is_none(), "{bad}");
    }
    let shown = format!("{:?} {:?} {}", secret(), record(), record().to_value());
    assert!(!shown.contains(&*text) && !shown.contains("66, 66") && !shown.contains("424242"), "{shown}");
}

#[test]
fn a_value_in_any_other_form_is_no_record() {
    let value = record().to_value();
    for (from, to) in [
        ("token 1", "token 2"),
        ("scope rw", "scope root"),
        ("scope rw", "scope RW"),
        ("expires 1", "expires +1"),
        ("expires 1790000000000", "expires soon"),
        ("prefix bm90", "prefix Li4v"),
        ("store 07", "store 7"),
        ("name backup\n", "name backup\nname more\n"),
        ("name backup\n", "name backup"),
    ] {
        assert!(value.contains(from), "{from}");
        assert_eq!(
            TokenRecord::from_value(value.replace(from, to).as_bytes(), node(1)),
            None,
            "{from} -> {to}"
        );
    }
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let grant = grant();
    for (path, seen) in [
        ("notes/work", true),
        ("notes/work/a", true),
        ("notes/work/a/b", true),
        ("notes/works", false),
        ("notes/wor", false),
        ("notes", false),
        ("", false),
        ("other", false),
    ] {
        assert_eq!(grant.sees(&key(path)), seen, "{path}");
    }
    assert!(Grant { prefix: Key::ROOT, ..grant }.sees(&Key::ROOT));
}

#[test]
fn a_grant_is_within_one_that_allows_all_of_it() {
    let limit = grant();
    assert!(limit.within(&limit));
    let all = Grant { scope: Scope::Admin, store: None, prefix: Key::ROOT, expires_ms: None, ..grant() };
    assert!(limit.within(&all) && !all.within(&limit));
    for wider in [
        Grant { scope: Scope::Admin, ..grant() },
        Grant { store: None, ..grant() },
        Grant { store: Some(root()), ..grant() },
        Grant { prefix: key("notes"), ..grant() },
        Grant { prefix: key("notes/works"), ..grant() },
        Grant { expires_ms: None, ..grant() },
        Grant { expires_ms: Some(1_790_000_000_001), ..grant() },
    ] {
        assert!(!wider.within(&limit), "{wider:?}");
    }
    for narrower in [
        Grant { scope: Scope::Read, ..grant() },
        Grant { prefix: key("notes/work/a"), ..grant() },
        Grant { expires_ms: Some(1), ..grant() },
    ] {
        assert!(narrower.within(&limit), "{narrower:?}");
    }
}

#[test]
fn a_token_s_bytes_are_those_of_the_first_version() {
    let lines = [
        format!("secret {}", *secret().to_text()),
        format!("token {}", secret().id()),
        format!("record {}", record().to_value().trim_end().replace('\n', ", ")),
    ];
    assert_eq!(lines.join("\n") + "\n", GOLDEN, "a difference is a new version of the format");
}

proptest! {
    #[test]
    fn no_value_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC*") {
        let _ = TokenRecord::from_value(&bytes, node(0));
        let _ = TokenRecord::from_value(format!("lattice token 1\nsha256 {text}\n").as_bytes(), node(0));
        let _ = TokenSecret::from_text(&text);
    }
}
