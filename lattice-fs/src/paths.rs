//! Where things are on this machine: XDG directories, or subdirectories of `LATTICE_HOME`, which overrides them all.
//!
//! Nothing here makes a directory; whoever first writes into one does, with mode 0700.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Serialize;

/// The name of the daemon's socket in the runtime directory.
const SOCKET: &str = "lattice.sock";

/// Why the places can't be told.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    #[error("the home directory is unknown: set HOME, or LATTICE_HOME to a directory for Lattice")]
    NoHome,
    #[error("LATTICE_HOME is {0:?} and can't be made absolute: {1}")]
    BadHome(PathBuf, std::io::Error),
}

/// The directories of one installation. All absolute.
#[derive(Debug, Clone, Serialize)]
pub struct Paths {
    pub config: PathBuf,
    pub config_file: PathBuf,
    pub data: PathBuf,
    pub state: PathBuf,
    pub cache: PathBuf,
    pub runtime: PathBuf,
    pub socket: PathBuf,
    pub log: PathBuf,
    pub shell_history: PathBuf,
    /// What `LATTICE_HOME` or `--home` said; a daemon is started with the same.
    #[serde(skip)]
    pub home: Option<PathBuf>,
}

impl Paths {
    /// `home` is `--home` or `LATTICE_HOME`; without it the XDG directories count.
    pub fn resolve(home: Option<&Path>) -> Result<Self, PathsError> {
        match home.filter(|h| !h.as_os_str().is_empty()) {
            Some(home) => {
                let home = std::path::absolute(home).map_err(|e| PathsError::BadHome(home.into(), e))?;
                Ok(Self::under(home))
            }
            None => Self::xdg(),
        }
    }

    fn under(home: PathBuf) -> Self {
        let dirs = ["config", "data", "state", "cache", "run"].map(|d| home.join(d));
        Self { home: Some(home), ..Self::of(dirs) }
    }

    fn xdg() -> Result<Self, PathsError> {
        let base = etcetera::base_strategy::Xdg::new().map_err(|_| PathsError::NoHome)?;
        let state = base.state_dir().unwrap_or_else(|| base.home_dir().join(".local/state"));
        let runtime = base
            .runtime_dir()
            .or_else(run_user)
            .map_or_else(|| state.join("lattice/run"), |d| d.join("lattice"));
        let [config, data, state, cache] =
            [base.config_dir(), base.data_dir(), state, base.cache_dir()].map(|d| d.join("lattice"));
        Ok(Self::of([config, data, state, cache, runtime]))
    }

    fn of([config, data, state, cache, runtime]: [PathBuf; 5]) -> Self {
        Self {
            config_file: config.join("config.toml"),
            socket: runtime.join(SOCKET),
            log: state.join("lattice.log"),
            shell_history: state.join("shell-history"),
            config,
            data,
            state,
            cache,
            runtime,
            home: None,
        }
    }

    /// Each place with its name, in the order that `lattice paths` prints.
    pub fn named(&self) -> [(&'static str, &Path); 9] {
        [
            ("config", &self.config),
            ("config_file", &self.config_file),
            ("data", &self.data),
            ("state", &self.state),
            ("cache", &self.cache),
            ("runtime", &self.runtime),
            ("socket", &self.socket),
            ("log", &self.log),
            ("shell_history", &self.shell_history),
        ]
    }
}

/// `/run/user/<uid>` where it is ours: a cron job or `su` finds the same socket as a login session.
fn run_user() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/run/user/{uid}"));
    let meta = std::fs::metadata(&dir).ok()?;
    (meta.is_dir() && meta.uid() == uid).then_some(dir)
}

/// Makes `dir` and its parents; `dir` itself gets mode 0700.
pub fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = std::fs::metadata(dir)?;
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether the program was called as mount(8)'s helper, for either of the types that mount(8) may be told.
pub fn is_mount_helper(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name().is_some_and(|n| n == "mount.lattice" || n == "mount.fuse.lattice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lattice_home_holds_everything() {
        let paths = Paths::resolve(Some(Path::new("/x"))).expect("absolute");
        assert!(paths.named().iter().all(|(_, p)| p.starts_with("/x")));
        assert_eq!(paths.socket, Path::new("/x/run/lattice.sock"));
    }

    #[test]
    fn a_relative_home_is_made_absolute() {
        let paths = Paths::resolve(Some(Path::new("rel"))).expect("has a cwd");
        assert!(paths.data.is_absolute());
    }

    #[test]
    fn a_private_dir_is_private_even_when_it_was_there() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().expect("tempdir");
        let dir = tmp.path().join("a/b");
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("loosened");
        make_private_dir(&dir).expect("made private");
        assert_eq!(std::fs::metadata(&dir).expect("there").mode() & 0o777, 0o700);
    }

    #[test]
    fn the_mount_helper_is_known_by_its_name() {
        assert!(is_mount_helper(OsStr::new("/sbin/mount.lattice")));
        assert!(is_mount_helper(OsStr::new("/sbin/mount.fuse.lattice")));
        assert!(!is_mount_helper(OsStr::new("/usr/bin/lattice")));
    }
}
