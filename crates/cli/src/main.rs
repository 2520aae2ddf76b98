//! The `syslet` command.
//!
//! `scan` works on real trees, `probe` says what the machine allows, `calls` prints the catalogue, `run` runs
//! programs with the drop-in libraries in front, `top` shows what a program does, `completions` and the hidden
//! `manual` are for who installs it. Each subcommand is a module with a `run` that takes a checked plan and
//! answers with an [`Exit`].
#![forbid(unsafe_code)]

mod args;
mod calls;
mod exit;
mod manual;
mod probe;
mod run;
mod scan;
mod top;

use std::process::ExitCode;

use args::Plan;
use exit::Exit;

fn main() -> ExitCode {
    let outcome = match args::plan() {
        Plan::Scan(plan) => scan::run(plan),
        Plan::Probe(plan) => probe::run(plan),
        Plan::Calls(plan) => calls::run(plan),
        Plan::Run(plan) => Ok(run::run(plan)),
        Plan::Top(plan) => top::run(plan),
        Plan::Completions(shell) => manual::completions(shell),
        Plan::Manual(folder) => manual::pages(&folder),
    };
    outcome.unwrap_or_else(Exit::of_trouble).into()
}
