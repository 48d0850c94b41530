//! The page's own algorithms, run by the browser that they are written for: differences and merges over random texts, keys
//! over random bytes, the lanes of random histories.

use lattice_tests::random::{fresh_seed, seed};

use crate::browsers;
use crate::site::Site;

const CHECKS: &str = include_str!("pure.js");

#[test]
fn differences_merges_keys_and_graphs_hold_on_random_input() {
    if !browsers() {
        return;
    }
    let site = Site::start().expect("a page");
    let seed = seed(fresh_seed()) as u32;
    let run = format!("({CHECKS})({seed})");
    let failed = site.page.eval(&run).expect("it runs");
    assert_eq!(failed, serde_json::json!([]), "seed {seed}");
    site.end();
}
