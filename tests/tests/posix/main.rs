//! The POSIX suites of others, run on the mount: `pjdfstest` for what each call does, `fsx` for
//! the data path. Every test that doesn't pass has a checked-in reason in expected.toml; one that
//! fails without a reason fails here, and so does one that passes in spite of its reason.

mod expected;

use std::collections::BTreeMap;
use std::path::PathBuf;

use expected::{Expected, Outcome};
use lattice_tests::fixture::{Cmd, Kind, MountOptions, Mounted, Scratch, binary, have, needs};
use lattice_tests::random::{fresh_seed, seed};

/// Operations that each run of fsx makes.
const FSX_OPS: u32 = 20_000;

/// A suite's binary: `scripts/test` installs them into `target/tools`.
fn tool(name: &str) -> Option<PathBuf> {
    let beside = binary(&format!("../tools/bin/{name}")).ok();
    let found = beside.or_else(|| have(name).then(|| name.into()));
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {name}: see scripts/test");
        eprintln!("skipped: it needs {name}: `cargo install {name}`, or run scripts/test");
    }
    found
}

fn config(secondary: &str) -> String {
    format!(
        r#"[features]
posix_fallocate = {{}}
rename_ctime = {{}}
utimensat = {{}}
utime_now = {{}}
secondary_fs = {secondary:?}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["bin", "bin"]]
"#
    )
}

/// Test name -> what became of it and why, from what pjdfstest prints.
fn parse(output: &str) -> BTreeMap<String, (Outcome, String)> {
    let mut results = BTreeMap::new();
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(word), None) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let outcome = match word {
            "ok" => Outcome::Pass,
            "FAILED" => Outcome::Fail,
            "skipped" => Outcome::Skip,
            _ => continue,
        };
        if line.starts_with(char::is_whitespace) || !name.contains("::") {
            continue;
        }
        let why = lines.peek().map_or("", |next| next.trim()).to_owned();
        results.insert(name.to_owned(), (outcome, why));
    }
    results
}

#[test]
fn pjdfstest() {
    if !needs(&[]) {
        return;
    }
    let Some(suite) = tool("pjdfstest") else {
        return;
    };
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let mounted = Mounted::with(Kind::chosen(), options).expect("a mount");
    let other = Scratch::new().expect("a second filesystem: the disk");
    let config_file = other.join("pjdfstest.toml");
    std::fs::write(&config_file, config(&other.path().to_string_lossy())).expect("config");

    let done = Cmd::new(suite)
        .arg("-c")
        .arg(&config_file)
        .arg("-p")
        .arg(mounted.dir())
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .deadline(600)
        .run()
        .expect("pjdfstest runs to its end");
    let results = parse(&done.stdout);
    let count = |outcome| results.values().filter(|(o, _)| *o == outcome).count();
    println!(
        "pjdfstest on {:?}: {} pass, {} fail, {} skip",
        mounted.kind(),
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Skip)
    );
    assert!(results.len() > 350, "it ran hardly anything:\n{}{}", done.stdout, done.stderr);
    let wrong = Expected::load().differences(&results);
    assert!(
        wrong.is_empty(),
        "{} tests differ from tests/posix/expected.toml; update the list only with a reason:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// fsx 0.3.2 now and then asks posix_fallocate for 0 bytes, which is EINVAL on every file system, and takes that for a failure.
fn asked_for_nothing(said: &str) -> bool {
    let last = said.lines().rfind(|line| line.starts_with("[ERROR fsx]"));
    last.is_some_and(|line| line.contains(" POSIX_FALLOCATE ") && line.ends_with(" 0x0 bytes)"))
}

fn fsx(name: &str, config: &str) {
    if !needs(&[]) {
        return;
    }
    let Some(exerciser) = tool("fsx") else { return };
    let mounted = Mounted::new().expect("a mount");
    let config_file = mounted.beside("fsx.toml");
    std::fs::write(&config_file, config).expect("config");
    let artifacts = mounted.beside("artifacts");
    std::fs::create_dir(&artifacts).expect("artifacts");
    for seed in [seed(1), fresh_seed()] {
        let done = Cmd::new(&exerciser)
            .args(["-N", &FSX_OPS.to_string(), "-S", &seed.to_string(), "-f"])
            .arg(&config_file)
            .arg("-P")
            .arg(&artifacts)
            .arg(mounted.join(name))
            .deadline(300)
            .run()
            .expect("fsx runs to its end");
        if asked_for_nothing(&format!("{}{}", done.stdout, done.stderr)) {
            println!("fsx {name} with seed {seed} gave up by itself");
            continue;
        }
        assert!(
            done.status.success(),
            "fsx {name} with seed {seed}: {}\n{}{}",
            done.status,
            done.stdout,
            done.stderr
        );
        println!("fsx {name} on {:?}: {FSX_OPS} operations, seed {seed}", mounted.kind());
    }
}

#[test]
fn fsx_with_mmap() {
    fsx(
        "mmap",
        "[weights]\nclose_open = 1\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\n\
         invalidate = 1\ntruncate = 2\nfsync = 1\nfdatasync = 1\nposix_fallocate = 1\n\
         punch_hole = 2\nsendfile = 1\nposix_fadvise = 1\ncopy_file_range = 2\n",
    );
}

#[test]
fn fsx_without_mmap() {
    fsx(
        "plain",
        "[weights]\nclose_open = 2\nread = 10\nwrite = 10\nmapread = 0\nmapwrite = 0\n\
         invalidate = 0\ntruncate = 2\nfsync = 1\nfdatasync = 1\nposix_fallocate = 1\n\
         punch_hole = 2\nsendfile = 1\nposix_fadvise = 0\ncopy_file_range = 2\n",
    );
}

#[test]
fn fsx_on_a_file_of_many_chunks() {
    fsx(
        "large",
        "flen = 8388608\n[opsize]\nmax = 1048576\n[weights]\nclose_open = 2\nread = 10\nwrite = 10\n\
         mapread = 5\nmapwrite = 5\ninvalidate = 1\ntruncate = 1\nfsync = 1\nfdatasync = 1\n\
         posix_fallocate = 1\npunch_hole = 1\nsendfile = 1\nposix_fadvise = 1\ncopy_file_range = 2\n",
    );
}
