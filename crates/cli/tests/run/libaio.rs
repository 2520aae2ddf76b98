//! A program that uses libaio: its children, other images, threads, end and attachment.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::reports::counts;
use super::util::{both_libraries, libaio, run_with};
use crate::util::{assert_code, stderr};

fn run(folder: &Path, options: &[&str], program: &Path, args: &[&str]) -> Output {
    let mut command: Command = run_with("--libaio", folder, options);
    command.arg(program).args(args).output().unwrap()
}

fn report_of(output: &Output) -> Value {
    serde_json::from_str(stderr(output)).unwrap()
}

const REPORT: [&str; 2] = ["--report", "--json"];

#[test]
fn children_images_and_threads_are_served_and_counted_together() {
    let (Some(program), folder) = (libaio(), both_libraries()) else { return };
    for (then, count) in [("", 10), ("fork", 20), ("exec", 20), ("threads", 50), ("daemon", 20)] {
        let output = run(folder.path(), &REPORT, &program, &["10", then]);
        assert_code(&output, 0);
        let report = report_of(&output);
        assert_eq!(counts(&report, "libaio"), [("read inline".to_owned(), count)], "{then}");
        let images = if then == "exec" { 2 } else { 1 };
        assert_eq!(report["libaio"]["processes"], images, "{then}");
    }
}

#[test]
fn reads_that_wait_are_told_apart_and_refused_ones_are_the_kernels_affair() {
    let (Some(program), folder) = (libaio(), both_libraries()) else { return };
    let output = run(folder.path(), &REPORT, &program, &["1", "pipe"]);
    assert_code(&output, 0);
    let wanted = [("read inline".to_owned(), 1), ("read parked".to_owned(), 1)];
    assert_eq!(counts(&report_of(&output), "libaio"), wanted);
    let output = run(folder.path(), &REPORT, &program, &["1", "bad"]);
    assert_code(&output, 0);
    assert_eq!(counts(&report_of(&output), "libaio"), [("read inline".to_owned(), 1)]);
}

#[test]
fn a_killed_one_has_a_report() {
    let (Some(program), folder) = (libaio(), both_libraries()) else { return };
    let output = run(folder.path(), &REPORT, &program, &["7", "kill"]);
    assert_eq!(output.status.signal(), Some(9), "{}", stderr(&output));
    assert_eq!(counts(&report_of(&output), "libaio"), [("read inline".to_owned(), 7)]);
}

#[test]
fn its_threads_are_guests_only_if_that_was_asked_for() {
    let (Some(program), folder) = (libaio(), both_libraries()) else { return };
    for (attach, status) in [(&["--attach"][..], 0), (&[], 14)] {
        let output =
            run(folder.path(), &[attach, &REPORT[..]].concat(), &program, &["50", "guest"]);
        assert_code(&output, status);
        let read: u64 = counts(&report_of(&output), "libaio").iter().map(|(_, count)| count).sum();
        assert_eq!(read, 50);
    }
}
