//! Runs the binary, and makes trees.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Every way of working that `scan` offers.
pub(crate) const MODES: [&str; 3] = ["syslet", "sync", "pool"];

/// The binary, with an environment of its own.
pub(crate) fn syslet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syslet"));
    command.stdin(Stdio::null());
    command
}

/// Runs it with these arguments.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    syslet().args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The exit status; what was printed is in the message if it is another.
#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
}

/// The JSON object on standard output.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A temporary directory with a tree in it that has something of everything.
#[derive(Debug)]
pub(crate) struct Tree {
    dir: tempfile::TempDir,
    /// The regular files, with what is in them.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), files: Vec::new() }
    }

    /// 8 directories and 105 files, from empty to a few MiB, with all kinds of names.
    pub(crate) fn sample() -> Self {
        let mut tree = Self::new();
        for directory in 0..4 {
            for file in 0..25 {
                let content = vec![file as u8; file * file * 100];
                tree.file(&format!("d{directory}/s/f{file}"), &content);
            }
        }
        tree.file("large", &(0..3_000_000_u32).map(|n| (n / 7) as u8).collect::<Vec<_>>());
        tree.file("d0/two  spaces ", b"x");
        tree.file("d0/back\\slash", b"y");
        tree.file("d0/new\nline", b"z");
        tree.file("d0/return\r", b"r");
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.files.push((path.clone(), content.to_vec()));
        path
    }

    /// The lines of a manifest of the tree, sorted.
    pub(crate) fn manifest(&self) -> Vec<String> {
        let line = |(path, content): &(PathBuf, Vec<u8>)| {
            let (hash, path) = (blake3::hash(content).to_hex(), path.to_str().unwrap());
            if path.contains(['\\', '\n', '\r']) {
                let escaped = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
                format!("\\{hash}  {escaped}")
            } else {
                format!("{hash}  {path}")
            }
        };
        let mut lines: Vec<_> = self.files.iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, content)| content.len() as u64).sum()
    }
}

/// The lines of a text, sorted.
pub(crate) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.split_terminator('\n').map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
