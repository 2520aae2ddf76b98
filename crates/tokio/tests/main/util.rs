//! Runtimes, gates and folders.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// How long something that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// False, with a line that says so, if closures cannot run inline here.
#[track_caller]
pub(crate) fn inline_possible(what: &str) -> bool {
    let probe = syslet::probe().expect("attaching works or says why not");
    if let Some(why) = &probe.unsupported {
        syslet_testfs::skip(&format!("{what}: calls cannot run inline here: {why}"));
    }
    probe.unsupported.is_none()
}

pub(crate) fn multi_thread(workers: usize) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.expect("a runtime can be built")
}

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// Runs the future on a worker of a runtime of its own.
pub(crate) fn on_worker<F>(workers: usize, future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = multi_thread(workers);
    runtime.block_on(async { timely(tokio::spawn(future)).await.expect("the task does not panic") })
}

/// The future's output, which must come.
pub(crate) async fn timely<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this does not hang")
}

/// Runs `one` until it answers true: what may be disturbed by a busy machine now and then, but not always.
pub(crate) async fn once_in<F: Future<Output = bool>>(times: usize, mut one: impl FnMut() -> F) {
    for _ in 0..times {
        if one().await {
            return;
        }
    }
    panic!("not once in {times} times");
}

/// Closed at first; whoever passes waits for it to be opened.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(false), Condvar::new())
    }

    pub(crate) fn open(&self) {
        *self.0.lock().expect("nobody panics with it") = true;
        self.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let begun = Instant::now();
        let mut open = self.0.lock().expect("nobody panics with it");
        while !*open {
            assert!(begun.elapsed() < PATIENCE, "the gate is never opened");
            open = self.1.wait_timeout(open, PATIENCE).expect("nobody panics with it").0;
        }
    }
}

/// A new folder, removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("syslet-tokio-test-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                // Left by a process that was killed, whose number this one has.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("a folder can be made");
                    return Self(path);
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
