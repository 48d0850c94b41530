//! The text of a systemd unit (systemd.service(5), systemd.syntax(7)). Pure: what is asked for in, text out.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The service to be described.
#[derive(Debug)]
pub struct Unit {
    pub program: PathBuf,
    /// `--home`, where there is one.
    pub home: Option<PathBuf>,
    /// `mount ...` or `serve ...`, without `--foreground`.
    pub command: Vec<String>,
    pub run_by: RunBy,
}

/// Which service manager, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunBy {
    /// The user's own, from login to logout, or longer with `loginctl enable-linger`.
    User,
    /// The machine's, from boot on, in the name of this user.
    System { name: String, uid: u32 },
}

/// Longer than a kept-alive daemon is ever silent, shorter than a person would wait.
const WATCHDOG_SECONDS: u32 = 60;
/// A state that is made anew from a long log takes its time, and what is open at the end is saved.
const START_SECONDS: u32 = 600;
const STOP_SECONDS: u32 = 60;
/// Bad settings, no data directory yet, one that another process has: trying again changes none of them.
const HOPELESS: &str = "2 10 11";
/// What root's daemon can do without. Nothing here that gives the service a view of the file system of its own
/// (ProtectSystem=, PrivateTmp= and the like): what it mounts would be mounted for nobody else.
const HARDENED: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH
DevicePolicy=closed
DeviceAllow=/dev/fuse rw
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount
SystemCallErrorNumber=EPERM";
/// Where a daemon of the machine's own keeps its data, as systemd makes it.
const STATE_DIR: &str = "/var/lib/lattice";

impl Unit {
    /// # Errors
    /// A path or an argument that no unit can name: one that isn't UTF-8 or has control characters in it.
    pub fn text(&self) -> Result<String, String> {
        let mut exec = vec![quoted(self.program.as_os_str())?];
        if let Some(home) = &self.home {
            exec.extend(["--home".into(), quoted(home.as_os_str())?]);
        }
        let mut words = self.command.iter();
        exec.extend(words.next().cloned());
        exec.push("--foreground".into());
        for word in words {
            exec.push(quoted(OsStr::new(word))?);
        }
        let mut out = String::from("[Unit]\nDescription=Lattice: replicated stores as directories\n");
        out.push_str("Documentation=man:lattice(1)\n");
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        let own_place = self.home.is_some();
        if let (RunBy::System { .. }, true) = (&self.run_by, own_place) {
            line("After=network.target");
        } else if let RunBy::System { uid, .. } = &self.run_by {
            // Where that user's commands look for the daemon's socket, also before the first login.
            line(&format!("Requires=user-runtime-dir@{uid}.service"));
            line(&format!("After=network.target user-runtime-dir@{uid}.service"));
        }
        line("\n[Service]\nType=notify");
        if let RunBy::System { name, uid } = &self.run_by {
            line(&format!("User={name}"));
            if !own_place {
                line(&format!("Environment=XDG_RUNTIME_DIR=/run/user/{uid}"));
            }
            if self.home.as_deref() == Some(Path::new(STATE_DIR)) {
                line("StateDirectory=lattice\nStateDirectoryMode=0700");
            }
        }
        line(&format!("ExecStart={}", exec.join(" ")));
        line(&format!("TimeoutStartSec={START_SECONDS}"));
        line(&format!("TimeoutStopSec={STOP_SECONDS}"));
        line(&format!("WatchdogSec={WATCHDOG_SECONDS}"));
        line(&format!("Restart=on-failure\nRestartSec=2\nRestartPreventExitStatus={HOPELESS}"));
        // The daemon itself is told to stop, and saves; what it started isn't cut off before.
        line("KillMode=mixed\nUMask=0077");
        if matches!(self.run_by, RunBy::System { uid: 0, .. }) {
            line(HARDENED);
        }
        let target = if self.run_by == RunBy::User { "default.target" } else { "multi-user.target" };
        line(&format!("\n[Install]\nWantedBy={target}"));
        Ok(out)
    }
}

/// A word of a command line, such that systemd takes it as it is: no specifiers, no variables, no escapes.
fn quoted(word: &OsStr) -> Result<String, String> {
    let text = word.to_str().filter(|t| !t.chars().any(char::is_control));
    let text = text.ok_or_else(|| {
        format!("{word:?} can't stand in a unit: it has control characters, or is not UTF-8")
    })?;
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '%' | '$' => write!(out, "{c}{c}"),
            c => write!(out, "{c}"),
        }
        .map_err(|e| e.to_string())?;
    }
    out.push('"');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(run_by: RunBy) -> Unit {
        Unit {
            program: "/usr/bin/lattice".into(),
            home: None,
            command: ["mount", "--", "home", "/home/ada/My 50% $tuff"].map(String::from).into(),
            run_by,
        }
    }

    #[test]
    fn a_user_s_unit_starts_at_login() {
        let text = unit(RunBy::User).text().expect("a unit");
        assert!(text.contains("Type=notify\n") && text.contains("WatchdogSec=60\n"), "{text}");
        assert!(text.ends_with("[Install]\nWantedBy=default.target\n"), "{text}");
        assert!(!text.contains("User="), "{text}");
        let exec = text.lines().find_map(|l| l.strip_prefix("ExecStart=")).expect("a command");
        assert_eq!(exec, r#""/usr/bin/lattice" mount --foreground "--" "home" "/home/ada/My 50%% $$tuff""#);
    }

    #[test]
    fn a_system_s_unit_runs_as_its_user() {
        let text = unit(RunBy::System { name: "ada".into(), uid: 1000 }).text().expect("a unit");
        for line in ["User=ada", "Requires=user-runtime-dir@1000.service", "WantedBy=multi-user.target"] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }

    #[test]
    fn root_s_unit_is_hardened_and_mounts_where_others_see_it() {
        let root = RunBy::System { name: "root".into(), uid: 0 };
        let command = vec!["serve".to_owned()];
        let text = Unit { home: Some(STATE_DIR.into()), command, ..unit(root) }.text().expect("a unit");
        for line in
            ["StateDirectory=lattice", "NoNewPrivileges=yes", "DeviceAllow=/dev/fuse rw", "Type=notify"]
        {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        assert!(
            text.contains("ExecStart=\"/usr/bin/lattice\" --home \"/var/lib/lattice\" serve --foreground\n"),
            "{text}"
        );
        for own_view in
            ["ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernel", "ReadOnlyPaths"]
        {
            assert!(!text.contains(own_view), "{own_view} hides what is mounted from everybody else: {text}");
        }
        assert!(!text.contains("/run/user/0"), "its socket is below its home: {text}");
        let ada = unit(RunBy::System { name: "ada".into(), uid: 1000 }).text().expect("a unit");
        assert!(!ada.contains("NoNewPrivileges"), "fusermount3 is needed, which is setuid: {ada}");
    }

    #[test]
    fn what_no_unit_can_name_is_refused() {
        let newline = Unit { home: Some("/a\nExecStartPre=/bin/false".into()), ..unit(RunBy::User) };
        assert!(newline.text().expect_err("a control character").contains("control characters"));
    }
}
