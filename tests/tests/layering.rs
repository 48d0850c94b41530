//! Modules import downwards only: a line of `use crate::` (or a path in the text) from a lower to
//! a higher layer, or between neighbours in one layer, fails here with its file and line.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up; modules in one row may not import each other, but for the pairs below.
const ENGINE: &[&[&str]] = &[
    &["id", "key", "clock", "hlc"],
    &["wire"],
    &["program"],
    &["entry", "identity"],
    &["chain", "merge", "access", "sync"],
    &["disk"],
    &["content", "log", "state"],
    &["store"],
    &["node"],
    &["net"],
    &["decoders"],
];

/// The two faces of the program: each is a pile of its own on the engine.
const FACES: &[&[&[&str]]] = &[
    &[&["view"], &["ops"], &["fuse"], &["cli", "main", "decoders"]],
    &[&["http"], &["client"], &["command"], &["cli", "main", "decoders"]],
];

/// Imports within one row that are meant, as (from, to): never both ways.
const BESIDE: &[(&str, &str)] =
    &[("hlc", "clock"), ("entry", "identity"), ("state", "content"), ("state", "log"), ("main", "cli")];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The module that a file belongs to: the first name below `src`.
fn module(src: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(src).expect("a file below src");
    let first = inside.iter().next().and_then(|name| name.to_str()).expect("a name in UTF-8");
    first.trim_end_matches(".rs").to_owned()
}

/// Modules that a line names through `crate::`, as `use crate::{a, b::c}` and as `crate::a::f()`.
fn imports(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let name =
        |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (i, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && !c.is_whitespace() => {
                        found.push(name(&list[i..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(name(rest));
        }
    }
    found
}

fn row(layers: &[&[&str]], module: &str) -> Option<usize> {
    layers.iter().position(|row| row.contains(&module))
}

/// Whether `from` may import `to`: `None` where one of them isn't in these layers.
fn allowed(layers: &[&[&str]], from: &str, to: &str) -> Option<bool> {
    let (low, high) = (row(layers, to)?, row(layers, from)?);
    Some(low < high || from == to || BESIDE.contains(&(from, to)))
}

/// Joins the lines of one `use` so that a list over several lines is seen whole.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (n, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if open {
            if let Some((_, statement)) = all.last_mut() {
                statement.push_str(code);
            }
        } else {
            all.push((n + 1, code.to_owned()));
        }
        let begins = code.trim_start().trim_start_matches("pub ").starts_with("use ");
        open = (open || begins) && !code.contains(';');
    }
    all
}

fn upward(src: &Path, piles: &[&[&[&str]]]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in sources(src) {
        let from = module(src, &file);
        let text = fs::read_to_string(&file).expect("a source file");
        for (line, statement) in statements(&text) {
            for to in imports(&statement) {
                let verdicts = piles.iter().filter_map(|layers| allowed(layers, &from, &to));
                if verdicts.clone().count() > 0 && !verdicts.clone().any(|ok| ok) {
                    wrong.push(format!("{}:{line}: {from} imports {to}", file.display()));
                }
            }
        }
    }
    wrong
}

fn crate_sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src")
}

#[test]
fn the_engine_imports_downwards() {
    let wrong = upward(&crate_sources("lattice-engine"), &[ENGINE]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_faces_import_downwards() {
    let wrong = upward(&crate_sources("lattice-fs"), FACES);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_engine_has_a_layer() {
    let src = crate_sources("lattice-engine");
    let mut without: Vec<_> = sources(&src)
        .iter()
        .map(|file| module(&src, file))
        .filter(|module| module != "lib" && row(ENGINE, module).is_none())
        .collect();
    without.dedup();
    assert!(without.is_empty(), "put them into a layer: {without:?}");
}

#[test]
fn an_upward_import_is_seen_in_every_form() {
    for line in [
        "use crate::store::Handle;",
        "pub use crate::{id::NodeId, store::Handle};",
        "    let x = crate::store::open(y);",
        "use crate::{\n    key::Key,\n    store::{Handle, Change},\n};",
    ] {
        let found: Vec<_> = statements(line).iter().flat_map(|(_, s)| imports(s)).collect();
        assert!(found.contains(&"store".to_owned()), "{line}: {found:?}");
    }
    assert_eq!(imports("// use crate::store::Handle;"), Vec::<String>::new());
    assert_eq!(imports("use other_crate::store::Handle;"), Vec::<String>::new());
    assert_eq!(allowed(ENGINE, "log", "store"), Some(false));
    assert_eq!(allowed(ENGINE, "log", "state"), Some(false));
    assert_eq!(allowed(ENGINE, "state", "log"), Some(true));
    assert_eq!(allowed(ENGINE, "store", "log"), Some(true));
}

/// Files of one directory and the neighbours that each imports with `use super::neighbour::...`.
fn neighbours(dir: &Path) -> Vec<(String, Vec<String>)> {
    let name = |file: &Path| file.file_stem().and_then(|s| s.to_str()).expect("a name in UTF-8").to_owned();
    let files: Vec<_> = sources(dir).into_iter().filter(|f| f.parent() == Some(dir)).collect();
    let names: Vec<_> = files.iter().map(|f| name(f)).filter(|n| n != "mod").collect();
    let taken = |file: &Path| {
        let text = fs::read_to_string(file).expect("a source file");
        let uses = text.lines().filter_map(|l| l.trim_start_matches("pub ").strip_prefix("use super::"));
        let first = |rest: &str| rest.split([':', ';', '{', ' ']).next().unwrap_or_default().to_owned();
        uses.map(first).filter(|n| names.contains(n)).collect::<Vec<_>>()
    };
    files.iter().filter(|f| name(f) != "mod").map(|f| (name(f), taken(f))).collect()
}

/// A module from which imports lead back to it, and the way, if there is one.
fn circle(imports: &[(String, Vec<String>)]) -> Option<Vec<String>> {
    fn walk(imports: &[(String, Vec<String>)], way: &mut Vec<String>, clean: &mut Vec<String>) -> bool {
        let at = way.last().cloned().unwrap_or_default();
        let next =
            imports.iter().find(|(name, _)| *name == at).map(|(_, to)| to.as_slice()).unwrap_or_default();
        for to in next {
            if way.contains(to) {
                way.push(to.clone());
                return true;
            }
            if !clean.contains(to) {
                way.push(to.clone());
                if walk(imports, way, clean) {
                    return true;
                }
                way.pop();
            }
        }
        clean.push(at);
        false
    }
    let mut clean = Vec::new();
    imports.iter().find_map(|(name, _)| {
        let mut way = vec![name.clone()];
        walk(imports, &mut way, &mut clean).then_some(way)
    })
}

#[test]
fn the_modules_of_ops_have_no_circles() {
    let imports = neighbours(&crate_sources("lattice-fs").join("ops"));
    assert!(imports.len() > 20, "ops was not found: {imports:?}");
    assert_eq!(circle(&imports), None);
}

#[test]
fn a_circle_is_seen() {
    let imports = |list: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
        list.iter().map(|(a, to)| ((*a).into(), to.iter().map(|t| (*t).into()).collect())).collect()
    };
    assert_eq!(circle(&imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    assert!(circle(&imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).is_some());
}
