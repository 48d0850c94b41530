//! One large value up and down again through curl, beside a file that an axum handler keeps. Each round has other bytes: those
//! that a store has already, it takes for nothing.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Cmd, have};
use lattice_tests::random::Random;

use super::floor::{self, Floor};
use super::{Served, settle, shares};
use crate::figure::{Figure, median};

const PIECE: usize = 1 << 20;
/// More rounds would fill the disk: every one stays in the store.
const ROUNDS: usize = 3;
/// Of one transfer, in seconds.
const DEADLINE: u64 = 600;

/// Up and down, ours and the handler's.
pub fn there_and_back(quick: bool, rounds: usize) -> Result<Vec<Figure>> {
    if !have("curl") {
        eprintln!("skipped: http: large file: curl isn't installed");
        return Ok(Vec::new());
    }
    let size: u64 = if quick { 64 << 20 } else { 1 << 30 };
    let served = Served::start()?;
    let file = served.peer.beside("large");
    let floor = Floor::start(&served.peer.beside("floor"))?;
    let config = served.peer.beside("curlrc");
    let curl = Curl::new(&config, &served.token)?;
    let urls = [
        format!("http://{}{}", floor.http.at, floor::FILE),
        format!("http://{}/stores/home/keys/large", served.http.at),
    ];
    let [mut up, mut down] = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for round in 0..rounds.min(ROUNDS) {
        make(&file, size, round as u64)?;
        for side in [round % 2, (round + 1) % 2] {
            settle(served.peer.home())?;
            up[side].push(curl.up(&file, &urls[side], size)?);
            settle(served.peer.home())?;
            down[side].push(curl.down(&urls[side], size)?);
        }
    }
    for url in &urls {
        curl.same(url, &file)?;
    }
    served.stop()?;
    let mut rows = Vec::new();
    for (way, [bare, ours]) in [("up", up), ("down", down)] {
        let names = [
            format!("http: {} MiB {way}", size >> 20),
            format!("http: an axum file {way}"),
            format!("http: {way}, of an axum file"),
        ];
        let (bare, ours) = median(&bare).zip(median(&ours)).context("at least one round")?;
        rows.extend(shares(names, "MB/s", [bare, ours], 0.5));
    }
    Ok(rows)
}

fn make(file: &Path, size: u64, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let mut file = File::create(file)?;
    for _ in 0..size / PIECE as u64 {
        file.write_all(&random.bytes(PIECE))?;
    }
    Ok(())
}

/// Curl with a token, which the handler is sent too.
struct Curl<'a> {
    config: &'a Path,
}

impl<'a> Curl<'a> {
    fn new(config: &'a Path, token: &str) -> Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(config)?;
        writeln!(file, "header = \"Authorization: Bearer {token}\"")?;
        Ok(Self { config })
    }

    /// Runs it; gives MB a second by its own clock, of as many bytes as it says.
    fn run(&self, args: &[&OsStr], counted: &str, size: u64) -> Result<f64> {
        let cmd = Cmd::new("curl").args(["-sSf", "-K"]).arg(self.config).args(args).deadline(DEADLINE);
        let said = cmd.args(["-o", "/dev/null", "-w", &format!("%{{{counted}}} %{{time_total}}")]).ok()?;
        let (bytes, seconds) = said.split_once(' ').with_context(|| format!("curl said {said:?}"))?;
        ensure!(bytes == size.to_string(), "{bytes} of {size} bytes went over");
        Ok(size as f64 / 1e6 / seconds.parse::<f64>().with_context(|| format!("curl said {said:?}"))?)
    }

    fn up(&self, file: &Path, url: &str, size: u64) -> Result<f64> {
        self.run(&["-T".as_ref(), file.as_ref(), url.as_ref()], "size_upload", size)
    }

    fn down(&self, url: &str, size: u64) -> Result<f64> {
        self.run(&[url.as_ref()], "size_download", size)
    }

    /// Fetches it once more and compares the bytes.
    fn same(&self, url: &str, file: &Path) -> Result<()> {
        let script = r#"curl -sSfK "$CONFIG" "$URL" | cmp - "$FILE""#;
        let cmd = Cmd::bash(Path::new("/"), script).env("CONFIG", self.config).env("URL", url);
        cmd.env("FILE", file).deadline(DEADLINE).ok().with_context(|| format!("{url} has other bytes"))?;
        Ok(())
    }
}
