//! Other programs that run beside ours for a while: each ends with its handle.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A process that is killed, and waited for, when its handle goes.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it with nothing to read, and throws away what it prints.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("can't start {:?}", command.get_program()))?))
    }
}

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; its data is thrown away anyway.
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A line of `/proc/PID/status`, in MB.
pub fn memory(pid: u32, line: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|l| l.split_whitespace().next()).with_context(|| format!("{line} of {pid}"))?;
    Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
}

/// A port of loopback that nobody has, for a program that can't choose one itself.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
