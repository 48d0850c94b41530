//! The checked-in list of tests that don't pass, and why. Refuses a reason that is missing and a
//! test that is named twice.

use std::collections::BTreeMap;

use toml_edit::DocumentMut;

const LIST: &str = include_str!("expected.toml");

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    Fail,
    Skip,
    /// Passes or fails by chance: only in the list, never a result.
    Either,
}

/// Test name -> outcome and reason.
#[derive(Debug)]
pub struct Expected(BTreeMap<String, (Outcome, String)>);

impl Expected {
    /// The list beside this file.
    pub fn load() -> Self {
        Self::parse(LIST)
    }

    fn parse(list: &str) -> Self {
        let document: DocumentMut = list.parse().expect("expected.toml is TOML");
        let groups = document["group"].as_array_of_tables().expect("expected.toml has [[group]] tables");
        let mut all = BTreeMap::new();
        for group in groups {
            let outcome = match group["outcome"].as_str() {
                Some("fail") => Outcome::Fail,
                Some("skip") => Outcome::Skip,
                Some("either") => Outcome::Either,
                other => panic!("outcome is fail, skip or either, not {other:?}"),
            };
            let reason = group["reason"].as_str().expect("each group has a reason");
            assert!(!reason.is_empty(), "a reason is empty");
            for test in group["tests"].as_array().expect("each group has tests") {
                let name = test.as_str().expect("a test is a string").to_owned();
                let twice = all.insert(name, (outcome, reason.to_owned()));
                assert!(twice.is_none(), "{test:?} is listed twice");
            }
        }
        Self(all)
    }

    /// One line for each test that didn't do what the list says.
    pub fn differences(&self, results: &BTreeMap<String, (Outcome, String)>) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, (outcome, why)) in results {
            match (self.0.get(name), outcome) {
                (None, Outcome::Pass) => {}
                (None, _) => lines.push(format!("  {name}: {outcome:?}, not in the list: {why}")),
                (Some((Outcome::Either, _)), Outcome::Pass | Outcome::Fail) => {}
                (Some((wanted, _)), _) if wanted == outcome => {}
                (Some((wanted, reason)), _) => lines
                    .push(format!("  {name}: {outcome:?}, but the list says {wanted:?} ({reason}): {why}")),
            }
        }
        for name in self.0.keys().filter(|name| !results.contains_key(*name)) {
            lines.push(format!("  {name}: in the list, but there is no such test"));
        }
        lines
    }
}

#[test]
fn an_unexpected_pass_and_an_unexpected_failure_both_count() {
    let list = "[[group]]\noutcome = \"fail\"\nreason = \"r\"\ntests = [\"a::b\", \"c::d\"]\n";
    let result = |outcome| (outcome, String::new());
    let results = BTreeMap::from([
        ("a::b".to_owned(), result(Outcome::Pass)),
        ("c::d".to_owned(), result(Outcome::Fail)),
        ("e::f".to_owned(), result(Outcome::Fail)),
    ]);
    let lines = Expected::parse(list).differences(&results);
    assert_eq!(lines.len(), 2, "{lines:?}");
}
