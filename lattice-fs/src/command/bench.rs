//! `lattice bench`: how fast small work is in a directory, in a mount or not. It works in a directory of its own, which
//! it removes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::error::{Error, Result};
use super::output::Table;

/// Measure small work in any directory, in a mount or not.
#[derive(Debug, Args)]
pub struct BenchArgs {
    dir: PathBuf,
    /// How many small files.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    files: u32,
    /// MiB of the large file.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    large: u32,
}

const SMALL: usize = 4096;
const BLOCK: usize = 1 << 20;

/// One kind of work. Times are in microseconds.
#[derive(Debug, Serialize)]
struct Figure {
    work: &'static str,
    operations: usize,
    per_second: f64,
    /// Only of the large file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mib_per_second: Option<f64>,
    p50_us: f64,
    p99_us: f64,
}

pub async fn run(ctx: &Context, args: BenchArgs) -> Result<()> {
    let measured = tokio::task::spawn_blocking(move || measure(&args)).await;
    let figures = measured.map_err(|e| Error::Failed(format!("the measuring broke off: {e}")))??;
    if ctx.out.json {
        return ctx.out.doc(&serde_json::json!({ "figures": figures }));
    }
    let mut table = Table::new(["WORK", ">RATE", ">P50", ">P99"]);
    for f in &figures {
        let rate = match f.mib_per_second {
            Some(mib) => format!("{mib:.0} MiB/s"),
            None => format!("{:.0} /s", f.per_second),
        };
        table.row([f.work.into(), rate, format!("{:.1} µs", f.p50_us), format!("{:.1} µs", f.p99_us)]);
    }
    ctx.out.table(&table)
}

fn measure(args: &BenchArgs) -> Result<Vec<Figure>> {
    let dir = args.dir.join(format!(".lattice-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).map_err(|source| Error::File { path: dir.clone(), done: "made", source })?;
    let figures = work(&dir, args);
    let removed = std::fs::remove_dir_all(&dir);
    let figures = figures.map_err(|source| Error::File { path: dir.clone(), done: "measured in", source })?;
    removed.map_err(|source| Error::File { path: dir, done: "removed", source })?;
    Ok(figures)
}

fn work(dir: &Path, args: &BenchArgs) -> std::io::Result<Vec<Figure>> {
    let small = [7u8; SMALL];
    let block = vec![7u8; BLOCK];
    let path = |i: u32| dir.join(format!("f{i}"));
    let moved = |i: u32| dir.join(format!("g{i}"));
    let mut buffer = vec![0; BLOCK];
    let mut figures = Vec::new();
    let mut each = |work, f: &mut dyn FnMut(u32) -> std::io::Result<()>| -> std::io::Result<()> {
        figures.push(figure(work, times(args.files, f)?, None));
        Ok(())
    };
    each("create + write 4 KiB + close", &mut |i| File::create_new(path(i))?.write_all(&small))?;
    each("stat", &mut |i| std::fs::metadata(path(i)).map(|_| ()))?;
    each("open + read 4 KiB + close", &mut |i| File::open(path(i))?.read_exact(&mut buffer[..SMALL]))?;
    each("rename", &mut |i| std::fs::rename(path(i), moved(i)))?;
    each("unlink", &mut |i| std::fs::remove_file(moved(i)))?;
    let large = dir.join("large");
    let mut file = File::create_new(&large)?;
    let mut written = times(args.large, &mut |_| file.write_all(&block))?;
    let started = Instant::now();
    drop(file);
    // The close is part of it: that is where a file becomes whole.
    written.push(started.elapsed());
    figures.push(figure("write 1 MiB", written, Some(args.large)));
    let mut file = File::open(&large)?;
    let read = times(args.large, &mut |_| file.read_exact(&mut buffer))?;
    figures.push(figure("read 1 MiB", read, Some(args.large)));
    Ok(figures)
}

fn times(n: u32, f: &mut dyn FnMut(u32) -> std::io::Result<()>) -> std::io::Result<Vec<Duration>> {
    (0..n)
        .map(|i| {
            let started = Instant::now();
            f(i).map(|()| started.elapsed())
        })
        .collect()
}

fn figure(work: &'static str, mut times: Vec<Duration>, mib: Option<u32>) -> Figure {
    let total: f64 = times.iter().map(Duration::as_secs_f64).sum::<f64>().max(1e-9);
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e6;
    Figure {
        work,
        operations: times.len(),
        per_second: times.len() as f64 / total,
        mib_per_second: mib.map(|m| f64::from(m) / total),
        p50_us: at(0.50),
        p99_us: at(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let f = figure("x", (1..=101).rev().map(Duration::from_micros).collect(), None);
        assert!((f.p50_us - 51.0).abs() < 1e-6 && (f.p99_us - 100.0).abs() < 1e-6, "{f:?}");
    }

    #[test]
    fn what_it_made_is_gone_afterwards() {
        let tmp = tempfile::tempdir().expect("tempdir");
        let args = BenchArgs { dir: tmp.path().into(), files: 3, large: 1 };
        assert_eq!(measure(&args).expect("measured").len(), 7);
        assert_eq!(std::fs::read_dir(tmp.path()).expect("there").count(), 0);
    }
}
