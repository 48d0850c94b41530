//! Event streams: nothing is lost between two of them, many cost little, and none outlives its token.

use std::io::BufRead;
use std::net::TcpStream;
use std::time::Duration;

use lattice_tests::fixture::{Http, read_head, until};

use crate::served::{Served, at};

/// Streams that one client opens, more than there may be; and how many there may be, and connections.
const MANY: usize = 10_000;
const STREAMS: usize = 2048;
const CONNECTIONS: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(20);

/// An open one.
pub struct Stream(std::io::BufReader<TcpStream>);

impl Stream {
    pub fn open(http: &Http, headers: &[(&str, &str)]) -> Self {
        let head = http.head("GET", "/stores/home/events", headers, None);
        let mut stream = http.raw(head.as_bytes()).expect("a connection");
        let answer = read_head(&mut stream).expect("a head");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        Self(stream)
    }

    /// The next event, its id and its data; `None` at the stream's end.
    pub fn next(&mut self) -> Option<(String, String, String)> {
        let (mut event, mut id, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("in time") == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some((name, value)) = line.split_once(": ") {
                match name {
                    "event" => event = value.into(),
                    "id" => id = value.into(),
                    "data" => data = value.into(),
                    _ => {}
                }
            } else if line == "0" {
                return None;
            } else if line.is_empty() && !event.is_empty() {
                return Some((event, id, data));
            }
        }
    }
}

#[test]
fn a_reader_that_comes_back_misses_nothing() {
    let served = Served::new();
    let mut stream = Stream::open(&served.admin, &[]);
    served.admin.put(&at("a"), "1").expect("put");
    let (event, id, data) = stream.next().expect("an event");
    assert_eq!(event, "entry");
    assert!(data.contains("\"key\":\"a\""), "{data}");
    drop(stream);
    for i in 0..600 {
        served.admin.put(&at(&format!("while-away/{i}")), "1").expect("put");
    }
    let mut stream = Stream::open(&served.admin, &[("Last-Event-ID", &id)]);
    for i in 0..600 {
        let (_, _, data) = stream.next().expect("an event");
        assert!(data.contains(&format!("\"key\":\"while-away/{i}\"")), "{data}");
    }
    served.admin.put(&at("live"), "1").expect("put");
    assert!(stream.next().expect("an event").2.contains("\"key\":\"live\""));
    let mut lost = Stream::open(&served.admin, &[("Last-Event-ID", "ffff.ffff")]);
    let (event, _, data) = lost.next().expect("an event");
    assert!(event == "gap" && data.contains("beyond"), "{event} {data}");
    served.passed();
}

#[test]
fn a_stream_ends_with_its_token() {
    let served = Served::new();
    let token = served.peer.token(&["--store", "home"]).expect("a token");
    let mut stream = Stream::open(&served.nobody.by(&token), &[]);
    served.admin.put(&at("a"), "1").expect("put");
    stream.next().expect("an event");
    served.peer.lattice(["token", "revoke", token.split(':').next().expect("an id")]).ok().expect("revoked");
    served.admin.put(&at("secret"), "1").expect("put");
    let (event, _, data) = stream.next().expect("its end is told");
    assert!(event == "error" && !data.contains("secret"), "{event} {data}");
    assert_eq!(stream.next(), None);
    served.passed();
}

#[test]
fn ten_thousand_streams_are_too_many_and_each_is_told_so() {
    let served = Served::new();
    if !more_descriptors(MANY as u64 + 500) {
        println!("skipped: this process can't have {MANY} connections");
        return;
    }
    let head = served.admin.head("GET", "/stores/home/events", &[], None);
    let before = of_daemon(&served, "VmRSS:");
    // Nobody closes anything, so that there are too many connections after a while, too.
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for n in 0..MANY {
        let mut stream = served.admin.raw(head.as_bytes()).expect("a connection");
        let answer = read_head(&mut stream).expect("a head");
        match answer.status {
            200 => open.push(stream),
            503 => {
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{n}");
                assert!(answer.header("retry-after").is_some(), "{n}");
                refused.push(stream);
            }
            status => panic!("{n}: {status}"),
        }
    }
    assert_eq!((open.len(), refused.len()), (STREAMS, MANY - STREAMS));
    let grown = of_daemon(&served, "VmRSS:").saturating_sub(before);
    println!("{STREAMS} streams and {} other connections: {grown} KiB more", CONNECTIONS - STREAMS);
    assert!(grown / STREAMS as u64 <= 64, "{grown} KiB more for {STREAMS} streams");
    assert!(of_daemon(&served, "Threads:") < 600);
    refused.clear();
    let answers = || Ok((served.admin.put(&at("a"), "1")?.status == 201).then_some(()));
    until("others are served when there is room", PATIENCE, answers).expect("they are");
    for stream in [open.swap_remove(0), open.pop().expect("one")] {
        assert!(Stream(stream).next().expect("an event").2.contains("\"key\":\"a\""));
    }
    served.passed();
}

/// Raises the limit as far as it goes; whether there may be so many.
fn more_descriptors(wanted: u64) -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("more descriptors");
    most.is_none_or(|most| most >= wanted)
}

/// A number of `/proc/PID/status`.
fn of_daemon(served: &Served, line: &str) -> u64 {
    let pid = served.peer.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    found.expect("a number")
}
