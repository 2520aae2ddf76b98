//! Hostile programs: each scenario is a process of its own that does to a program with guests what
//! programs do: fork, exec, take signals, change ids, sandbox themselves, end.
//!
//! Without arguments every scenario runs in each way of working that makes sense for it. A word as
//! argument runs the scenarios whose names contain it; `--list` prints the names.
//! `SYSLET_TEST_SANDBOX=docker` or `docker-nosched` runs them in a sandbox, see `container`.

#[path = "../container.rs"]
mod container;
mod exit;
mod fork;
mod handlers;
mod identity;
mod last;
mod locks;
mod proc;
mod publish;
mod runner;
mod sandbox;
mod senders;
mod sentinels;
mod signals;
mod starting;
mod stress;
mod sys;
mod threads;
mod trimming;
mod work;

use std::process::ExitCode;

use runner::Scenario;

/// Every scenario, by subject.
fn scenarios() -> Vec<Scenario> {
    [
        threads::SCENARIOS,
        signals::SCENARIOS,
        senders::SCENARIOS,
        handlers::SCENARIOS,
        fork::SCENARIOS,
        starting::SCENARIOS,
        exit::SCENARIOS,
        last::SCENARIOS,
        locks::SCENARIOS,
        identity::SCENARIOS,
        sandbox::SCENARIOS,
        sentinels::SCENARIOS,
        stress::SCENARIOS,
        trimming::SCENARIOS,
        publish::SCENARIOS,
    ]
    .concat()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    match (first, arguments.get(1)) {
        (Some("--scenario"), Some(name)) => runner::play(&scenarios(), name),
        (Some("--part"), Some(name)) => part(name, &arguments[2..]),
        (Some("--list"), _) => runner::list(&scenarios()),
        _ => runner::run_all(&scenarios(), arguments.iter().find(|a| !a.starts_with('-'))),
    }
}

/// A program that a scenario starts or becomes.
fn part(name: &str, arguments: &[String]) -> ExitCode {
    match name {
        "exit" => exit::part(arguments),
        "after-exec" => exit::after_exec(),
        "works" => {
            sandbox::works();
            ExitCode::SUCCESS
        }
        "published" => publish::part(arguments),
        "foreign-rseq" => {
            sandbox::with_foreign_rseq();
            ExitCode::SUCCESS
        }
        "allocator" => {
            sandbox::with_allocator();
            ExitCode::SUCCESS
        }
        "escape" => {
            identity::sandboxed_too_late();
            ExitCode::SUCCESS
        }
        "nothing" => ExitCode::SUCCESS,
        _ => {
            eprintln!("no part is called {name}");
            ExitCode::from(2)
        }
    }
}
