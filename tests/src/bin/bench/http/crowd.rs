//! Two hundred clients for a minute, reading and then writing: each has a connection, all ask as fast as they are answered.
//! No answer may be a wrong one, and the daemon must take no more memory at the end than soon after the beginning.

use std::time::Duration;

use anyhow::{Context, Result};
use lattice_tests::fixture::Http;

use super::client::{Answer, Nth, rate};
use super::small::{put_all, request, values};
use super::{Served, settle};
use crate::figure::{Asked, Figure};
use crate::programs::memory;

const CLIENTS: usize = 200;
/// What the allocator and the pages of the state may differ by from one moment to the other, in MB.
const FLAT: f64 = 32.0;

/// Rates, and by how much the daemon has grown.
pub fn measure(quick: bool) -> Result<Vec<Figure>> {
    let (warm, time) = if quick { (500, 2_000) } else { (10_000, 60_000) };
    let (warm, time) = (Duration::from_millis(warm), Duration::from_millis(time));
    let served = Served::start()?;
    let values = values();
    put_all(&served.http, &values)?;
    let mut figures = Vec::new();
    for what in [What::Get, What::Put] {
        settle(served.peer.home())?;
        what.ask(&served.http, warm, &values)?;
        let before = served.resident()?;
        let rate = what.ask(&served.http, time, &values)?;
        let grown = (served.resident()? - before).max(0.0);
        let name = format!("http: {CLIENTS} clients {}", what.word());
        figures.push(Figure::new(&name, "1/s", rate, Asked::Nothing));
        figures.push(Figure::new(format!("{name}, memory more"), "MB", grown, Asked::AtMost(FLAT)));
    }
    served.stop()?;
    Ok(figures)
}

#[derive(Debug, Clone, Copy)]
enum What {
    Get,
    Put,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
        }
    }

    /// Answers a second. The first that isn't right ends it.
    fn ask(self, http: &Http, time: Duration, values: &[Vec<u8>]) -> Result<f64> {
        let which = |nth: Nth| (nth.client * 7 + nth.n) % values.len();
        let key = |nth: Nth| format!("/stores/home/keys/get/{}", which(nth));
        match self {
            Self::Get => {
                let right =
                    |nth, answer: &Answer<'_>| answer.status == 200 && answer.body == values[which(nth)];
                rate(http, CLIENTS, time, |nth| request(http, "GET", &key(nth), b""), right)
            }
            // The same bytes again: who reads a key finds the value that it began with.
            Self::Put => {
                let put = |nth| request(http, "PUT", &key(nth), &values[which(nth)]);
                rate(http, CLIENTS, time, put, |_, answer| answer.status == 200)
            }
        }
    }
}

impl Served {
    /// MB of memory that the daemon has.
    fn resident(&self) -> Result<f64> {
        memory(self.peer.pid().context("a daemon")?, "VmRSS")
    }
}
