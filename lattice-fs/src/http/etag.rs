//! Entity tags: the head's id, or with more heads than one a hash over all of them, so that a tag names exactly what a
//! reader saw. Preconditions are judged against this node's heads, and again by the engine when it commits.

use axum::http::{HeaderMap, header};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::merge::Record;
use lattice_engine::store::{Cites, Expect};

use super::problem::{Code, Problem, Result};

/// The quoted tag of these heads; `None` where there are none.
pub fn etag(record: &Record) -> Option<String> {
    match &heads(record)[..] {
        [] => None,
        [one] => Some(format!("\"{one}\"")),
        more => {
            let mut hasher = blake3::Hasher::new_derive_key("lattice 2026 v1 etag");
            more.iter().for_each(|id| {
                hasher.update(id.as_bytes());
            });
            Some(format!("\"{}\"", hasher.finalize().to_hex()))
        }
    }
}

/// The ids of all heads, sorted.
pub fn heads(record: &Record) -> Vec<EntryId> {
    let mut ids: Vec<_> = record.heads.iter().map(|h| h.entry.id).collect();
    ids.sort_unstable();
    ids
}

/// What a write asks of the key before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    Exists,
    /// `If-Match: "…"`, any of these.
    Match(Vec<String>),
}

impl Condition {
    pub fn of_headers(headers: &HeaderMap) -> Result<Self> {
        let text = |name: header::HeaderName| match headers.get(&name) {
            None => Ok(None),
            Some(v) => v.to_str().map(Some).map_err(|_| bad(name.as_str())),
        };
        match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (Some("*"), None) => Ok(Self::Exists),
            (Some(tags), None) => Ok(Self::Match(parse_tags(tags))),
            (None, Some(_)) => Err(Problem::new(Code::BadRequest, "a write takes If-None-Match: * only")),
            (Some(_), Some(_)) => {
                Err(Problem::new(Code::BadRequest, "give If-Match or If-None-Match, not both"))
            }
        }
    }

    /// One tag, as `--if-match` and a batch give it.
    pub fn of_tag(tag: Option<&str>, absent: bool) -> Self {
        match (tag, absent) {
            (Some("*"), _) => Self::Exists,
            (Some(tag), _) => Self::Match(parse_tags(tag)),
            (None, true) => Self::Absent,
            (None, false) => Self::None,
        }
    }

    /// What the engine is to check at commit, and which heads the write supersedes.
    ///
    /// # Errors
    /// `Precondition` where it doesn't hold already.
    pub fn judge(&self, key: &Key, record: Option<&Record>) -> Result<(Cites, Expect)> {
        let exists = record.is_some_and(Record::exists);
        match self {
            Self::None => Ok((Cites::All, Expect::Anything)),
            Self::Absent if exists => Err(failed(format!("{key} exists already"))),
            Self::Absent => Ok((Cites::All, Expect::Absent)),
            Self::Exists if !exists => Err(failed(format!("{key} doesn't exist"))),
            Self::Exists => Ok((Cites::All, Expect::Exists)),
            Self::Match(tags) => match record.and_then(|r| Some((r, etag(r)?))) {
                Some((record, tag)) if tags.contains(&tag) => {
                    let ids = heads(record);
                    Ok((Cites::Heads(ids.clone()), Expect::Heads(ids)))
                }
                Some((_, tag)) => {
                    Err(failed(format!("{key} has changed: its tag is {tag} now; read it again")))
                }
                None => Err(failed(format!("{key} doesn't exist"))),
            },
        }
    }
}

/// Tags of a list, each with its quotes; a bare one gets them. Weak tags never match a write.
fn parse_tags(text: &str) -> Vec<String> {
    let tags = text.split(',').map(str::trim).filter(|t| !t.is_empty() && !t.starts_with("W/"));
    tags.map(|t| format!("\"{}\"", t.trim_matches('"'))).collect()
}

/// Whether `If-None-Match` of a read names this tag.
pub fn not_modified(headers: &HeaderMap, tag: &[u8]) -> bool {
    let value = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v == "*" || parse_tags(&v.replace("W/", "")).iter().any(|t| t.as_bytes() == tag))
}

fn failed(detail: String) -> Problem {
    Problem::new(Code::Precondition, detail)
}

fn bad(name: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("the {name} header is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_engine::hlc::Hlc;
    use lattice_engine::id::NodeId;
    use lattice_engine::merge::{EntryRef, Head};

    fn record(ids: &[u8]) -> Record {
        let head = |i: &u8| Head {
            entry: EntryRef { hlc: Hlc::ZERO, author: NodeId([0; 32]), id: EntryId([*i; 32]), seq: 1 },
            node: None,
        };
        Record { heads: ids.iter().map(head).collect(), ..Record::default() }
    }

    #[test]
    fn the_tag_names_the_set_of_heads_whatever_their_order() {
        assert_eq!(etag(&record(&[])), None);
        assert_eq!(etag(&record(&[7])), Some(format!("\"{}\"", EntryId([7; 32]))));
        assert_eq!(etag(&record(&[1, 2])), etag(&record(&[2, 1])));
        assert_ne!(etag(&record(&[1, 2])), etag(&record(&[1, 3])));
    }

    #[test]
    fn a_matching_tag_cites_exactly_what_was_seen() {
        let key = Key::parse(b"a").expect("a key");
        let record = record(&[2, 1]);
        let tag = etag(&record).expect("has heads");
        let (cites, expect) = Condition::of_tag(Some(&tag), false).judge(&key, Some(&record)).expect("holds");
        let ids = vec![EntryId([1; 32]), EntryId([2; 32])];
        assert!(matches!(cites, Cites::Heads(h) if h == ids));
        assert!(matches!(expect, Expect::Heads(h) if h == ids));
        let e = Condition::of_tag(Some("\"other\""), false).judge(&key, Some(&record)).expect_err("changed");
        assert_eq!(e.code, Code::Precondition);
    }

    #[test]
    fn a_write_with_an_odd_precondition_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, "\"x\"".parse().expect("a value"));
        assert_eq!(Condition::of_headers(&headers).expect_err("odd").code, Code::BadRequest);
        headers.insert(header::IF_NONE_MATCH, "*".parse().expect("a value"));
        assert_eq!(Condition::of_headers(&headers).expect("absent"), Condition::Absent);
    }
}
