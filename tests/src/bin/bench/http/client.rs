//! Many clients that ask at once, each over one connection that stays, as fast as they are answered. They read no more of an
//! answer than they must: what they cost is taken from the server on a machine with few CPUs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lattice_tests::fixture::Http;

/// How many there are.
pub const CLIENTS: usize = 16;

/// Longest head and body together.
const ANSWER: usize = 16 << 10;

/// A request: by which client, and how many it had sent before. The same for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Nth {
    pub client: usize,
    pub n: usize,
}

/// Requests a second that were answered, and rightly so.
pub fn rate(
    server: &Http,
    clients: usize,
    time: Duration,
    request: impl Fn(Nth) -> Vec<u8> + Sync,
    right: impl Fn(Nth, &Answer<'_>) -> bool + Sync,
) -> Result<f64> {
    let connections: Result<Vec<Client>> = (0..clients).map(|_| Client::connect(server)).collect();
    let (together, request, right) = (&Barrier::new(clients), &request, &right);
    let run = |client: usize, mut connection: Client| -> Result<(usize, Duration)> {
        together.wait();
        let began = Instant::now();
        let mut n = 0;
        while began.elapsed() < time {
            let nth = Nth { client, n };
            let answer = connection.ask(&request(nth))?;
            ensure!(right(nth, &answer), "{nth:?}: {answer}");
            n += 1;
        }
        Ok((n, began.elapsed()))
    };
    let (mut answered, mut took) = (0, Duration::ZERO);
    thread::scope(|scope| {
        let running: Vec<_> = connections?
            .into_iter()
            .enumerate()
            .map(|(client, connection)| scope.spawn(move || run(client, connection)))
            .collect();
        for client in running {
            let (n, its) = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            (answered, took) = (answered + n, its.max(took));
        }
        anyhow::Ok(())
    })?;
    Ok(answered as f64 / took.as_secs_f64())
}

/// A connection that stays.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back; borrowed from its connection.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl std::fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} bytes: {}", self.status, self.body.len(), String::from_utf8_lossy(self.body))
    }
}

impl Client {
    pub fn connect(server: &Http) -> Result<Self> {
        let stream = server.connect()?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ANSWER] })
    }

    /// Sends a whole request and reads the answer, which must say how long it is.
    pub fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request)?;
        let (mut have, mut head) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[have..])?;
            ensure!(read > 0, "the connection ends, or the answer is longer than {ANSWER} bytes");
            have += read;
            if head.is_none() {
                head = Head::parse(&self.buffer[..have])?;
            }
            if let Some(Head { status, body, end }) = head {
                ensure!(have <= end, "more came than the answer");
                if have == end {
                    return Ok(Answer { status, body: &self.buffer[body..end] });
                }
            }
        }
    }
}

const LENGTH: &[u8] = b"content-length:";

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    /// Where the body begins, and where it ends.
    body: usize,
    end: usize,
}

impl Head {
    /// `None` as long as it isn't whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        // By lines, and of each only as much as tells it from the one that is looked for: this is done for every answer.
        let (mut at, mut length) = (0, None);
        while let Some(end) = bytes[at..].iter().position(|b| *b == b'\n').map(|n| at + n) {
            let line = bytes[at..end].trim_ascii_end();
            if line.is_empty() {
                let status = bytes.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
                let status = status.context("a head begins with a status")?;
                let length: usize = length.context("an answer says how long it is")?;
                return Ok(Some(Self { status, body: end + 1, end: end + 1 + length }));
            }
            if line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) {
                let value = std::str::from_utf8(line[LENGTH.len()..].trim_ascii())?;
                length = Some(value.parse().with_context(|| format!("a length: {value:?}"))?);
            }
            at = end + 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_once_it_is_whole() {
        let whole = b"HTTP/1.1 201 Created\r\nDate: x\r\ncontent-length: 2\r\n\r\nab";
        assert!(Head::parse(&whole[..30]).expect("so far so good").is_none());
        let head = Head::parse(whole).expect("a head").expect("whole");
        assert_eq!((head.status, &whole[head.body..head.end]), (201, b"ab".as_slice()));
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn answers_are_counted_only_if_they_are_right() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Http { at: listener.local_addr().expect("its address"), as_whom: None };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                thread::spawn(move || {
                    let mut request = [0; 64];
                    // Until the client goes.
                    while stream.read(&mut request).is_ok_and(|n| n > 0) {
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let ask = |body: &'static [u8]| {
            let request = |_| b"GET / HTTP/1.1\r\n\r\n".to_vec();
            rate(&server, CLIENTS, Duration::from_millis(20), request, move |_, answer| answer.body == body)
        };
        assert!(ask(b"x").expect("a rate") > 0.0);
        assert!(ask(b"y").is_err());
    }
}
