//! What the tests share: the installed tree, and compiling and running programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use xtask::Install;

/// No program takes longer: what does, hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// As strict as C compilers are asked to be.
const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-g", "-pthread"];

/// How a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    Static,
    Shared,
    /// As everything else is: `-static`.
    Alone,
    /// Not at all: it loads the library itself.
    Loaded,
}

/// Ways of working, by the name that the programs know them by.
pub(crate) const WAYS: [&str; 3] = ["follow", "pinned", "pool"];

/// The installed tree: made once for all tests.
pub(crate) fn tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let folder = folder().join("tree");
        let _ = fs::remove_dir_all(&folder);
        let mut install = Install::new("/usr".into());
        install.destdir = Some(folder.clone());
        install.release = !cfg!(debug_assertions);
        install.target_dir = Some(target_dir());
        install.run().expect("the library can be installed");
        folder.join("usr")
    })
}

/// A folder for what the tests make, of this process.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi");
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Cargo's folder, as this test was built in it.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a file");
    test.ancestors().nth(3).expect("tests are in `PROFILE/deps`").into()
}

/// Where the C sources of the tests are.
pub(crate) fn source(name: &str) -> PathBuf {
    xtask::source().join("tests/c").join(name)
}

/// Runs a command to its end; its output if it fails.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
    output
}

/// True if programs are linked with an instrumented library, as ci/asan.sh has them.
pub(crate) fn is_sanitized() -> bool {
    std::env::var_os("SYSLET_TEST_SANITIZED").is_some_and(|libraries| !libraries.is_empty())
}

/// Compiles a C program against the installed tree; says where it is.
pub(crate) fn compile(file: &Path, linked: Linked) -> PathBuf {
    let name = file.file_stem().expect("sources have names").to_string_lossy();
    let program = folder().join(format!("{name}-{linked:?}"));
    let tree = tree();
    // As ci/asan.sh has them compiled with the sanitizer, and linked with a library that was.
    let flags = std::env::var("SYSLET_TEST_CFLAGS").unwrap_or_default();
    let sanitized = std::env::var("SYSLET_TEST_SANITIZED").unwrap_or_default();
    let compiler = || {
        let mut cc = Command::new("cc");
        cc.arg("-std=c11").args(STRICT).arg("-I").arg(tree.join("include"));
        cc
    };
    if !sanitized.is_empty() && linked != Linked::Loaded {
        let object = program.with_extension("o");
        let flags = flags.split_whitespace();
        run(compiler().args(flags).arg("-c").arg(file).arg("-o").arg(&object));
        // Not with the flags: the compiler would add a runtime of its own.
        let libraries = sanitized.split_whitespace().chain(xtask::SYSTEM_LIBRARIES);
        run(compiler().arg("-o").arg(&program).arg(&object).args(libraries));
        return program;
    }
    let mut cc = compiler();
    cc.arg("-o").arg(&program).arg(file).args(flags.split_whitespace());
    match linked {
        Linked::Static => {
            cc.arg(tree.join("lib/libsyslet.a")).args(xtask::SYSTEM_LIBRARIES);
            // The library's debugging information is as large as all else together.
            cc.arg("-Wl,--strip-debug");
        }
        Linked::Alone => {
            cc.arg("-static").arg(tree.join("lib/libsyslet.a")).arg("-Wl,--strip-debug");
        }
        Linked::Shared => {
            cc.arg("-L").arg(tree.join("lib")).arg("-lsyslet");
        }
        Linked::Loaded => {
            cc.arg("-ldl");
        }
    }
    run(&mut cc);
    program
}

/// A command that runs a compiled program in a way of working.
pub(crate) fn program(path: &Path, way: &str) -> Command {
    let mut command = Command::new(path);
    in_way(&mut command, way);
    command
}

/// Sets the environment for a way of working.
pub(crate) fn in_way(command: &mut Command, way: &str) {
    command.env("LD_LIBRARY_PATH", tree().join("lib"));
    command.env("SYSLET_TEST_MODE", way);
    command.env_remove("SYSLET_FORCE_POOL");
    if way == "pool" {
        command.env("SYSLET_FORCE_POOL", "1");
    }
}

/// Runs a program; fails if it fails, or hangs.
pub(crate) fn succeed(mut command: Command) {
    let mut child =
        command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            assert!(status.success(), "{command:?}: {status}");
            return;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True if there is such a command.
pub(crate) fn has(command: &str) -> bool {
    let found =
        Command::new(command).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok()
}
