//! Tests that need a process of their own: the test binary runs itself again for one test.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Names the test whose body the process is to run.
const MARK: &str = "SYSLET_TEST_CHILD";
/// What a body that came to its end has said.
const DONE: &str = "[child: done]";
/// No child may take longer.
const LIMIT: Duration = Duration::from_secs(90);

/// True in such a process.
pub(super) fn is_one() -> bool {
    std::env::var_os(MARK).is_some()
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) timed_out: bool,
}

impl Ended {
    /// Fails unless the body came to its end; passes on what it printed.
    pub(crate) fn expect_done(&self) {
        assert!(!self.timed_out, "the child hangs: {self:?}");
        assert!(self.code == Some(0) && self.stdout.contains(DONE), "the child failed: {self:#?}");
        self.lines(super::SKIPPED).for_each(super::note_skip);
    }

    /// The lines that begin with `mark`, without it.
    pub(crate) fn lines<'a>(&'a self, mark: &'a str) -> impl Iterator<Item = &'a str> {
        self.stdout.lines().filter_map(move |line| line.trim().strip_prefix(mark))
    }
}

/// A test run in a process of its own.
#[derive(Debug, Default)]
pub(crate) struct Child {
    vars: Vec<(&'static str, String)>,
    captured: bool,
}

impl Child {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With this environment variable.
    pub(crate) fn var(mut self, name: &'static str, value: impl ToString) -> Self {
        self.vars.push((name, value.to_string()));
        self
    }

    /// With the output of the test captured by the harness, and the body ending as a test does.
    pub(crate) fn captured(mut self) -> Self {
        self.captured = true;
        self
    }

    /// Runs `body` in a child. `path` is the full name of the calling test. `None` in the child, after
    /// the body, if output is captured.
    pub(crate) fn run(self, path: &str, body: fn()) -> Option<Ended> {
        if std::env::var(MARK).is_ok_and(|mark| mark == path) {
            body();
            if self.captured {
                return None;
            }
            println!("\n{DONE}");
            std::io::stdout().flush().expect("stdout is open");
            super::calls::end_process();
        }
        let mut command = Command::new(std::env::current_exe().expect("the test has a file"));
        command.args(["--exact", path, "--test-threads=1"]).env(MARK, path);
        if !self.captured {
            command.arg("--nocapture");
        }
        command.envs(self.vars).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(watch(command.spawn().expect("the test binary can be run")))
    }
}

fn watch(mut child: std::process::Child) -> Ended {
    let mut out = child.stdout.take().expect("stdout is piped");
    let mut err = child.stderr.take().expect("stderr is piped");
    let out = thread::spawn(move || read_all(&mut out));
    let err = thread::spawn(move || read_all(&mut err));
    let deadline = Instant::now() + LIMIT;
    let (status, timed_out) = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break (status, false);
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            break (child.wait().expect("a child can be waited for"), true);
        }
        thread::sleep(Duration::from_millis(2)); // paces the polling
    };
    Ended {
        code: status.code(),
        signal: status.signal(),
        stdout: out.join().expect("reading does not panic"),
        stderr: err.join().expect("reading does not panic"),
        timed_out,
    }
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
