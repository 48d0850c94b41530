//! A line between the browser and the daemon that can be cut: connections that stand are closed, new ones end at once.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Line {
    cut: bool,
    open: Vec<TcpStream>,
}

#[derive(Debug)]
pub struct Relay {
    pub at: SocketAddr,
    line: Arc<Mutex<Line>>,
}

impl Relay {
    /// Passes on what comes to `at`, until the test ends.
    pub fn to(daemon: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let at = listener.local_addr()?;
        let line = Arc::new(Mutex::new(Line::default()));
        let shared = line.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One that can't be passed on ends, as one does that comes while the line is cut.
                let _ended = pass(stream, daemon, &shared);
            }
        });
        Ok(Self { at, line })
    }

    pub fn cut(&self) {
        let mut line = self.line.lock();
        line.cut = true;
        for stream in line.open.drain(..) {
            // It may have ended by itself.
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.line.lock().cut = false;
    }
}

fn pass(from: TcpStream, daemon: SocketAddr, line: &Mutex<Line>) -> io::Result<()> {
    let to = TcpStream::connect(daemon)?;
    let mut line = line.lock();
    if line.cut {
        return Ok(());
    }
    line.open.extend([from.try_clone()?, to.try_clone()?]);
    for (from, to) in [(from.try_clone()?, to.try_clone()?), (to, from)] {
        thread::spawn(move || copy(from, to));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // However it ended, the other side is told.
    let _ended = io::copy(&mut from, &mut to);
    let _told = to.shutdown(Shutdown::Write);
}
