//! The same work by etcd, as Debian's etcd-server has it: one member on loopback, on the same disk. It is asked through its
//! JSON gateway, over the same kind of connection and by the same clients; gRPC would cost it less. Its writes are durable
//! always. Its reads are serializable, as a member answers them by itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use lattice_tests::fixture::{Http, have, until};
use serde_json::{Value, json};

use super::client::{Answer, CLIENTS, Client, Nth, rate};
use crate::figure::Beside;
use crate::programs::{Running, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running one. It ends with it.
#[derive(Debug)]
pub struct Etcd {
    http: Http,
    _process: Running,
}

impl Etcd {
    /// With its data in `dir`, and ready; `None`, and says so, where there is none.
    pub fn start(dir: &Path, work: &str) -> Result<Option<Self>> {
        if !have("etcd") {
            eprintln!("skipped: etcd beside {work}: it isn't installed (Debian's etcd-server)");
            return Ok(None);
        }
        let [clients, peers] = [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(dir).args(["--name", "one", "--log-level", "error"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("one={peers}")]);
        let process = Running::start(&mut command)?;
        let http = Http::at(&clients)?;
        until("etcd is ready", PATIENCE, || {
            let healthy = http.get("/health").is_ok_and(|answer| answer.status == 200);
            Ok(healthy.then_some(()))
        })?;
        Ok(Some(Self { http, _process: process }))
    }

    /// What it makes of a work.
    pub fn figure(value: f64) -> Beside {
        Beside { program: "etcd (JSON gateway)", value }
    }

    fn request(&self, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let head =
            self.http.head("POST", path, &[("Content-Type", "application/json")], Some(body.len() as u64));
        (head + &body).into_bytes()
    }

    fn put(&self, key: &str, value: &str) -> Vec<u8> {
        self.request("/v3/kv/put", &json!({ "key": BASE64.encode(key.as_bytes()), "value": value }))
    }

    /// Gives it the values that are read.
    pub fn fill(&self, values: &[Vec<u8>]) -> Result<()> {
        let mut client = Client::connect(&self.http)?;
        for (i, value) in values.iter().enumerate() {
            let answer = client.ask(&self.put(&format!("get/{i}"), &BASE64.encode(value)))?;
            ensure!(answer.status == 200, "{answer}");
        }
        Ok(())
    }

    /// Reads a second; `which` value is read by whom.
    pub fn gets(&self, time: Duration, which: impl Fn(Nth) -> usize + Sync) -> Result<f64> {
        let asked = |i| json!({ "key": BASE64.encode(format!("get/{i}").as_bytes()), "serializable": true });
        // The answers are long enough for one value, and say that it is there.
        let right =
            |_, answer: &Answer<'_>| answer.status == 200 && answer.body.ends_with(br#""count":"1"}"#);
        rate(&self.http, CLIENTS, time, |nth| self.request("/v3/kv/range", &asked(which(nth))), right)
            .context("etcd")
    }

    /// Writes a second, under new keys.
    pub fn puts<'v>(
        &self,
        time: Duration,
        round: usize,
        value: impl Fn(Nth) -> &'v [u8] + Sync,
    ) -> Result<f64> {
        let put =
            |nth: Nth| self.put(&format!("put/{round}/{}/{}", nth.client, nth.n), &BASE64.encode(value(nth)));
        rate(&self.http, CLIENTS, time, put, |_, answer| answer.status == 200).context("etcd")
    }
}
