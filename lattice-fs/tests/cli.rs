//! The binary itself, without a mount: exit codes, what goes to which stream, `LATTICE_HOME`, files and pipes.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// An installation of its own.
struct Home(TempDir);

impl Home {
    fn empty() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn new() -> Self {
        let home = Self::empty();
        home.ok(["init", "--store", "home"]);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lattice"));
        command.args(args).env("LATTICE_HOME", self.path("h")).env_remove("LATTICE_LOG").stdin(Stdio::null());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output().expect("it runs")
    }

    fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let done = self.run(args);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("UTF-8")
    }

    /// Fails with this code, says this on stderr, and nothing on stdout.
    fn fails<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, code: i32, says: &str) {
        let done = self.run(args);
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{says:?} is not in {text:?}");
        assert!(done.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&done.stdout));
    }

    fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).expect("one document")
    }
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let none = Home::empty();
    none.fails(["status"], 10, "run `lattice init`");
    none.fails(["unmount", "/nowhere/at/all"], 20, "/nowhere/at/all");
    assert!(!none.path("h").exists(), "looking makes nothing");
    let home = Home::new();
    home.fails(["frobnicate"], 2, "frobnicate");
    home.fails(["get", "home:x"], 20, "x");
    home.fails(["get", "nowhere:x"], 20, "lattice store list");
    home.fails(["get", "home"], 2, "names a store");
    home.fails(["get", "./x"], 2, "is not inside a Lattice mount");
    home.ok(["put", "home:x", "1"]);
    home.fails(["put", "--if-absent", "home:x", "2"], 21, "exists");
    home.fails(["put", "--if-match", "0000", "home:x", "2"], 21, "changed");
    home.fails(["put", "home:x", "@/nowhere/at/all"], 1, "/nowhere/at/all");
    home.fails(["rm", "home:x", "home:y"], 3, "y");
    home.fails(["rm", "home:x"], 20, "x");
    home.ok(["rm", "-f", "home:x"]);
    home.fails(["init"], 1, "already");
    home.fails(["watch", "home", "--since", "noon"], 2, "noon");
    home.fails(["gc", "--keep-history", "some"], 2, "keep-history");
    assert_eq!(home.run(["--help"]).status.code(), Some(0));
}

#[test]
fn an_error_is_json_where_the_output_is() {
    let done = Home::new().run(["--json", "get", "home:x"]);
    let doc: serde_json::Value = serde_json::from_slice(&done.stderr).expect("a document");
    assert_eq!(
        (doc["type"].as_str(), doc["code"].as_str(), doc["exit"].as_u64()),
        (Some("error"), Some("not-found"), Some(20))
    );
}

#[test]
fn values_come_from_anywhere_and_go_anywhere() {
    let home = Home::new();
    let body: Vec<u8> = (0..2_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (source, copy) = (home.path("source"), home.path("copy"));
    std::fs::write(&source, &body).expect("written");
    home.ok(["put", "home:large", &format!("@{}", source.display())]);
    home.ok(["get", "home:large", "-o", &copy.display().to_string()]);
    assert!(std::fs::read(&copy).expect("there") == body);
    assert!(home.run(["get", "home:large"]).stdout == body);
    let file = std::fs::File::open(&source).expect("there");
    let piped = home.command(["put", "home:piped", "-"]).stdin(file).status().expect("it runs");
    assert!(piped.success());
    assert!(home.run(["get", "home:piped"]).stdout == body);
    let odd = OsStr::from_bytes(b"home:\xff odd\n/name");
    home.ok([OsStr::new("put"), odd, OsStr::new("")]);
    assert_eq!(home.ok([OsStr::new("get"), odd]), "");
    let listed = home.json(["ls", "-R", "--json", "home"]);
    let names = listed["keys"].as_array().expect("a list");
    assert!(names.iter().any(|k| k["key_base64"] == "/yBvZGQKL25hbWU="), "{names:?}");
    assert!(!home.path("copy").with_file_name(".copy.part").exists());
}

#[test]
fn a_get_that_fails_leaves_no_file() {
    let home = Home::new();
    let copy = home.path("copy");
    home.fails(["get", "home:x", "-o", &copy.display().to_string()], 20, "x");
    assert!(!copy.exists());
}

/// Two installations with a conflict at `home:k`, made by carrying bundles crosswise.
fn conflict() -> (Home, Home) {
    let (a, b) = (Home::new(), Home::empty());
    b.ok(["init"]);
    let carry = |from: &Home, to: &Home| {
        let bundle = from.path("bundle").display().to_string();
        from.ok(["store", "export", "home", &bundle]);
        to.ok(["store", "import", &bundle]);
        std::fs::remove_file(bundle).expect("it was there");
    };
    a.ok(["put", "home:k", "one\ntwo\n"]);
    carry(&a, &b);
    a.ok(["put", "home:k", "one\nTWO a\n"]);
    b.ok(["put", "home:k", "one\nTWO b\n"]);
    carry(&a, &b);
    carry(&b, &a);
    (a, b)
}

#[test]
fn a_conflict_is_shown_compared_and_settled() {
    let (a, b) = conflict();
    assert_eq!(a.run(["conflicts", "--exit-code"]).status.code(), Some(22));
    assert_eq!(a.json(["conflicts", "--json"]), b.json(["conflicts", "--json"]));
    let doc = a.json(["conflicts", "--json"]);
    let heads = &doc["stores"][0]["conflicts"][0]["heads"];
    let loser = heads[1]["entry"].as_str().expect("an id").to_owned();
    let diff = a.ok(["diff", "home:k"]);
    assert!(diff.contains("-TWO a") && diff.contains("+TWO b") && diff.contains("@@"), "{diff}");
    let json = a.json(["diff", "--json", "home:k"]);
    assert_eq!((json["key"].as_str(), json["from"].as_str()), (Some("k"), Some(loser.as_str())), "{json}");
    assert!(a.ok(["ls", "home"]).contains("in conflict"));
    let text = a.ok(["get", "home:k", "--version", &loser[..8]]);
    assert_eq!(text, "one\nTWO a\n");
    a.ok(["resolve", "home:k", "--pick", &loser[..8]]);
    assert_eq!(a.run(["conflicts", "--exit-code"]).status.code(), Some(0));
    assert_eq!(a.ok(["get", "home:k"]), text);
    let merged = b.path("merged");
    std::fs::write(&merged, "both\n").expect("written");
    b.ok(["resolve", "home:k", "--with", &merged.display().to_string()]);
    assert_eq!(b.ok(["get", "home:k"]), "both\n");
    b.ok(["restore", "home:k", "--version", &loser]);
    assert_eq!(b.ok(["get", "home:k"]), text);
    assert_eq!(b.json(["history", "--json", "home:k"])["versions"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_file_beside_a_directory_is_told_and_settled() {
    let (a, b) = (Home::new(), Home::empty());
    b.ok(["init"]);
    let carry = |from: &Home, to: &Home| {
        let bundle = from.path("bundle").display().to_string();
        from.ok(["store", "export", "home", &bundle]);
        to.ok(["store", "import", &bundle]);
        std::fs::remove_file(bundle).expect("it was there");
    };
    carry(&a, &b);
    a.ok(["put", "home:q", "file"]);
    b.ok(["put", "home:q/x", "below"]);
    carry(&b, &a);
    let listed = a.ok(["conflicts"]);
    assert!(listed.contains("home:q\n    dir       what stands below it  shown\n"), "{listed}");
    let doc = &a.json(["conflicts", "--json"])["stores"][0]["conflicts"][0];
    assert_eq!(doc["directory"], true, "{doc}");
    let file = doc["heads"][0]["entry"].as_str().expect("an id").to_owned();
    assert_eq!(a.ok(["get", "home:q", "--version", &file]), "file");
    let merged = a.path("merged");
    std::fs::write(&merged, "both").expect("written");
    a.fails(["resolve", "home:q", "--pick", &file[..8]], 1, "picking `dir`");
    a.fails(["resolve", "home:q", "--with", &merged.display().to_string()], 1, "picking `dir`");
    assert_eq!(a.run(["conflicts", "--exit-code"]).status.code(), Some(22));
    a.ok(["resolve", "home:q", "--pick", "dir"]);
    assert_eq!(a.run(["conflicts", "--exit-code"]).status.code(), Some(0));
    assert_eq!(a.ok(["get", "home:q/x"]), "below");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let home = Home::new();
    for n in 0..20 {
        home.ok(["put", &format!("home:k{n}"), "v"]);
    }
    let mut child =
        home.command(["log", "home"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("it ends");
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success());
}

#[test]
fn streams_are_json_lines_with_a_type() {
    let home = Home::new();
    home.ok(["put", "home:k", "v"]);
    for args in [
        &["log", "home", "--json"][..],
        &["watch", "home", "--since", "0.0", "-n", "2", "--json"],
        &["fsck", "--json"],
    ] {
        let text = home.ok(args);
        assert!(!text.is_empty(), "{args:?}");
        for line in text.lines() {
            let doc: serde_json::Value = serde_json::from_str(line).expect("a document a line");
            assert!(doc["type"].is_string(), "{args:?}: {line}");
        }
    }
}

#[test]
fn two_commands_at_once_wait_for_each_other() {
    let home = Home::new();
    let running: Vec<_> = (0..6)
        .map(|n| {
            home.command(["put", &format!("home:k{n}"), "v"]).stdout(Stdio::null()).spawn().expect("it runs")
        })
        .collect();
    for child in running {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    assert_eq!(home.ok(["ls", "home"]).lines().count(), 6);
}

#[test]
fn documents_about_itself() {
    let home = Home::empty();
    assert!(home.ok(["version"]).starts_with("lattice "));
    assert_eq!(home.ok(["paths", "data"]).trim(), home.path("h/data").display().to_string());
    assert_eq!(home.json(["paths", "--json"])["data"], home.path("h/data").display().to_string());
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ok(["completions", shell]).contains("lattice"));
    }
    assert!(home.ok(["man"]).contains(".TH lattice"));
    let pages = home.path("man");
    home.ok(["man", &pages.display().to_string()]);
    assert!(pages.join("lattice.1").exists() && pages.join("lattice-mount.1").exists());
    let figures =
        home.json(["bench", "--json", "--files", "5", "--large", "1", &home.0.path().display().to_string()]);
    assert_eq!(figures["figures"].as_array().map(Vec::len), Some(7));
    let findings = home.run(["doctor", "--json"]);
    let doc: serde_json::Value = serde_json::from_slice(&findings.stdout).expect("a document");
    assert!(doc["findings"].as_array().is_some_and(|f| f.len() >= 9), "{doc}");
}

#[test]
fn a_node_has_a_name() {
    let named = Home::empty();
    named.fails(["init", "--name", " "], 2, "can't be a node's name");
    assert!(!named.path("h/data").exists(), "nothing was made");
    let said = named.ok(["init", "--name", "Ada's laptop"]);
    assert!(said.starts_with("node Ada's laptop ("), "{said}");
    assert_eq!(named.json(["status", "--json"])["name"], "Ada's laptop");
    assert!(named.ok(["status"]).starts_with("node Ada's laptop "));
    let unnamed = Home::empty();
    let doc = unnamed.json(["init", "--json"]);
    assert!(!doc["name"].as_str().expect("the host's name").is_empty(), "{doc}");
    assert_eq!(unnamed.json(["status", "--json"])["name"], doc["name"]);
}

#[test]
fn flags_count_before_the_environment_and_that_before_config_toml() {
    let home = Home::new();
    let file = home.ok(["paths", "config_file"]);
    let file = PathBuf::from(file.trim_end());
    assert_eq!(file, home.path("h/config/config.toml"));
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    // A listener that never answers: who waits says for how long it did.
    std::fs::write(&file, "timeout = 1\n").expect("written");
    let run = home.path("h/run");
    std::fs::create_dir_all(&run).expect("made");
    let silent = std::os::unix::net::UnixListener::bind(run.join("lattice.sock")).expect("a socket");
    home.fails(["status"], 24, "1 s");
    let env = home.command(["status"]).env("LATTICE_TIMEOUT", "2").output().expect("it runs");
    let text = String::from_utf8_lossy(&env.stderr);
    assert!(env.status.code() == Some(24) && text.contains("2 s"), "{text}");
    let flag =
        home.command(["--timeout", "1", "status"]).env("LATTICE_TIMEOUT", "60").output().expect("it runs");
    assert_eq!(flag.status.code(), Some(24));
    drop(silent);
    std::fs::remove_file(run.join("lattice.sock")).expect("cleared");
    std::fs::write(&file, "timeout = 5\n\n[mount]\nallow_others = true\n").expect("written");
    home.fails(
        ["status"],
        2,
        "config.toml, line 4: mount.allow_others: there is no such key; there are allow_other",
    );
    home.fails(["ls", "home"], 2, "config.toml, line 4");
    let done = home.run(["doctor", "--json"]);
    let doc: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one document");
    let findings = doc["findings"].as_array().expect("findings");
    let config = findings.iter().find(|f| f["what"] == "config").expect("it is looked at");
    assert_eq!(config["verdict"], "fail", "{config}");
    assert!(config["detail"].as_str().expect("text").contains("line 4"), "{config}");
    assert!(home.ok(["paths"]).contains("config.toml"), "what shows the way to the file works");
    home.ok(["version"]);
}

#[test]
fn a_script_ends_at_its_first_failure_with_that_exit_code() {
    let home = Home::new();
    let script = |text: &str| {
        let mut child = home
            .command(["shell"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        child.wait_with_output().expect("it ends")
    };
    let good = script("# a remark\nput home:a 'x y'\n\nlattice get home:a\n");
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(String::from_utf8_lossy(&good.stdout).ends_with("x y"));
    for (bad, code, says) in [
        ("get home:nothing", 20, "no such key"),
        ("frobnicate", 2, "frobnicate"),
        ("get 'home:a", 2, "not closed"),
    ] {
        let done = script(&format!("put home:before 1\n{bad}\nput home:after 1\n"));
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{bad}: {said}");
        assert!(said.contains("line 2") && said.contains(says), "{said}");
        home.ok(["get", "home:before"]);
        home.fails(["get", "home:after"], 20, "after");
    }
    assert_eq!(script("exit\nfrobnicate\n").status.code(), Some(0));
}

#[test]
fn what_can_t_be_a_key_a_cursor_or_a_name_is_usage() {
    let home = Home::new();
    home.fails(["put", "home:../x", "v"], 2, "../x");
    home.fails(["put", "home:a//b", "v"], 2, "a//b");
    home.fails(["put", "home:a/", "v"], 2, "empty segment");
    home.fails(["get", "home:.lattice/x"], 2, "control directory");
    home.fails(["watch", "home", "--since", "garbage"], 2, "\"garbage\" is not a cursor");
    home.fails(["log", "home", "--since", "garbage"], 2, "\"garbage\" is not a cursor");
    home.fails(["store", "create", "bad/name"], 2, "bad/name");
    home.fails(["store", "rename", "home", ""], 2, "empty");
    home.ok(["put", "home:k", "v"]);
    home.fails(["get", "home:k", "--version", "xyz"], 2, "is not an entry id");
    home.fails(["resolve", "home:k", "--pick", "xyz"], 2, "is not an entry id");
}

#[test]
fn a_slash_at_the_end_lists_the_directory() {
    let home = Home::new();
    home.ok(["put", "home:d/a", "1"]);
    home.ok(["put", "home:d/b/c", "1"]);
    assert_eq!(home.ok(["ls", "home:d/"]), "a\nb/\n");
    assert_eq!(home.ok(["ls", "home:d/b/"]), home.ok(["ls", "home:d/b"]));
    home.fails(["ls", "home:d/a/"], 1, "home:d/a is not a directory");
    home.fails(["ls", "home:e/"], 20, "home:e");
}

#[test]
fn a_directory_is_removed_by_rm_r_and_the_message_says_so() {
    let home = Home::new();
    home.ok(["put", "home:d/a", "1"]);
    home.fails(["rm", "home:d"], 1, "home:d is a directory: `lattice rm -r`");
    home.ok(["rm", "-r", "home:d/"]);
    assert_eq!(home.ok(["ls", "home"]), "");
}

#[test]
fn a_deleted_key_comes_back_without_naming_a_version() {
    let home = Home::new();
    home.ok(["put", "home:k", "one"]);
    home.ok(["put", "home:k", "two"]);
    home.fails(["restore", "home:k"], 2, "--version");
    home.ok(["rm", "home:k"]);
    home.ok(["restore", "home:k"]);
    assert_eq!(home.ok(["get", "home:k"]), "two");
    home.fails(["restore", "home:never"], 20, "never");
}

#[test]
fn a_precondition_takes_the_short_ids_that_history_prints() {
    let home = Home::new();
    let first = home.ok(["put", "home:k", "1"]).trim().to_owned();
    let second = home.ok(["put", "home:k", "2", "--if-match", &first]).trim().to_owned();
    assert_eq!((first.len(), home.ok(["get", "home:k"])), (8, "2".into()));
    home.fails(["put", "home:k", "3", "--if-match", &first], 21, "has changed");
    home.fails(["put", "home:k", "3", "--if-match", "0123456789"], 21, &second);
    home.fails(["put", "home:none", "3", "--if-match", &first], 21, "no such key");
    for rubbish in ["rubbish", "abc", "", &"a".repeat(65)] {
        home.fails(["put", "home:k", "3", "--if-match", rubbish], 2, "--if-match");
    }
    home.fails(["rm", "home:k", "--if-match", &first], 21, "has changed");
    home.ok(["put", "home:k", "3", "--if-match", "*"]);
    let third = home.json(["--json", "ls", "home"])["keys"][0]["entry"].as_str().expect("an id").to_owned();
    home.ok(["rm", "home:k", "--if-match", &third[..12].to_ascii_uppercase()]);
}

#[test]
fn what_is_not_in_conflict_is_not_resolved() {
    let home = Home::new();
    let id = home.ok(["put", "home:k", "1"]).trim().to_owned();
    home.fails(["resolve", "home:k", "--with", "-"], 20, "nothing to resolve");
    home.fails(["resolve", "home:k", "--pick", &id], 20, "nothing to resolve");
    assert_eq!(home.ok(["get", "home:k"]), "1");
    assert_eq!(home.ok(["history", "home:k"]).lines().count(), 2, "nothing was written");
    // Once settled it is settled, whoever comes second.
    let (a, _) = conflict();
    a.ok(["resolve", "home:k", "--with", "/dev/null"]);
    a.fails(["resolve", "home:k", "--with", "/dev/null"], 20, "nothing to resolve");
}

#[test]
fn none_means_none_and_a_dash_is_stdout() {
    let home = Home::new();
    home.ok(["put", "home:k", "1"]);
    assert_eq!(home.ok(["log", "-n", "0", "home"]), "");
    assert_eq!(home.ok(["history", "-n", "0", "home:k"]).lines().count(), 1, "its head");
    assert_eq!(home.ok(["get", "home:k", "-o", "-"]), "1");
    assert!(home.ok(["status", "home"]).contains("by 1 author\n"));
}

#[test]
fn an_empty_home_is_none() {
    let home = Home::new();
    let mut paths = home.command(["paths", "data"]);
    paths.env("LATTICE_HOME", "").env("XDG_DATA_HOME", home.path("xdg")).env("HOME", home.path("user"));
    let done = paths.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.trim().starts_with(&home.path("xdg").display().to_string()), "{said}{done:?}");
}

#[test]
fn a_directory_without_versions_of_its_own_is_told_from_what_never_was() {
    let home = Home::new();
    home.ok(["put", "home:d/f", "1"]);
    for command in ["history", "diff"] {
        home.fails([command, "home:d"], 1, "no versions of its own");
        home.fails([command, "home:e"], 20, "never was");
    }
    assert!(home.ok(["log", "home:d/"]).contains("d/f"));
}

#[test]
fn who_wrote_it_is_shown_by_name() {
    let home = Home::empty();
    home.ok(["init", "--name", "laptop", "--store", "home"]);
    home.ok(["put", "home:k", "1"]);
    assert!(home.ok(["history", "home:k"]).contains("  laptop  "));
    let (a, _) = conflict();
    assert_eq!(a.ok(["conflicts"]).matches("  by ").count(), 2);
}
