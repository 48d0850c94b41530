//! The text of a systemd unit (systemd.service(5), systemd.syntax(7)). Pure: what is asked for in, text out.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::PathBuf;

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
        if let RunBy::System { uid, .. } = &self.run_by {
            // Where that user's commands look for the daemon's socket, also before the first login.
            line(&format!("Requires=user-runtime-dir@{uid}.service"));
            line(&format!("After=network.target user-runtime-dir@{uid}.service"));
        }
        line("\n[Service]\nType=notify");
        if let RunBy::System { name, uid } = &self.run_by {
            line(&format!("User={name}"));
            line(&format!("Environment=XDG_RUNTIME_DIR=/run/user/{uid}"));
        }
        line(&format!("ExecStart={}", exec.join(" ")));
        line(&format!("TimeoutStartSec={START_SECONDS}"));
        line(&format!("TimeoutStopSec={STOP_SECONDS}"));
        line(&format!("WatchdogSec={WATCHDOG_SECONDS}"));
        line("Restart=on-failure\nRestartSec=2");
        // The daemon itself is told to stop, and saves; what it started isn't cut off before.
        line("KillMode=mixed\nUMask=0077");
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
    fn what_no_unit_can_name_is_refused() {
        let newline = Unit { home: Some("/a\nExecStartPre=/bin/false".into()), ..unit(RunBy::User) };
        assert!(newline.text().expect_err("a control character").contains("control characters"));
    }
}
