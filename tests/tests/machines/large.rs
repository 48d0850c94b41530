//! Large files: they arrive whole, a cut link costs only what was under way, and what is there already isn't sent again.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::{Cluster, until, until_apart};
use lattice_tests::random::Random;

use super::networks;

const SIZE: u64 = 256 << 20;
const PIECE: usize = 1 << 20;
/// For a file of this size on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes `SIZE` random bytes after a first few.
fn write(path: &Path, first: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(first)?;
    let mut random = Random::new(256);
    for _ in 0..SIZE / PIECE as u64 {
        file.write_all(&random.bytes(PIECE))?;
    }
    Ok(())
}

/// Whether a file holds the same bytes as [`write`] wrote.
fn holds(path: &Path, first: &[u8]) -> Result<bool> {
    let mut file = File::open(path)?;
    let mut random = Random::new(256);
    let mut found = vec![0; first.len()];
    file.read_exact(&mut found)?;
    if found != first {
        return Ok(false);
    }
    let mut piece = vec![0; PIECE];
    for _ in 0..SIZE / PIECE as u64 {
        file.read_exact(&mut piece)?;
        if piece != random.bytes(PIECE) {
            return Ok(false);
        }
    }
    Ok(file.read(&mut piece)? == 0)
}

/// Until B's mount has a file of so many bytes, and all of it can be read.
fn awaits(cluster: &Cluster, name: &str, first: &'static [u8]) -> Result<()> {
    let path = cluster.peers[1].place(name);
    let len = SIZE + first.len() as u64;
    until_apart(&format!("B has {name} whole"), PATIENCE, move || {
        let there = fs::metadata(&path).is_ok_and(|meta| meta.len() == len);
        Ok(if there { Some(holds(&path, first)) } else { None })
    })?
    .and_then(|same| {
        ensure!(same, "{name} has other bytes on B");
        Ok(())
    })
}

#[test]
fn a_large_file_arrives_also_over_a_cut_link_and_only_what_is_new_crosses_the_wire() -> Result<()> {
    if !networks() {
        return Ok(());
    }
    let cluster = Cluster::switch(2, 2)?;
    let a = &cluster.peers[0];
    let received = || Ok::<u64, anyhow::Error>(cluster.network.traffic(1)?.0);
    let at_first = received()?;
    let began = Instant::now();
    write(&a.place("large"), b"")?;
    let written = began.elapsed();
    // In the middle of it the plug is pulled.
    until("half of it is there", PATIENCE, || Ok((received()? > at_first + SIZE / 3).then_some(())))?;
    cluster.network.set_link(1, false)?;
    let cut_at = received()? - at_first;
    ensure!(cut_at < SIZE, "all {cut_at} bytes were there before the plug could be pulled");
    std::thread::sleep(Duration::from_secs(2));
    cluster.network.set_link(1, true)?;
    let resumed = Instant::now();
    awaits(&cluster, "large", b"")?;
    let (whole, bytes) = (resumed.elapsed(), received()? - at_first);
    println!(
        "256 MiB: written in {written:?}; cut after {} MiB, whole {whole:?} after the plug was back, {} MiB received in all",
        cut_at >> 20,
        bytes >> 20
    );
    // The packets themselves, and what was under way when the link was cut.
    ensure!(bytes < SIZE + SIZE / 8, "{} MiB crossed the wire for 256 MiB", bytes >> 20);

    let before = received()?;
    write(&a.place("large.new"), b"!")?;
    fs::rename(a.place("large.new"), a.place("large"))?;
    awaits(&cluster, "large", b"!").context("one byte more at the head")?;
    let bytes = received()? - before;
    println!("one byte inserted at the head of 256 MiB: {} KiB crossed the wire", bytes >> 10);
    ensure!(bytes < 1 << 20, "{bytes} bytes crossed the wire for one byte");
    cluster.passed();
    Ok(())
}
