//! The report, as a program adds to it and as it is read.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use syslet_dropin::report::{Begun, Kind, Library, Report, Summary, VARIABLE, Way};

static REPORT: Report = Report::new(Library::Libaio);

/// What the test starts itself as, to be a program that is counted.
#[test]
#[ignore = "started by the other test"]
fn program() {
    REPORT.open();
    let begun = REPORT.begin();
    for _ in 0..3 {
        REPORT.end(begun, Kind::Read, Way::Inline, 4096);
    }
    REPORT.end(begun, Kind::Write, Way::Away, -i64::from(libc::ENOSPC));
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs is mounted");
    let names = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let report = std::env::var_os(VARIABLE).map(std::path::PathBuf::from);
    assert!(report.is_none_or(|report| !names.into_iter().any(|name| name == report)));
    std::process::abort(); // nothing is done at exit
}

fn run(report: &Path) {
    let own = std::env::current_exe().expect("the test has a path");
    let args = ["--exact", "program", "--ignored", "--test-threads=1"];
    let output = Command::new(own).args(args).env(VARIABLE, report).output().expect("it starts");
    assert_eq!(output.status.code(), None, "it aborts after its assertions: {output:?}");
}

#[test]
fn what_processes_counted_is_there_though_they_were_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report");
    Summary::create(&path).expect("it can be made");
    assert!(Summary::read(&path).expect("it is one").is_empty());
    run(&path);
    run(&path);
    let summary = Summary::read(&path).expect("it is one");
    let [libaio, posix] = &summary.libraries[..] else { panic!("two libraries") };
    assert_eq!((libaio.library, libaio.processes, posix.processes), (Library::Libaio, 2, 0));
    let counts: Vec<_> =
        libaio.cells.iter().map(|cell| (cell.kind, cell.way, cell.count)).collect();
    assert_eq!(counts, [(Kind::Read, Way::Inline, 6), (Kind::Write, Way::Away, 2)]);
    assert_eq!(libaio.errors, [(libc::ENOSPC, 2)]);
    let cell = &libaio.cells[0];
    assert!(cell.max > Duration::ZERO && cell.quantile(0.5) <= cell.max, "{cell:?}");
    let (text, json) = (summary.to_string(), summary.to_json());
    assert!(text.contains("read inline") && text.contains("No space left"), "{text}");
    assert!(json.contains("\"kind\":\"write\",\"way\":\"away\",\"count\":2"), "{json}");
}

#[test]
fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine");
    std::fs::write(&path, "mine").expect("it can be written");
    assert!(Summary::create(&path).is_err());
    assert!(Summary::read(&path).is_err());
    run(&path);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "mine");
}

#[test]
fn without_a_file_nothing_is_counted() {
    assert!(std::env::var_os(VARIABLE).is_none(), "the tests are not counted themselves");
    REPORT.open();
    let begun = REPORT.begin();
    assert_eq!(format!("{begun:?}"), format!("{:?}", Begun::default()), "no clock is asked");
    REPORT.end(begun, Kind::Read, Way::Inline, 1);
}
