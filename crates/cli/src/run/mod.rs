//! `syslet run`: runs a program with the drop-in libraries in front of those that it was built for.
//!
//! Without a report the program takes this process's place, so nothing stands between it and who has started it.
//! With one this process stays, passes signals on, ends as the program ends, and says what went through.

mod file;
mod libraries;
mod program;
mod supervise;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use syslet_dropin::report::{Summary, VARIABLE};

pub(crate) use self::libraries::Library;
use self::program::Unfit;
use crate::args::{ReportTo, RunPlan};
use crate::exit::{Exit, Trouble};

/// The environment variable that has the drop-ins attach the program's threads.
const ATTACH: &str = "SYSLET_ATTACH";
/// Statuses of env(1), timeout(1) and their kin: the command itself has failed, the program cannot be run,
/// there is none.
const OWN_TROUBLE: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs the program. Returns if it could not be run, and with its own status.
pub(crate) fn run(plan: RunPlan) -> Exit {
    match start(plan) {
        Ok(status) => supervise::end_like(status),
        Err((trouble, status)) => {
            Exit::of_trouble(trouble);
            Exit::Status(status)
        }
    }
}

type Failed = (Trouble, u8);

fn own(trouble: Trouble) -> Failed {
    (trouble, OWN_TROUBLE)
}

fn start(plan: RunPlan) -> Result<ExitStatus, Failed> {
    let preload = libraries::preload(&plan.libraries).map_err(own)?;
    let path = program::find(&plan.command).map_err(|unfit| {
        let status = if matches!(unfit, Unfit::NotFound) { NOT_FOUND } else { CANNOT_RUN };
        (Trouble::new(format!("{}: {unfit}", plan.command.display())), status)
    })?;
    let mut command = Command::new(path);
    command.arg0(&plan.command).args(&plan.args).env("LD_PRELOAD", preload).env_remove(VARIABLE);
    if plan.attach {
        command.env(ATTACH, "1");
    }
    let Some(report) = &plan.report else {
        let error = command.exec();
        return Err(cannot_run(&plan, error));
    };
    let folder = tempfile::Builder::new().prefix("syslet-run-").tempdir();
    let folder = folder.map_err(Trouble::at("a folder for the report")).map_err(own)?;
    let file = folder.path().join("report");
    Summary::create(&file).map_err(Trouble::at("the report")).map_err(own)?;
    command.env(VARIABLE, &file);
    let status = supervise::run(&mut command).map_err(|error| cannot_run(&plan, error))?;
    // The program's status is the answer, whatever becomes of the report.
    if let Err(trouble) = tell(report, plan.json, &file) {
        Exit::of_trouble(trouble);
    }
    Ok(status)
}

fn cannot_run(plan: &RunPlan, error: std::io::Error) -> Failed {
    let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    (Trouble::at(plan.command.display().to_string())(error), status)
}

/// Says what went through.
fn tell(to: &ReportTo, json: bool, file: &Path) -> Result<(), Trouble> {
    let summary = Summary::read(file).map_err(Trouble::at("the report"))?;
    let text = if json { summary.to_json() + "\n" } else { text(&summary) };
    match to {
        ReportTo::Stderr => {
            // Where standard error is closed there is nobody to tell.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            Ok(())
        }
        ReportTo::File(path) => {
            fs::write(path, text).map_err(Trouble::at(path.display().to_string()))
        }
    }
}

fn text(summary: &Summary) -> String {
    let loaded = summary.libraries.iter().any(|library| library.processes > 0);
    let mut text = summary.to_string();
    if !loaded {
        text += "syslet: no process has loaded a drop-in library\n";
    } else if summary.is_empty() {
        text += "syslet: the program has used neither libaio nor POSIX AIO\n";
    }
    text
}
