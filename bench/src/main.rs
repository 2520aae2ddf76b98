//! `bench`: what syslet costs, measured against the plain call in the same loop.
//!
//! Every figure is only as good as the machine it was taken on, so ratios and differences are taken
//! pair by pair, batch against neighbouring batch, and the machine is part of the output. Each
//! measure also checks that the calls went the way that its name says: by the library's counters, or by what
//! else shows it, the kernel, the loader or the thread that a closure is on.

mod aio;
mod all;
mod c_programs;
mod calls;
mod cold;
mod compare;
mod cost;
mod dice;
mod ending;
mod error;
mod guest;
mod handoff;
mod inline;
mod kevent;
mod machine;
mod on_tokio;
mod onlooker;
mod options;
mod parked;
mod queue;
mod report;
mod samples;
mod scan;
mod scratch;
mod server;
mod sparse;
mod stall;
mod upkeep;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::error::Trouble;
use crate::machine::{Before, Machine};
use crate::options::{Cli, Command};
use crate::report::Report;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("bench: {}", chain(&trouble));
            ExitCode::from(2)
        }
    }
}

/// True if every measure took the path that it claims.
fn run(cli: &Cli) -> Result<bool, Trouble> {
    if let Command::Serve(options) = &cli.command {
        return server::serve(options).map(|()| true);
    }
    if let Command::ServeKevent(options) = &cli.command {
        return kevent::serve(options.way).map(|()| true);
    }
    if let Command::End(options) = &cli.command {
        return ending::end(options).map(|()| true);
    }
    if let Command::All(options) = &cli.command {
        return all::run(options);
    }
    let common = cli.command.common();
    let before = Before::now();
    let mut lost = Vec::new();
    let (name, rows) = match &cli.command {
        Command::Inline(options) => ("inline", inline::run(options)?),
        Command::Handoff(options) => ("handoff", handoff::run(options)?),
        Command::Parked(options) => ("parked", parked::run(options)?),
        Command::Queue(options) => ("queue", queue::run(options)?),
        Command::Cold(options) => ("cold", cold::run(options)?),
        Command::Tokio(options) => ("tokio", on_tokio::run(options)?),
        Command::Compare(options) => ("compare", compare::run(options, &mut lost)?),
        Command::Scan(options) => ("scan", scan::run(options)?),
        Command::Stall(options) => ("stall", stall::run(options)?),
        Command::Server(options) => ("server", server::run(options)?),
        Command::Capi(options) => ("capi", c_programs::run(options)?),
        Command::Libaio(options) => ("libaio", aio::run(aio::Library::Libaio, options)?),
        Command::Posixaio(options) => ("posixaio", aio::run(aio::Library::PosixAio, options)?),
        Command::Kevent(options) => ("kevent", kevent::run(options, &mut lost)?),
        Command::All(_) | Command::End(_) | Command::Serve(_) | Command::ServeKevent(_) => {
            unreachable!("it has no report of its own")
        }
    };
    let machine = Machine::describe(&common.dir(), before)?;
    let report = Report::new(name, common.quick, machine, rows, lost);
    let printed = if common.json { report.print_json() } else { report.print_table() };
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Trouble::Io("writing the report", error));
        }
        _ => {}
    }
    report.faults().iter().for_each(|fault| eprintln!("bench: {fault}"));
    Ok(report.faults().is_empty())
}

/// The error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
