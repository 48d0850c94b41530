//! A small crate with dependencies, vendored from what cargo has already downloaded for this
//! workspace: building it needs no network.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::fixture::Cmd;

/// Dependencies that compile in a few seconds.
pub const LIGHT: &[&str] = &["bytes", "itoa", "memchr", "cfg-if", "smallvec", "crc32fast"];
/// Dependencies with procedural macros and a build script: what an ordinary program has.
pub const USUAL: &[&str] =
    &["anyhow", "blake3", "bytes", "itoa", "memchr", "prost", "serde_json", "smallvec", "thiserror"];
/// The versions are this workspace's: those cargo has downloaded.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Makes the crate `sample` in `dir` with its sources in `vendor/`. Build it with [`build`].
///
/// # Errors
/// A dependency isn't in cargo's local registry.
pub fn make(dir: &Path, dependencies: &[&str]) -> Result<()> {
    fs::create_dir_all(dir.join("src"))?;
    let mut manifest = String::from(
        "[package]\nname = \"sample\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n\n[dependencies]\n",
    );
    let mut source = String::new();
    for name in dependencies {
        manifest.push_str(&format!("{name} = \"*\"\n"));
        source.push_str(&format!("pub use {};\n", name.replace('-', "_")));
    }
    for n in 0..20 {
        source.push_str(&format!("pub mod part{n};\n"));
        fs::write(
            dir.join(format!("src/part{n}.rs")),
            format!("pub fn part() -> u32 {{ (0..{n}u32).map(|x| x * x).sum() }}\n"),
        )?;
    }
    fs::write(dir.join("Cargo.toml"), manifest)?;
    fs::write(dir.join("Cargo.lock"), LOCK)?;
    fs::write(dir.join("src/lib.rs"), source)?;
    fs::write(dir.join("src/main.rs"), "fn main() { println!(\"{}\", sample::part7::part()); }\n")?;
    let config =
        Cmd::new("cargo").args(["vendor", "--offline", "--quiet", "vendor"]).dir(dir).deadline(120).ok()?;
    fs::create_dir_all(dir.join(".cargo"))?;
    fs::write(dir.join(".cargo/config.toml"), config)?;
    Ok(())
}

/// `cargo build`, with all that it makes below `dir`.
pub fn build(dir: &Path) -> Cmd {
    Cmd::new("cargo")
        .args(["build", "--offline", "--quiet"])
        .dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .env("CARGO_INCREMENTAL", "1")
        .deadline(600)
}
