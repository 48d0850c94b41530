//! Event streams: nothing is lost between two of them, many cost little, and none outlives its token.

use std::io::BufRead;
use std::net::TcpStream;

use lattice_tests::fixture::{Http, read_answer, read_head};

use crate::served::{Served, at};

/// Streams that one client opens, more than there may be.
const MANY: usize = 2200;

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
fn too_many_streams_are_refused_and_the_others_go_on() {
    let served = Served::new();
    // What the first loop holds open is as many descriptors here.
    let raised = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: raised.maximum, maximum: raised.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).expect("more descriptors");
    let head = served.admin.head("GET", "/stores/home/events", &[], None);
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..MANY {
        let mut stream = served.admin.raw(head.as_bytes()).expect("a connection");
        let answer = read_head(&mut stream).expect("a head");
        match answer.status {
            200 => open.push(stream),
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert_eq!((open.len(), refused), (2048, MANY - 2048));
    let mut stream = served.admin.raw(head.as_bytes()).expect("a connection");
    let answer = read_answer(&mut stream, "GET").expect("an answer");
    assert_eq!(answer.problem().expect("a problem"), "busy");
    assert_eq!(served.admin.put(&at("a"), "1").expect("put").status, 201, "others are served");
    let mut last = Stream(open.pop().expect("one"));
    assert!(last.next().expect("an event").2.contains("\"key\":\"a\""));
    let pid = served.peer.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let threads = status.lines().find_map(|l| l.strip_prefix("Threads:")?.trim().parse::<u32>().ok());
    assert!(threads.expect("a number") < 600, "{threads:?} threads");
    served.passed();
}
