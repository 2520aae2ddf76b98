//! The works as libuv does them: a program in C, which is compiled here and told what to do.

use std::fs;
use std::process::Command;

use super::process;
use super::worker::Serve;
use crate::error::Trouble;
use crate::scratch::Scratch;

const SOURCE: &str = include_str!("libuv.c");

/// Serves by a process.
pub(super) fn run(serve: Serve) -> Result<(), Trouble> {
    let scratch = Scratch::make(&std::env::temp_dir(), &format!("libuv-{}", serve.depth))?;
    let (source, program) = (scratch.path().join("libuv.c"), scratch.path().join("libuv"));
    fs::write(&source, SOURCE).map_err(Trouble::io("writing its program"))?;
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.arg("-O2").arg("-o").arg(&program).arg(&source).arg("-luv");
    let output = cc.output().map_err(Trouble::io("starting the C compiler"))?;
    if !output.status.success() {
        let why = "it is not installed, or not as a C library (Debian's libuv1-dev)";
        return Err(Trouble::Refused("libuv", why.to_owned()));
    }
    process::run(serve, "libuv", Command::new(program))
}
