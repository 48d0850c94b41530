//! Files written in one mount until the other one reads them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Times, until};
use lattice_tests::random::Random;

use super::{PATIENCE, done, pair, stream, syncthing};
use crate::figure::{Asked, Figure};

/// Between two looks at B, where single milliseconds count.
const LOOK: Duration = Duration::from_micros(100);
const PIECE: usize = 1 << 20;

/// Saves on A, one after the other, until B reads the new bytes.
pub fn save(quick: bool) -> Result<Vec<Figure>> {
    let count = if quick { 10 } else { 400 };
    let peers = pair()?;
    let times = saves(&peers[0].place(""), &peers[1].place(""), count)?;
    done(peers);
    let ms = |percent| times.percentile(percent).as_secs_f64() * 1e3;
    let mut figures = vec![
        Figure::new("mesh: save until read, p50", "ms", ms(50.0), Asked::AtMost(20.0)),
        Figure::new("mesh: save until read, p99", "ms", ms(99.0), Asked::AtMost(100.0)),
    ];
    if let Some(two) = syncthing::two(quick)? {
        // It waits 10 s after a change by default, and 1 s as it is set here: a few saves tell it all.
        let times = saves(two.a(), two.b(), 5)?;
        figures[0].beside = syncthing::figure(times.percentile(50.0).as_secs_f64() * 1e3);
        figures[1].beside = syncthing::figure(times.percentile(99.0).as_secs_f64() * 1e3);
    }
    Ok(figures)
}

fn saves(a: &Path, b: &Path, count: u64) -> Result<Times> {
    let mut times = Times::default();
    for n in 0..count {
        // A few names, so that most saves are of a file that B has read before.
        let name = format!("note-{}", n % 10);
        let text = format!("save {n} {}", "x".repeat(200));
        let path = b.join(&name);
        let began = Instant::now();
        fs::write(a.join(&name), &text)?;
        while !fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            ensure!(began.elapsed() < PATIENCE, "{} never shows save {n}", path.display());
            std::thread::sleep(LOOK);
        }
        times.add(began.elapsed());
    }
    Ok(times)
}

/// Many small files, until all can be read on B.
pub fn many(quick: bool) -> Result<Vec<Figure>> {
    let count: usize = if quick { 200 } else { 10_000 };
    let peers = pair()?;
    let (written, came) = small_files(&peers[0].place(""), &peers[1].place(""), count)?;
    done(peers);
    let rate = |came: Duration| count as f64 / came.as_secs_f64();
    let name = |what: &str| format!("mesh: {count} x 4 KiB, {what}");
    let mut figures = vec![
        Figure::new(name("after the last write"), "1/s", rate(came), Asked::AtLeast(5_000.0)),
        Figure::new(name("from the first write"), "1/s", rate(written + came), Asked::Nothing),
    ];
    if let Some(two) = syncthing::two(quick)? {
        // A tenth of them: it is the rate that counts, and all would take minutes.
        let count = count / 10;
        let (written, came) = small_files(two.a(), two.b(), count)?;
        let rate = |came: Duration| count as f64 / came.as_secs_f64();
        figures[0].beside = syncthing::figure(rate(came));
        figures[1].beside = syncthing::figure(rate(written + came));
    }
    Ok(figures)
}

/// How long writing took, and then the rest until all are readable.
fn small_files(a: &Path, b: &Path, count: usize) -> Result<(Duration, Duration)> {
    let bytes = Random::new(4).bytes(4 << 10);
    let began = Instant::now();
    fs::create_dir(a.join("many"))?;
    for n in 0..count {
        fs::write(a.join("many").join(n.to_string()), &bytes)?;
    }
    let written = began.elapsed();
    let there = b.join("many");
    let last = there.join((count - 1).to_string());
    let readable = |path: &Path| fs::read(path).is_ok_and(|found| found == bytes);
    until("all files are there", PATIENCE, || {
        let listed = readable(&last) && fs::read_dir(&there).is_ok_and(|dir| dir.count() == count);
        // What is listed may still be under another name: syncthing's are, until they are whole.
        let all = listed && (0..count).all(|n| readable(&there.join(n.to_string())));
        Ok(all.then_some(()))
    })?;
    let came = began.elapsed() - written;
    Ok((written, came.max(Duration::from_micros(1))))
}

/// One large file from its close on A until it has been read on B, beside a bare stream.
pub fn large(quick: bool) -> Result<Vec<Figure>> {
    let size: u64 = if quick { 16 << 20 } else { 1 << 30 };
    let bare = stream::rate(size)?;
    let peers = pair()?;
    let came = large_file(&peers[0].place("large"), peers[1].place("large"), size)?;
    done(peers);
    let rate = |came: Duration| size as f64 / 1e6 / came.as_secs_f64();
    let mut ours = Figure::new(format!("mesh: {} MiB file", size >> 20), "MB/s", rate(came), Asked::Nothing);
    if let Some(two) = syncthing::two(quick)? {
        ours.beside =
            syncthing::figure(rate(large_file(&two.a().join("large"), two.b().join("large"), size)?));
    }
    let share = Figure::new("mesh: of a bare iroh stream", "", rate(came) / bare, Asked::AtLeast(0.4));
    Ok(vec![ours, Figure::new("mesh: a bare iroh stream", "MB/s", bare, Asked::Nothing), share])
}

fn large_file(a: &Path, b: PathBuf, size: u64) -> Result<Duration> {
    let mut random = Random::new(size);
    let mut file = File::create(a)?;
    for _ in 0..size / PIECE as u64 {
        file.write_all(&random.bytes(PIECE))?;
    }
    drop(file);
    let closed = Instant::now();
    until("the large file has its size", PATIENCE, || {
        Ok(fs::metadata(&b).is_ok_and(|meta| meta.len() == size).then_some(()))
    })?;
    let mut file = File::open(&b).context("the large file on B")?;
    let (mut piece, mut read) = (vec![0; PIECE], 0);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => read += n as u64,
        }
    }
    let came = closed.elapsed();
    ensure!(read == size, "the large file has {read} bytes on B");
    ensure!(same(a, &b)?, "the large file has other bytes on B");
    Ok(came)
}

fn same(a: &Path, b: &Path) -> Result<bool> {
    let done = lattice_tests::fixture::Cmd::new("cmp").arg(a).arg(b).run()?;
    Ok(done.code() == 0)
}
