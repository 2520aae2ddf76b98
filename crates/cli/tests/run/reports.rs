//! What is said at the end.

use serde_json::Value;
use syslet_testfs::skip;

use super::util::{aio, both_libraries, run, run_sh};
use crate::util::{assert_code, stderr, stdout, syslet};

/// How often the program has read, by what was done and how.
pub(crate) fn counts(report: &Value, library: &str) -> Vec<(String, u64)> {
    let operations = report[library]["operations"].as_array().unwrap();
    let one = |cell: &Value| {
        let name = format!("{} {}", cell["kind"].as_str().unwrap(), cell["way"].as_str().unwrap());
        (name, cell["count"].as_u64().unwrap())
    };
    operations.iter().map(one).collect()
}

fn report_of(args: &[&str]) -> Value {
    let output = run(&["--report", "--json"]).arg(aio(&[])).args(args).output().unwrap();
    assert_code(&output, 0);
    assert!(stdout(&output).is_empty());
    serde_json::from_str(stderr(&output)).unwrap()
}

#[test]
fn cached_reads_are_inline() {
    let report = report_of(&["100"]);
    assert_eq!(counts(&report, "posix-aio"), [("read inline".to_owned(), 100)]);
    assert_eq!(report["posix-aio"]["processes"], 1);
    let steps = report["posix-aio"]["operations"][0]["below_ns"].as_array().unwrap();
    let sum: u64 = steps.iter().map(|step| step[1].as_u64().unwrap()).sum();
    assert_eq!(sum, 100, "every operation is in the histogram");
}

#[test]
fn reads_that_wait_are_told_apart_and_errors_are_counted() {
    let report = report_of(&["1", "pipe"]);
    let wanted = [("read inline".to_owned(), 1), ("read parked".to_owned(), 1)];
    assert_eq!(counts(&report, "posix-aio"), wanted);
    let report = report_of(&["1", "bad"]);
    assert_eq!(report["posix-aio"]["errors"]["9"], 1, "EBADF: {report}");
}

#[test]
fn processes_and_threads_are_counted_together() {
    for (then, count) in [("fork", 20), ("exec", 20), ("threads", 50), ("daemon", 20)] {
        let report = report_of(&["10", then]);
        assert_eq!(counts(&report, "posix-aio"), [("read inline".to_owned(), count)], "{then}");
        let images = if then == "exec" { 2 } else { 1 };
        assert_eq!(report["posix-aio"]["processes"], images, "{then}");
    }
}

#[test]
fn a_program_that_was_killed_has_a_report() {
    let output = run(&["--report"]).arg(aio(&[])).args(["7", "kill"]).output().unwrap();
    assert_eq!(output.status.code(), None, "{}", stderr(&output));
    let line = stderr(&output).lines().find(|line| line.contains("read inline")).unwrap();
    assert!(line.split_whitespace().any(|word| word == "7"), "{line}");
}

#[test]
fn a_report_goes_to_the_file_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("what");
    let option = format!("--report={}", file.display());
    let output = run(&[&option]).arg(aio(&[])).arg("3").output().unwrap();
    assert_code(&output, 0);
    assert!(stderr(&output).is_empty());
    assert!(std::fs::read_to_string(&file).unwrap().contains("read inline"));
    // One that cannot be written changes no answer.
    let output = run_sh(&["--report=/nonexistent/what"], "exit 7").output().unwrap();
    assert_code(&output, 7);
    assert!(stderr(&output).contains("/nonexistent/what"));
}

#[test]
fn both_libraries_are_in_front_if_none_is_named() {
    if std::process::Command::new("fio").arg("--version").output().is_err() {
        return skip("there is no fio here");
    }
    let folder = both_libraries();
    let reads = "--rw=randread --bs=4k --size=256k --output=/dev/null";
    let script = format!(
        "{} 5 && fio --name=x --ioengine=libaio --filename={} {reads}",
        aio(&[]).display(),
        folder.path().join("file").display()
    );
    let mut command = syslet();
    command.args(["run", "--report", "--json", "--", "sh", "-c", &script]);
    let output = command.env("SYSLET_LIBDIR", folder.path()).output().unwrap();
    assert_code(&output, 0);
    let report: Value = serde_json::from_str(stderr(&output)).unwrap();
    assert_eq!(counts(&report, "posix-aio"), [("read inline".to_owned(), 5)]);
    let read = counts(&report, "libaio");
    let sum: u64 = read.iter().filter(|(what, _)| what.starts_with("read")).map(|one| one.1).sum();
    assert_eq!(sum, 64, "{report}");
}

#[test]
fn a_program_that_uses_neither_library_is_told_so() {
    let output = run_sh(&["--report"], "echo out; echo err >&2").output().unwrap();
    assert_code(&output, 0);
    assert_eq!(stdout(&output), "out\n");
    assert!(stderr(&output).starts_with("err\n"));
    assert!(stderr(&output).contains("used neither libaio nor POSIX AIO"), "{}", stderr(&output));
}

#[test]
fn attached_programs_are_counted_too() {
    for (options, status) in [(&["--attach", "--report"][..], 0), (&["--report"], 14)] {
        let output = run(options).arg(aio(&[])).args(["50", "guest"]).output().unwrap();
        assert_code(&output, status);
        assert!(stderr(&output).contains("read "), "{}", stderr(&output));
    }
}
