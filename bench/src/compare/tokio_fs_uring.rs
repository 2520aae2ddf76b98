//! `tokio::fs` with tokio's unstable feature `io-uring`: a program of its own, because what is built with
//! `--cfg tokio_unstable` is built so as a whole. It is built here, beside what there is.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process;
use super::worker::Serve;
use crate::error::Trouble;

/// The package, and its program.
const PACKAGE: &str = "tokio-fs-uring";

/// Serves by a process.
pub(super) fn run(serve: Serve) -> Result<(), Trouble> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let refused = |why: &String| Trouble::Refused("tokio_fs_uring", why.clone());
    let program = BUILT.get_or_init(build).as_ref().map_err(refused)?;
    process::run(serve, "tokio_fs_uring", Command::new(program))
}

/// Builds the program as this one was built, but for the flag; why not, otherwise.
fn build() -> Result<PathBuf, String> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    // Beside the folder of the profile: what is there was built without the flag.
    let target = this.ancestors().nth(2).unwrap_or(Path::new("target")).join("tokio-unstable");
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(OsString::from(" --cfg tokio_unstable"));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", PACKAGE, "--target-dir"]).arg(&target);
    let (arg, profile) =
        if cfg!(debug_assertions) { (None, "debug") } else { (Some("--release"), "release") };
    cargo
        .args(arg)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", flags)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("").to_owned();
        return Err(format!("its program cannot be built: {first}"));
    }
    Ok(target.join(profile).join(PACKAGE))
}
