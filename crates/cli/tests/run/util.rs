//! The drop-in library, and programs to be run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use syslet_testfs::skip;
use tempfile::TempDir;
use xtask::Install;

use crate::util::assert_code;

/// The folder with the libraries: cargo builds them for nobody else.
pub(crate) fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "syslet-posix-aio", "--target-dir"]);
        build.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert_code(&build.output().unwrap(), 0);
        target.join(if cfg!(debug_assertions) { "debug" } else { "release" })
    })
}

/// A folder with both drop-in libraries.
pub(crate) fn both_libraries() -> TempDir {
    let test = std::env::current_exe().unwrap();
    let mut install = Install::new("/usr".into());
    install.release = !cfg!(debug_assertions);
    install.target_dir = test.ancestors().nth(3).map(Path::to_owned);
    let folder = tempfile::tempdir().unwrap();
    install.libaio(folder.path()).unwrap();
    install.posix_aio(folder.path()).unwrap();
    folder
}

/// `syslet run` of the POSIX drop-in with these options. Signals do what they do by default, also where the
/// tests are run in the background, which has the shell ignore some of them.
pub(crate) fn run(options: &[&str]) -> Command {
    run_with("--posix-aio", libraries(), options)
}

/// The same of a library that is in a folder.
pub(crate) fn run_with(library: &str, folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT,PIPE,TERM", env!("CARGO_BIN_EXE_syslet")]);
    command.args(["run", library]).args(options).arg("--").stdin(Stdio::null());
    command.env("SYSLET_LIBDIR", folder).env_remove("LD_PRELOAD");
    command
}

/// The same of a shell.
pub(crate) fn run_sh(options: &[&str], script: &str) -> Command {
    let mut command = run(options);
    command.args(["sh", "-c", script]);
    command
}

/// A C program that reads by POSIX AIO; see `tests/c/aio.c`.
pub(crate) fn aio(linking: &[&str]) -> PathBuf {
    compiled(&format!("cli-aio{}", linking.concat()), linking)
}

/// The same program by libaio; `None`, and a line, if that is not installed.
#[track_caller]
pub(crate) fn libaio() -> Option<PathBuf> {
    if !Path::new("/usr/include/libaio.h").exists() {
        skip("there is no libaio.h here");
        return None;
    }
    Some(compiled("cli-libaio", &["-DLIBAIO", "-Wl,--no-as-needed", "-laio"]))
}

fn compiled(name: &str, linking: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/aio.c");
    let mut cc = Command::new("cc");
    // One test may compile it while another runs it.
    let fresh = program.with_extension(format!("{:?}", std::thread::current().id()));
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]).args(linking);
    assert_code(&cc.arg("-o").arg(&fresh).arg(source).stdin(Stdio::null()).output().unwrap(), 0);
    std::fs::rename(&fresh, &program).unwrap();
    program
}
