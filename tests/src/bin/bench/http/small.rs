//! Values of 1 KiB, read and written by many clients.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use lattice_tests::fixture::Http;
use lattice_tests::random::Random;

use super::client::{Answer, CLIENTS, Client, Nth, rate};
use super::etcd::Etcd;
use super::floor::{self, Floor};
use super::{Served, Side, disk, in_turn, shares};
use crate::figure::{Asked, Figure};

pub const VALUE: usize = 1 << 10;
/// Different values that there are, and keys that are read.
const VALUES: usize = 256;

fn time(quick: bool) -> Duration {
    Duration::from_millis(if quick { 200 } else { 2_000 })
}

pub fn values() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    (0..VALUES).map(|_| random.bytes(VALUE)).collect()
}

/// Every client begins elsewhere.
fn which(nth: Nth) -> usize {
    (nth.client * (VALUES / CLIENTS) + nth.n) % VALUES
}

pub fn request(server: &Http, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = server.head(method, path, &[], Some(body.len() as u64)).into_bytes();
    request.extend_from_slice(body);
    request
}

/// Puts the values that are read at `get/0` and so on.
pub fn put_all(http: &Http, values: &[Vec<u8>]) -> Result<()> {
    let mut client = Client::connect(http)?;
    for (i, value) in values.iter().enumerate() {
        let answer = client.ask(&request(http, "PUT", &format!("/stores/home/keys/get/{i}"), value))?;
        ensure!(answer.status == 201, "{answer}");
    }
    Ok(())
}

/// Reads beside a handler that returns a constant.
pub fn get(quick: bool, rounds: usize) -> Result<Vec<Figure>> {
    let (time, values) = (time(quick), values());
    let served = Served::start()?;
    let http = &served.http;
    put_all(http, &values)?;
    let gets: Vec<Vec<u8>> =
        (0..VALUES).map(|i| request(http, "GET", &format!("/stores/home/keys/get/{i}"), b"")).collect();
    let floor = Floor::start(&served.peer.beside("floor"))?;
    // With the same token, so that as much is sent and parsed.
    let floor_http = Http { as_whom: http.as_whom.clone(), ..floor.http.clone() };
    let constant = request(&floor_http, "GET", floor::CONSTANT, b"");
    let etcd = Etcd::start(&served.peer.beside("etcd"), "http: get")?;
    if let Some(etcd) = &etcd {
        etcd.fill(&values)?;
    }
    let mut bare = |_| {
        let right = |_, answer: &Answer<'_>| (answer.status, answer.body.len()) == (200, VALUE);
        rate(&floor.http, CLIENTS, time, |_| constant.clone(), right)
    };
    let mut ours = |_| {
        rate(
            http,
            CLIENTS,
            time,
            |nth| gets[which(nth)].clone(),
            |nth, answer| answer.status == 200 && answer.body == values[which(nth)],
        )
    };
    let mut theirs = etcd.as_ref().map(|etcd| move |_| etcd.gets(time, which));
    let mut sides: Vec<Side<'_>> = vec![&mut bare, &mut ours];
    sides.extend(theirs.as_mut().map(|side| side as Side<'_>));
    let medians = in_turn(rounds, served.peer.home(), &mut sides)?;
    served.stop()?;
    let names = ["http: get 1 KiB", "http: an axum constant", "http: get, of an axum constant"];
    let mut rows = shares(names, "1/s", [medians[0], medians[1]], 0.6);
    rows[0].beside = medians.get(2).map(|&rate| Etcd::figure(rate));
    Ok(rows.into())
}

/// Writes under new keys, each client in a directory of its own.
fn puts(http: &Http, values: &[Vec<u8>], round: usize, query: &str, time: Duration) -> Result<f64> {
    let put = |nth: Nth| {
        let path = format!("/stores/home/keys/put/{round}/{}/{}{query}", nth.client, nth.n);
        request(http, "PUT", &path, &values[which(nth)])
    };
    rate(http, CLIENTS, time, put, |_, answer| answer.status == 201)
}

/// Acknowledged once they are logged.
pub fn put(quick: bool, rounds: usize) -> Result<Vec<Figure>> {
    let (time, values) = (time(quick), values());
    let served = Served::start()?;
    let mut ours = |round| puts(&served.http, &values, round, "", time);
    let medians = in_turn(rounds, served.peer.home(), &mut [&mut ours])?;
    served.stop()?;
    Ok(vec![Figure::new("http: put 1 KiB", "1/s", medians[0], Asked::AtLeast(5_000.0))])
}

/// Acknowledged once they survive a power loss, as etcd's always are.
pub fn durable_put(quick: bool, rounds: usize) -> Result<Vec<Figure>> {
    let (time, values) = (time(quick), values());
    let served = Served::start()?;
    let file = served.peer.beside("synced");
    let etcd = Etcd::start(&served.peer.beside("etcd"), "http: durable put")?;
    let mut bare = |_| {
        let rate = disk::rate(&file, CLIENTS, &values[0], time)?;
        fs::remove_file(&file)?;
        Ok(rate)
    };
    let mut ours = |round| puts(&served.http, &values, round, "?durable", time);
    let value = |nth| values[which(nth)].as_slice();
    let mut theirs = etcd.as_ref().map(|etcd| move |round| etcd.puts(time, round, value));
    let mut sides: Vec<Side<'_>> = vec![&mut bare, &mut ours];
    sides.extend(theirs.as_mut().map(|side| side as Side<'_>));
    let medians = in_turn(rounds, served.peer.home(), &mut sides)?;
    served.stop()?;
    let names = ["http: durable put 1 KiB", "http: grouped fdatasync", "http: put, of grouped fdatasync"];
    let mut rows = shares(names, "1/s", [medians[0], medians[1]], 0.5);
    rows[0].beside = medians.get(2).map(|&rate| Etcd::figure(rate));
    Ok(rows.into())
}
