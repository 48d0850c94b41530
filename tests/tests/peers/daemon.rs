//! A machine of one's own: a home, a mount point, and the daemon on loopback. Whatever happens, the daemon is stopped and the
//! directory unmounted when it goes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lattice_tests::fixture::{Cmd, Finished, Scratch, binary};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Machine {
    scratch: Scratch,
    pub mount: PathBuf,
}

impl Machine {
    /// With nothing on it.
    pub fn bare() -> Result<Self> {
        let scratch = Scratch::new()?;
        let mount = scratch.join("m");
        std::fs::create_dir(&mount)?;
        Ok(Self { scratch, mount })
    }

    /// With a store `home`, mounted.
    pub fn founder() -> Result<Self> {
        let machine = Self::bare()?;
        machine.lattice(["init", "--store", "home"]).ok()?;
        machine.mounts()?;
        Ok(machine)
    }

    /// Another machine that joins by this one, with `home` mounted.
    pub fn invite(&self) -> Result<Self> {
        let other = Self::bare()?;
        other.join(&self.ticket(1)?)?;
        other.mounts()?;
        Ok(other)
    }

    pub fn ticket(&self, uses: u32) -> Result<String> {
        Ok(self.lattice(["invite", "--uses", &uses.to_string()]).ok()?.trim().to_owned())
    }

    pub fn join(&self, ticket: &str) -> Result<String> {
        self.lattice(["join", "-"]).input(ticket).ok()
    }

    /// Mounts `home`.
    pub fn mounts(&self) -> Result<()> {
        self.lattice(["mount", "home"]).arg(&self.mount).ok()?;
        Ok(())
    }

    /// Mounts `home` with no network.
    pub fn mounts_offline(&self) -> Result<()> {
        self.lattice(["mount", "--offline", "home"]).arg(&self.mount).ok()?;
        Ok(())
    }

    pub fn lattice<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let program = binary("lattice").unwrap_or_else(|_| "lattice".into());
        Cmd::new(program)
            .env("LATTICE_HOME", self.home())
            .env("LATTICE_LISTEN", "127.0.0.1")
            .env("LATTICE_NO_MDNS", "1")
            .env("LATTICE_OFFLINE", "")
            .args(args)
    }

    pub fn json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let text = self.lattice(["--json"]).args(args).ok()?;
        serde_json::from_str(text.lines().last().unwrap_or_default()).with_context(|| text.clone())
    }

    pub fn home(&self) -> PathBuf {
        self.scratch.join("h")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        std::fs::write(self.path(name), bytes).with_context(|| format!("{name} can't be written"))
    }

    /// Waits until a file reads like this.
    pub fn reads(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<Duration> {
        let (path, bytes) = (self.path(name), bytes.as_ref());
        let waited = eventually(name, || std::fs::read(&path).is_ok_and(|b| b == bytes));
        waited.with_context(|| format!("the log says\n{}", self.log()))
    }

    /// Stops the daemon, and with it the mount.
    pub fn stop(&self) -> Result<()> {
        self.lattice(["serve", "--stop"]).ok()?;
        Ok(())
    }

    pub fn pid(&self) -> Option<Pid> {
        let status = self.json(&["status"]).ok()?;
        Pid::from_raw(i32::try_from(status["daemon_pid"].as_i64()?).ok()?)
    }

    /// SIGKILL; the dead mount is cleared.
    pub fn kill(&self) -> Result<()> {
        let pid = self.pid().context("a daemon runs")?;
        kill_process(pid, Signal::KILL)?;
        let gone = || rustix::process::test_kill_process(pid).is_err();
        eventually("the daemon's end", gone)?;
        self.clear();
        Ok(())
    }

    fn clear(&self) {
        // Where nothing is mounted there is nothing to clear.
        let _ = unmount(&self.mount, UnmountFlags::DETACH);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home().join("state/lattice.log")).unwrap_or_default()
    }

    /// Runs it to its end, whatever that is.
    pub fn try_lattice(&self, args: &[&str]) -> Result<Finished> {
        self.lattice(args).run()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(pid) = self.pid()
            && self.stop().is_err()
        {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.clear();
    }
}

/// Waits until it is so; gives how long that took.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > DEADLINE {
            bail!("{what}: not within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(began.elapsed())
}

/// The names in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
