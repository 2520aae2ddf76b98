//! Statuses and signals are the program's.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::util::run_sh;
use crate::util::{assert_code, stdout};

/// With and without a report: with one, the command stays.
const BOTH: [&[&str]; 2] = [&[], &["--report"]];

#[test]
fn the_status_is_the_programs() {
    for options in BOTH {
        for status in [0, 1, 2, 42, 125, 255] {
            let output = run_sh(options, &format!("exit {status}")).output().unwrap();
            assert_code(&output, status);
        }
    }
}

#[test]
fn a_signal_that_ends_the_program_ends_the_command() {
    for options in BOTH {
        for signal in
            [Signal::TERM, Signal::KILL, Signal::INT, Signal::SEGV, Signal::PIPE, Signal::USR1]
        {
            let script = format!("kill -{} $$", signal.as_raw());
            let output = run_sh(options, &script).output().unwrap();
            assert_eq!(output.status.signal(), Some(signal.as_raw()), "{options:?}");
            assert!(!output.status.core_dumped());
        }
    }
}

/// Starts a shell and waits until it says that it is ready.
fn started(options: &[&str], script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child =
        run_sh(options, script).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, out)
}

#[test]
fn signals_that_are_sent_to_the_command_come_to_the_program() {
    for options in BOTH {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR2] {
            let number = signal.as_raw();
            let script = format!(
                "trap 'echo got; exit 9' {number}; echo ready; while :; do sleep 0.05; done"
            );
            let (mut child, mut out) = started(options, &script);
            let pid = Pid::from_child(&child);
            kill_process(pid, signal).unwrap();
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "got\n", "{options:?} {number}");
            assert_eq!(child.wait().unwrap().code(), Some(9));
        }
    }
}

#[test]
fn signals_that_are_ignored_stay_ignored() {
    let script = "grep SigIgn /proc/self/status; trap '' INT; trap";
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' INT; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_syslet"))
        .args(["run", "--posix-aio", "--report", "--", "sh", "-c", script])
        .env("SYSLET_LIBDIR", super::util::libraries())
        .output()
        .unwrap();
    assert_code(&output, 0);
    let mask =
        stdout(&output).lines().next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(u64::from_str_radix(&mask, 16).unwrap() & 2, 2, "SIGINT is ignored: {mask}");
}

#[test]
fn without_a_report_the_program_takes_the_commands_place() {
    let child = run_sh(&[], "echo $$").stdout(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output).trim(), id.to_string());
}
