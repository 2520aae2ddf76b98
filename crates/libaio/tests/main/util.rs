//! What the tests share: the library, C programs, and running commands with either library.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use syslet_dropin::report::{Kind, Summary, VARIABLE, Way};
use syslet_testfs::skip;
use xtask::Install;

/// No command takes longer, but a soak as much more as it was told to: what does, hangs.
pub(crate) fn limit() -> Duration {
    const LIMIT: Duration = Duration::from_secs(240);
    let soak = std::env::var("SYSLET_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    LIMIT + Duration::from_secs(soak.unwrap_or(0))
}

/// Whose library a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    System,
    Ours,
    /// Ours, with the threads that submit attached.
    Attached,
}

/// A folder for what the tests make.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libaio");
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A new folder in it, on a disk and not in memory.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(folder()).expect("a folder can be made")
}

/// Where our `libaio.so.1` is: built once for all tests.
pub(crate) fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = folder().join("lib");
        let mut install = Install::new("/usr".into());
        install.release = !cfg!(debug_assertions);
        let test = std::env::current_exe().expect("the test has a file");
        install.target_dir = test.ancestors().nth(3).map(PathBuf::from);
        install.libaio(&folder).expect("the library can be built");
        folder
    })
}

/// True if a command is there; if not, says so.
#[track_caller]
pub(crate) fn has(command: &str) -> bool {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = places.iter().any(|place| Path::new(place).join(command).exists());
    if !found {
        skip(&format!("there is no {command} here"));
    }
    found
}

/// Compiles a C program of `tests/c` against the system's libaio; `None`, and a line, if that is not installed.
#[track_caller]
pub(crate) fn compile(name: &str) -> Option<PathBuf> {
    if !Path::new("/usr/include/libaio.h").exists() {
        skip("there is no libaio.h here");
        return None;
    }
    /// What is there: others may run it.
    static COMPILED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(format!("{name}.c"));
    let program = folder().join(name);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.iter().any(|known| known == name) {
        return Some(program);
    }
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-pthread"]);
    // Of sanitizers, for instance.
    let more = std::env::var("SYSLET_TEST_CFLAGS").unwrap_or_default();
    cc.args(more.split_whitespace());
    cc.arg(source).arg("-o").arg(&program).arg("-laio");
    finish(&mut cc).assert_good();
    compiled.push(name.to_owned());
    Some(program)
}

/// A command that gets that library.
pub(crate) fn command(library: Library, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("SYSLET_ATTACH");
    match library {
        Library::System => {}
        Library::Ours => {
            command.env("LD_LIBRARY_PATH", self::library());
        }
        Library::Attached => {
            command.env("LD_LIBRARY_PATH", self::library()).env("SYSLET_ATTACH", "1");
        }
    }
    command
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn assert_good(self) -> String {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.output, self.errors);
        self.output
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Finished {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipes = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        pipes.1.read_to_end(&mut text).map(|_| text).unwrap_or_default()
    });
    let output = thread::spawn(move || {
        let mut text = Vec::new();
        pipes.0.read_to_end(&mut text).map(|_| text).unwrap_or_default()
    });
    let status = wait(&mut child).unwrap_or_else(|| panic!("{command:?} hangs"));
    let text = |thread: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().expect("reading does not panic")).into_owned()
    };
    Finished { status, output: text(output), errors: text(errors) }
}

/// Waits for a child's end; if it takes too long it is killed.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    const STEP: Duration = Duration::from_millis(5);
    let end = Instant::now() + limit();
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        thread::sleep(STEP); // there is no wait with a deadline
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    None
}

/// A report of what goes through our library, in commands that are told of it.
#[derive(Debug)]
pub(crate) struct Report(PathBuf);

impl Report {
    /// A new one in a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("report");
        Summary::create(&path).expect("a report can be made");
        Self(path)
    }

    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(VARIABLE, &self.0)
    }

    pub(crate) fn read(&self) -> Summary {
        Summary::read(&self.0).expect("it is one")
    }
}

/// How often something was done, in one way or in all.
pub(crate) fn count(summary: &Summary, kinds: &[Kind], way: Option<Way>) -> u64 {
    let cells = summary.libraries.iter().flat_map(|library| &library.cells);
    let wanted =
        cells.filter(|cell| kinds.contains(&cell.kind) && way.is_none_or(|way| cell.way == way));
    wanted.map(|cell| cell.count).sum()
}
