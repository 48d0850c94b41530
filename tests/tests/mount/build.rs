//! Builds with sources and results in the mount.

use std::fmt::Write;
use std::fs;

use lattice_tests::crates;
use lattice_tests::fixture::Cmd;

#[test]
fn cargo_builds_a_crate_with_dependencies() {
    let Some(mounted) = super::mounted(&["cargo"]) else {
        return;
    };
    let dir = mounted.join("sample");
    crates::make(&dir, crates::LIGHT).expect("the crate");
    crates::build(&dir).ok().expect("cargo build");
    let out = Cmd::new(dir.join("target/debug/sample")).ok().expect("the binary runs");
    assert_eq!(out, "91\n");
    let again = crates::build(&dir).env("CARGO_LOG", "cargo::core::compiler::fingerprint=info");
    let again = again.run().expect("cargo build again");
    assert!(!again.stderr.contains("dirty"), "nothing changed:\n{}", again.stderr);
    fs::write(dir.join("src/part7.rs"), "pub fn part() -> u32 { 42 }\n").expect("a change");
    crates::build(&dir).ok().expect("cargo build after a change");
    let out = Cmd::new(dir.join("target/debug/sample")).ok().expect("the new binary runs");
    assert_eq!(out, "42\n");
}

#[test]
fn make_builds_in_parallel_and_then_has_nothing_to_do() {
    let Some(mounted) = super::mounted(&["make", "gcc"]) else {
        return;
    };
    let dir = mounted.join("make");
    fs::create_dir(&dir).expect("a directory");
    let mut main = String::from("int main(void) { int sum = 0;\n");
    for n in 0..40 {
        fs::write(dir.join(format!("f{n}.c")), format!("int f{n}(void) {{ return {n}; }}\n"))
            .expect("a source");
        writeln!(main, "extern int f{n}(void); sum += f{n}();").expect("text");
    }
    fs::write(dir.join("main.c"), main + "return sum == 780 ? 0 : 1; }\n").expect("main.c");
    let makefile = "OBJS := $(patsubst %.c,%.o,$(wildcard *.c))\nprog: $(OBJS)\n\tgcc -o $@ $^\n\
                    %.o: %.c\n\tgcc -c -o $@ $<\n";
    fs::write(dir.join("Makefile"), makefile).expect("Makefile");
    Cmd::bash(&dir, "make -s -j8 && ./prog").ok().expect("make -j");
    let nothing = Cmd::bash(&dir, "make").ok().expect("make again");
    assert!(nothing.contains("up to date"), "{nothing}");
    let one = Cmd::bash(&dir, "touch f7.c && make").ok().expect("make after a touch");
    assert_eq!(one.lines().count(), 2, "one compile and one link: {one}");
}
