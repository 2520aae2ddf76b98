//! A server on a directory of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use file_server::{Config, Files, runtime, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// The ways.
pub(crate) const WAYS: [Files; 4] =
    [Files::SysletFs, Files::TokioFs, Files::Unblock, Files::SpawnBlocking];

/// A server that runs. Dropped, it ends at once.
#[derive(Debug)]
pub(crate) struct Served {
    runtime: Runtime,
    address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<std::io::Result<()>>>,
    dir: TempDir,
}

impl Served {
    pub(crate) fn start(files: Files) -> Self {
        Self::start_with(files, Duration::from_secs(30))
    }

    pub(crate) fn start_with(files: Files, grace: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let runtime = runtime(files, 2).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, told) = oneshot::channel();
        let config = Config { root: dir.path().join("root"), files, quiet: true, grace };
        let task = runtime.spawn(serve(listener, config, async move {
            let _ = told.await; // told, or the test is over
        }));
        Self { runtime, address, shutdown: Some(shutdown), task: Some(task), dir }
    }

    /// In every way.
    pub(crate) fn each(test: impl Fn(&Self)) {
        for files in WAYS {
            println!("{files:?}");
            test(&Self::start(files));
        }
    }

    /// The directory that is served.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The directory above, which is not.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a file below the root.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Tells it to end.
    pub(crate) fn shut_down(&mut self) {
        drop(self.shutdown.take());
    }

    /// Waits for its end.
    pub(crate) fn join(&mut self) {
        let task = self.task.take().unwrap();
        self.runtime.block_on(task).unwrap().unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Most bytes that a test needs.
const MOST: usize = 24 << 20;

/// Bytes that differ from place to place.
pub(crate) fn bytes(count: usize) -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut bytes = vec![0; MOST];
        syslet_testfs::fill(0, 0, &mut bytes);
        bytes
    });
    &BYTES[..count]
}
