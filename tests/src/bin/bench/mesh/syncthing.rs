//! The same work by syncthing, as Debian has it, for comparison: two of them on loopback that know each other's address.
//! Discovery, relays and everything else that would reach out is off. Its watcher gathers changes for a second, the
//! least that it takes; lattice gathers nothing.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use lattice_tests::fixture::{Cmd, Scratch, have, until};

use super::PATIENCE;
use crate::figure::Beside;
use crate::programs::{Running, free_port};

/// Two running ones that share a directory each. They end with it.
#[derive(Debug)]
pub struct Two {
    sides: [Side; 2],
    // Last: it is removed when all else is gone.
    _scratch: Scratch,
}

#[derive(Debug)]
struct Side {
    dir: PathBuf,
    _process: Running,
}

impl Two {
    pub fn a(&self) -> &Path {
        &self.sides[0].dir
    }

    pub fn b(&self) -> &Path {
        &self.sides[1].dir
    }
}

/// What it makes of a work.
pub fn figure(value: f64) -> Option<Beside> {
    Some(Beside { program: "syncthing", value })
}

/// Two of them, connected; `None` where there is no syncthing, and in a quick run.
pub fn two(quick: bool) -> Result<Option<Two>> {
    if quick || !have("syncthing") {
        return Ok(None);
    }
    let scratch = Scratch::new()?;
    let homes = ["a", "b"].map(|name| scratch.join(&format!("{name}-home")));
    let dirs = ["a", "b"].map(|name| scratch.join(name));
    let mut ids = Vec::new();
    for (home, dir) in homes.iter().zip(&dirs) {
        fs::create_dir_all(dir.join(".stfolder"))?;
        Cmd::new("syncthing")
            .args(["generate", "--no-default-folder", "--skip-port-probing", "--home"])
            .arg(home)
            .ok()?;
        ids.push(Cmd::new("syncthing").arg("--device-id").arg("--home").arg(home).ok()?.trim().to_owned());
    }
    let ports = [free_port()?, free_port()?];
    let mut sides = Vec::new();
    for (n, (home, dir)) in homes.iter().zip(&dirs).enumerate() {
        fs::write(home.join("config.xml"), config(dir, &ids, ports, ports[n]))?;
        let mut command = Command::new("syncthing");
        command.args(["serve", "--no-browser", "--no-restart", "--no-upgrade", "--home"]).arg(home);
        sides.push(Side { dir: dir.clone(), _process: Running::start(&mut command)? });
    }
    let sides: [Side; 2] = sides.try_into().map_err(|_| anyhow::anyhow!("two sides"))?;
    fs::write(sides[0].dir.join("probe"), "x")?;
    until("syncthing has synced a first file", PATIENCE, || {
        Ok(sides[1].dir.join("probe").exists().then_some(()))
    })?;
    Ok(Some(Two { sides, _scratch: scratch }))
}

fn config(dir: &Path, ids: &[String], ports: [u16; 2], own: u16) -> String {
    let mut text = format!(
        "<configuration version=\"35\">\n<folder id=\"home\" path=\"{}\" type=\"sendreceive\" rescanIntervalS=\"3600\" \
         fsWatcherEnabled=\"true\" fsWatcherDelayS=\"1\">\n",
        dir.display()
    );
    // Writing to a String can't fail.
    for id in ids {
        let _written = writeln!(text, "<device id=\"{id}\"></device>");
    }
    text.push_str("</folder>\n");
    for (id, port) in ids.iter().zip(ports) {
        let _written =
            writeln!(text, "<device id=\"{id}\"><address>tcp://127.0.0.1:{port}</address></device>");
    }
    let off = [
        "globalAnnounceEnabled",
        "localAnnounceEnabled",
        "relaysEnabled",
        "natEnabled",
        "startBrowser",
        "crashReportingEnabled",
    ];
    let off: String = off.iter().map(|name| format!("<{name}>false</{name}>")).collect();
    let _written = writeln!(
        text,
        "<gui enabled=\"false\"></gui>\n<options><listenAddress>tcp://127.0.0.1:{own}</listenAddress>{off}\
         <urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH></options>\n</configuration>"
    );
    text
}
