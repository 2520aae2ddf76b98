//! Mounting and unmounting.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{BackgroundSession, Config, MountOption, Session};
use rustix::mount::{UnmountFlags, unmount};

use crate::delayed::Delayed;
use crate::faults::{Answer, Fault, Request};
use crate::gate::Gate;
use crate::session::{Script, Served};

/// Threads that answer the kernel. What is delayed needs none.
const THREADS: usize = 2;

/// A file of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the root directory.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A mounted file system. Dropping it unmounts.
#[derive(Debug)]
pub struct TestFs {
    session: Option<BackgroundSession>,
    at: PathBuf,
    counters: Arc<Counters>,
    gate: Arc<Gate>,
    figures: Arc<Gate>,
}

impl TestFs {
    /// Mounts it at a directory that exists.
    ///
    /// # Errors
    ///
    /// If it cannot be mounted: there is no `/dev/fuse`, it may not be opened, mounting is not allowed and
    /// there is no `fusermount3` to do it. Tests that need it are skipped then, with a line that says so.
    pub fn mount(
        at: impl AsRef<Path>,
        files: Vec<File>,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::mount_as(at.as_ref(), files, Box::new(script), false)
    }

    /// The same with files that may be opened to be written to: what is written is taken, and forgotten.
    ///
    /// # Errors
    ///
    /// As [`mount`](Self::mount).
    pub fn mount_for_writing(
        at: impl AsRef<Path>,
        files: Vec<File>,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::mount_as(at.as_ref(), files, Box::new(script), true)
    }

    fn mount_as(at: &Path, files: Vec<File>, script: Script, writes: bool) -> io::Result<Self> {
        let at = at.canonicalize()?;
        let counters = Arc::new(Counters::default());
        let (gate, figures) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let served = Served {
            files,
            script,
            writes,
            counters: Arc::clone(&counters),
            delayed: Delayed::start()?,
            gate: Arc::clone(&gate),
            figures: Arc::clone(&figures),
            // Whole seconds: what is made up of it has no fractions to lose.
            born: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        let mut config = Config::default();
        let name = MountOption::FSName("syslet-testfs".to_owned());
        let access = if writes { MountOption::RW } else { MountOption::RO };
        config.mount_options = vec![name, access, MountOption::NoDev, MountOption::NoSuid];
        config.n_threads = Some(THREADS);
        let session = Session::new(served, &at, &config)?.spawn()?;
        Ok(Self { session: Some(session), at, counters, gate, figures })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// What has been asked for so far.
    pub fn counts(&self) -> Counts {
        self.counters.now()
    }

    /// Holds the answers of reads, but of those that the script delays, and of flushes that are broken off, from now
    /// on.
    pub fn hold(&self) {
        self.gate.shut();
    }

    /// Gives the answers that are held, and holds no more.
    pub fn let_go(&self) {
        self.gate.open();
        self.figures.open();
    }

    /// Holds the answers to statfs(2) from now on: how full it is, and of which kind.
    pub fn hold_figures(&self) {
        self.figures.shut();
    }

    /// What the kernel is told of names and attributes from now on it does not remember.
    pub fn be_forgotten(&self) {
        self.counters.forgotten.store(true, Ordering::Relaxed);
    }

    /// Files that are closed are flushed first, from now on: that takes so long, and the server says that it was
    /// interrupted. Before anything is closed: the kernel remembers that there is nothing to be flushed.
    pub fn break_flushes_off(&self, after: Duration) {
        self.counters.flush_nanos.store(after.as_nanos().max(1) as u64, Ordering::Relaxed);
    }

    /// So many of what is asked for from now on is broken off, as the server says: attributes, and ioctls.
    pub fn break_off(&self, times: u64) {
        self.counters.broken_off.store(times, Ordering::Relaxed);
    }

    /// How many answers are held.
    pub fn held(&self) -> usize {
        self.gate.kept()
    }
}

impl Drop for TestFs {
    fn drop(&mut self) {
        self.let_go(); // whoever waits for one would have the file open for ever
        let unmounted = unmount(&self.at, UnmountFlags::empty());
        if unmounted == Err(rustix::io::Errno::BUSY) {
            // Somebody has a file open: its name goes now, the rest when that is closed.
            let _ = unmount(&self.at, UnmountFlags::DETACH); // nothing more can be done
        }
        let Some(session) = self.session.take() else { return };
        match unmounted {
            Err(rustix::io::Errno::BUSY) => drop(session),
            // fuser unmounts what we may not, and waits for its threads.
            _ => drop(session.umount_and_join()),
        }
    }
}

/// How often something has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Openings that were asked for.
    pub opens: u64,
    /// Reads that were asked for.
    pub reads: u64,
    /// Attributes that were asked for by themselves.
    pub attributes: u64,
    /// Of openings and reads, those that were delayed.
    pub delayed: u64,
    /// Of openings and reads, those that failed.
    pub failed: u64,
    /// Reads that were too short.
    pub shorter: u64,
    /// Flushes that were asked for.
    pub flushes: u64,
    /// Ioctls that were asked for.
    pub ioctls: u64,
    /// Polls that were asked for: one of a mount, as it is told that its files are always ready.
    pub polls: u64,
    /// Writes that were asked for.
    pub writes: u64,
    /// How often statfs(2) was asked for.
    pub figures: u64,
    /// Files that are open now. The kernel tells of a closing a little later.
    pub open: u64,
}

/// [`Counts`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    opens: AtomicU64,
    reads: AtomicU64,
    delayed: AtomicU64,
    failed: AtomicU64,
    shorter: AtomicU64,
    pub(crate) attributes: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) flushes: AtomicU64,
    /// How long a flush takes, which is broken off then; 0: there are none.
    pub(crate) flush_nanos: AtomicU64,
    pub(crate) ioctls: AtomicU64,
    pub(crate) polls: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) figures: AtomicU64,
    /// How many requests are to be broken off.
    broken_off: AtomicU64,
    /// Nothing is to be remembered.
    pub(crate) forgotten: AtomicBool,
}

impl Counters {
    pub(crate) fn count(&self, request: &Request, delay: Duration, fault: Option<Fault>) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match request {
            Request::Open { .. } => add(&self.opens),
            Request::Read { .. } => add(&self.reads),
        };
        if !delay.is_zero() {
            add(&self.delayed);
        }
        match fault {
            Some(Fault::Failed | Fault::Interrupted) => drop(add(&self.failed)),
            Some(Fault::Shorter(_)) => drop(add(&self.shorter)),
            None => {}
        }
    }

    /// True for one of those that are to be broken off.
    pub(crate) fn breaks_off(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.broken_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    fn now(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            opens: get(&self.opens),
            reads: get(&self.reads),
            attributes: get(&self.attributes),
            delayed: get(&self.delayed),
            failed: get(&self.failed),
            shorter: get(&self.shorter),
            flushes: get(&self.flushes),
            ioctls: get(&self.ioctls),
            polls: get(&self.polls),
            writes: get(&self.writes),
            figures: get(&self.figures),
            open: get(&self.open),
        }
    }
}
