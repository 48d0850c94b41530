//! A mount's life: checked, mounted, served by threads, and ended with everything saved.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fuser::{Config, Session, SessionUnmounter};
use lattice_engine::node::Node;
use lattice_engine::store::Handle;
use parking_lot::{Condvar, Mutex};

use super::adapter::Adapter;
use super::check::{check_mount_point, mounted_at};
use super::habits::Habits;
use super::invalidate::Caches;
use super::slow::Slow;
use super::sys::{self, MountError, io_on};
use super::through::Through;
use crate::ops::volume::Volume;
use crate::ops::{Background, Fs, What};

/// Threads that serve requests. One: with more, the kernel hands each request to the one that has slept longest, and a
/// single program that creates files pays a wake-up on another CPU for every call (measured on two cores: creating 4 KiB
/// files is twice as fast with one). What may take long goes to `slow`.
const THREADS: usize = 1;
/// How long the users of a mount that was detached while in use may go on.
const LINGER: Duration = Duration::from_secs(2);

/// What to mount, where and for whom.
#[derive(Debug, Clone)]
pub struct MountOptions {
    pub dir: PathBuf,
    pub what: Shown,
    /// Every user of the machine may enter, as permissions allow. Otherwise only the daemon's own.
    pub allow_other: bool,
    pub read_only: bool,
    /// Let the kernel read large files by itself where it can.
    pub passthrough: bool,
}

/// What a mount shows.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A directory per store, and a symlink per name.
    All(Node),
    /// One store's tree, with its name for the mount table.
    One(Handle, String),
}

/// A mounted directory, served until it is unmounted from here or from outside. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    fs: Arc<Fs>,
    threads: Arc<Threads>,
    session: Option<JoinHandle<()>>,
    end: Arc<End>,
    /// By fusermount3.
    unmounter: Option<SessionUnmounter>,
    background: Option<Background>,
    through: Arc<Through>,
}

/// Whether the session has ended.
#[derive(Debug, Default)]
struct End {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl End {
    fn set(&self) {
        *self.ended.lock() = true;
        self.changed.notify_all();
    }

    /// False when `timeout` passed first.
    fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut ended = self.ended.lock();
        match timeout {
            None => self.changed.wait_while(&mut ended, |e| !*e),
            Some(t) => drop(self.changed.wait_while_for(&mut ended, |e| !*e, t)),
        }
        *ended
    }
}

/// Those that follow the stores.
#[derive(Debug, Default)]
struct Threads {
    stop: AtomicBool,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let handle = std::thread::Builder::new().name(name.into()).spawn(run)?;
        self.handles.lock().push(handle);
        Ok(())
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Taken out first: a thread may be starting another one.
        loop {
            let handles = std::mem::take(&mut *self.handles.lock());
            if handles.is_empty() {
                return;
            }
            for handle in handles {
                // A panic there was reported when it happened.
                let _ = handle.join();
            }
        }
    }
}

impl Mount {
    /// Mounts. When it returns the kernel has shaken hands: the first access works.
    ///
    /// # Errors
    /// What can't be mounted on and why; what is missing on this machine and how to get it.
    pub fn start(options: MountOptions) -> Result<Self, MountError> {
        let dir = check_mount_point(&options.dir)?;
        let (what, source, data_dir) = match options.what {
            Shown::All(node) => {
                let data_dir = node.data_dir().to_path_buf();
                (What::All(node), "lattice".to_owned(), data_dir)
            }
            Shown::One(handle, name) => {
                let data_dir = handle.content().staging().to_path_buf();
                (What::One(handle), format!("lattice:{name}"), data_dir)
            }
        };
        let fs = Fs::new(what, data_dir);
        let threads = Arc::new(Threads::default());
        let mut mount = Self {
            dir,
            fs,
            threads,
            session: None,
            end: Arc::default(),
            unmounter: None,
            background: None,
            // The kernel lets only root lend it files.
            through: Arc::new(Through::new(options.passthrough && sys::is_root())),
        };
        // The stores are followed before anything can be looked up: no change falls in between.
        mount.follow()?;
        mount.background =
            Some(Background::start(&mount.fs).map_err(io_on("start threads for", &mount.dir))?);
        mount.serve(&source, options.allow_other, options.read_only)?;
        Ok(mount)
    }

    fn follow(&self) -> Result<(), MountError> {
        for volume in self.fs.volumes() {
            follow(&self.fs, &self.threads, &volume).map_err(io_on("follow the stores of", &self.dir))?;
        }
        let (fs, threads) = (self.fs.clone(), self.threads.clone());
        let run = move || {
            let mut started = |volume: &Arc<Volume>| {
                if let Err(e) = follow(&fs, &threads, volume) {
                    tracing::warn!(store = %volume.id, cause = %e, "changes from elsewhere won't be seen");
                }
            };
            fs.follow_stores(&mut started, &|| threads.stop.load(Ordering::Relaxed));
        };
        self.threads.spawn("fs-stores", run).map_err(io_on("follow the stores of", &self.dir))
    }

    fn serve(&mut self, source: &str, allow_other: bool, read_only: bool) -> Result<(), MountError> {
        let through = self.through.clone();
        let (fs, slow, habits) = (self.fs.clone(), Slow::default(), Habits::default());
        let adapter = Adapter { fs, slow, through, habits };
        let session = if sys::is_root() {
            let device = sys::mount(&self.dir, source, allow_other, read_only)?;
            let mut config = Config::default();
            config.acl = sys::acl(allow_other);
            threaded(&mut config);
            let session = Session::from_fd(adapter, device, config.acl, config);
            session
                .inspect_err(|_| drop(sys::unmount(&self.dir, true)))
                .map_err(io_on("mount on", &self.dir))?
        } else {
            drop(sys::open_device()?);
            if !sys::has_fusermount() {
                return Err(MountError::NoFusermount);
            }
            let mut config = sys::user_config(source, allow_other, read_only);
            threaded(&mut config);
            let mut session = Session::new(adapter, &self.dir, &config).map_err(sys::user_error)?;
            self.unmounter = Some(session.unmount_callable());
            session
        };
        self.fs.set_kernel(Box::new(Caches(session.notifier())));
        let (end, dir) = (self.end.clone(), self.dir.clone());
        let run = move || {
            if let Err(e) = session.run() {
                tracing::warn!(dir = %dir.display(), cause = %e, "the mount ended with an error");
            }
            end.set();
        };
        let thread = std::thread::Builder::new().name("fuse".into()).spawn(run);
        self.session = Some(thread.map_err(io_on("start threads for", &self.dir))?);
        Ok(())
    }

    /// Where, as in the mount table.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the kernel reads large files by itself.
    pub fn has_passthrough(&self) -> bool {
        self.through.is_on()
    }

    /// Returns when it was unmounted, from wherever.
    pub fn wait(&self) {
        self.end.wait(None);
    }

    /// Whether it was unmounted, from wherever.
    pub fn has_ended(&self) -> bool {
        *self.end.ended.lock()
    }

    /// Saves everything and unmounts, unless somebody uses it.
    ///
    /// # Errors
    /// `Busy`, with the mount as it was; `Unsaved` after unmounting; what unmounting says.
    #[allow(clippy::result_large_err, reason = "once per mount")]
    pub fn unmount_if_idle(self) -> Result<(), (Option<Self>, MountError)> {
        let saved = self.fs.save_all();
        if !self.has_ended()
            && let Err(e) = sys::unmount(&self.dir, false)
        {
            return Err((Some(self), e));
        }
        // Its threads notice a moment later.
        self.end.wait(Some(LINGER));
        let dir = self.dir.clone();
        drop(self);
        saved.map_err(|_| (None, MountError::Unsaved(dir)))
    }

    /// Saves everything and unmounts. Who still uses it is cut off after a moment.
    ///
    /// # Errors
    /// `Unsaved`, after unmounting all the same; what unmounting says.
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), MountError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let mut saved = self.fs.save_all();
        let mut unmounted = Ok(());
        if !self.has_ended() {
            let mounted = mounted_at(&self.dir).ok().flatten();
            unmounted = match sys::unmount(&self.dir, false) {
                Err(MountError::Busy(_)) => sys::unmount(&self.dir, true),
                other => other,
            };
            if !self.end.wait(Some(LINGER)) {
                saved = saved.and(self.fs.save_all());
                sys::abort(&self.dir, mounted.as_ref());
                self.end.wait(Some(LINGER));
            }
        }
        if self.has_ended() {
            // A panic there was reported when it happened.
            let _ = session.join();
        }
        self.threads.stop();
        self.background = None;
        saved = saved.and(self.fs.save_all());
        // It has nothing left to unmount; as root there is none.
        drop(self.unmounter.take());
        unmounted?;
        saved.map_err(|_| MountError::Unsaved(self.dir.clone()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.session.is_none() {
            self.threads.stop();
        }
        if let Err(e) = self.finish() {
            tracing::warn!(dir = %self.dir.display(), cause = %e, "unmounting");
        }
    }
}

fn threaded(config: &mut Config) {
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
}

/// Starts the thread that follows a store, from its present state on.
fn follow(fs: &Arc<Fs>, threads: &Arc<Threads>, volume: &Arc<Volume>) -> std::io::Result<()> {
    let live = volume.handle.live();
    let (fs, threads, volume) = (fs.clone(), threads.clone(), volume.clone());
    let stop = threads.clone();
    threads.spawn("fs-watch", move || fs.follow(&volume, &live, &|| stop.stop.load(Ordering::Relaxed)))
}
