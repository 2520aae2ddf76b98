//! What the tests share: the library, and compiling and running programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Seconds that no program takes, but a soak as many more as it was told: what does, hangs.
fn limit() -> String {
    const LIMIT: u64 = 120;
    let soak = std::env::var("SYSLET_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    (LIMIT + soak.unwrap_or(0)).to_string()
}

/// Ways for the library to work, by the environment that asks for them.
pub(crate) const WAYS: [&str; 3] = ["", "SYSLET_FORCE_POOL", "SYSLET_ATTACH"];

/// The library. Cargo does not build it for tests, because they cannot be linked with it.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let test = std::env::current_exe().expect("the test has a file");
        let target = test.ancestors().nth(3).expect("tests are in `PROFILE/deps`");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME")]);
        build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        succeed(&mut build);
        target.join(profile).join("libsyslet_posix_aio.so")
    })
}

/// Compiles a C program of the tests, as strictly as C compilers are asked to be; says where it is.
pub(crate) fn compile(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    compile_from(&folder.join(name).with_extension("c"), name)
}

/// The same of the program that is killed in the middle, which libaio's tests have too.
pub(crate) fn compile_soak() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1);
    compile_from(&crates.expect("there are others").join("libaio/tests/c/soak.c"), "soak")
}

fn compile_from(source: &Path, name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("posix-aio-{name}"));
    let mut cc = Command::new("cc");
    cc.args(["-DPOSIX_AIO", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
    // What is wrong in them is what is tested.
    cc.args(["-Wno-unused-result", "-Wno-stringop-overflow", "-Wno-nonnull"]);
    // Of sanitizers, for instance.
    let more = std::env::var("SYSLET_TEST_CFLAGS").unwrap_or_default();
    cc.args(more.split_whitespace());
    succeed(cc.arg("-o").arg(&program).arg(source));
    program
}

/// A program with a time limit, with the library in front.
pub(crate) fn ours(program: impl AsRef<std::ffi::OsStr>, way: &str) -> Command {
    with_ours(stock(program), way)
}

/// The same of a command that is its own.
pub(crate) fn with_ours(mut command: Command, way: &str) -> Command {
    command.env("LD_PRELOAD", library());
    for other in WAYS.into_iter().filter(|way| !way.is_empty()) {
        command.env_remove(other);
    }
    if !way.is_empty() {
        command.env(way, "1");
    }
    command
}

/// A program with a time limit, with the C library's functions.
pub(crate) fn stock(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", &limit()])
        .arg(program)
        .stdin(Stdio::null())
        .env_remove("LD_PRELOAD");
    command
}

/// Runs a command, which must succeed; what it said.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {}\n{said}{told}", output.status);
    output
}
