//! Which keys there are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Bench;

fn names(keys: &[crate::http::model::KeyDoc]) -> Vec<Vec<u8>> {
    keys.iter().map(|k| k.key.bytes().expect("base64")).collect()
}

#[tokio::test]
async fn one_level_or_all_levels_in_directory_order() {
    let bench = Bench::new();
    for key in [&b"a/b"[..], b"a/b.txt", b"a/c/d", b"ab", b"b\xff", b"b\xff2/x"] {
        bench.put(key, "v").await;
    }
    let all = names(&bench.list(b"", "", 100).await);
    let wanted: [&[u8]; 9] =
        [b"a", b"a/b", b"a/b.txt", b"a/c", b"a/c/d", b"ab", b"b\xff", b"b\xff2", b"b\xff2/x"];
    assert_eq!(all, wanted);
    let wanted: [&[u8]; 4] = [b"a", b"ab", b"b\xff", b"b\xff2"];
    assert_eq!(names(&bench.list(b"", "/", 100).await), wanted);
    let wanted: [&[u8]; 2] = [b"a/b", b"a/b.txt"];
    assert_eq!(names(&bench.list(b"a/b", "/", 100).await), wanted);
    let wanted: [&[u8]; 2] = [b"b\xff", b"b\xff2"];
    assert_eq!(names(&bench.list(b"b\xff", "/", 100).await), wanted);
    let wanted: [&[u8]; 2] = [b"a/c", b"a/c/d"];
    assert_eq!(names(&bench.list(b"/a/c", "", 100).await), wanted);
    assert!(bench.list(b"nothing", "", 100).await.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// However a listing is cut into pages, it is the same listing, and it is the keys with the prefix.
    #[test]
    fn pages_make_the_whole(
        keys in proptest::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}", 1..20),
        prefix in "([ab](/?[ab])?)?",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new();
            let mut stored = BTreeSet::new();
            for key in &keys {
                // A file can't stand where a directory is, nor the other way round.
                let request = bench.client.put(super::at(key.as_bytes())).body("v".into());
                if request.send().await.is_ok() {
                    let parts: Vec<&str> = key.split('/').collect();
                    stored.extend((1..=parts.len()).map(|n| parts[..n].join("/")));
                }
            }
            let whole = names(&bench.list(prefix.as_bytes(), "", 1000).await);
            let wanted = stored.iter().filter(|k| k.starts_with(&prefix)).count();
            assert_eq!(whole.len(), wanted, "{prefix:?} of {stored:?}: {whole:?}");
            for limit in [1, 2, 3] {
                assert_eq!(names(&bench.list(prefix.as_bytes(), "", limit).await), whole);
            }
            let level = names(&bench.list(prefix.as_bytes(), "/", 1000).await);
            assert_eq!(names(&bench.list(prefix.as_bytes(), "/", 1).await), level);
        });
    }
}
