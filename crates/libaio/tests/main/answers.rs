//! Answers to good and bad requests, line by line.

use syslet_dropin::report::{Kind, Way};

use crate::util::{Library, Report, command, compile, count, finish, scratch};

fn compare(library: Library, what: &str) {
    let Some(program) = compile("answers") else { return };
    let run = |library| {
        let folder = scratch();
        finish(command(library, &program).arg(folder.path()).arg(what)).assert_good()
    };
    let (expected, found) = (run(Library::System), run(library));
    let mut round = "";
    for (expected, found) in expected.lines().zip(found.lines()) {
        round = if expected.starts_with("round") { expected } else { round };
        assert_eq!(found, expected, "in {round}");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    assert!(!found.is_empty(), "{what} says nothing");
}

#[test]
fn every_answer_is_the_systems() {
    compare(Library::Ours, "rounds");
}

#[test]
fn every_answer_is_the_systems_where_submitters_are_guests() {
    compare(Library::Attached, "rounds");
}

/// Those of contexts behind which there is none of the kernel's.
#[test]
fn every_answer_is_the_systems_behind_many_contexts() {
    compare(Library::Ours, "many");
    compare(Library::Attached, "many");
}

/// What is known of a descriptor's number may be old. (A guest makes such a call, and whether that is handed off is
/// chance.)
#[test]
fn a_number_that_names_something_else_by_now_is_refused_as_by_the_system() {
    compare(Library::Ours, "reused");
}

/// The calls by number are ours, and say what the system's say.
#[test]
fn calls_by_number_are_served() {
    compare(Library::Ours, "numbers");
    let Some(program) = compile("answers") else { return };
    let folder = scratch();
    let report = Report::new(folder.path());
    let mut numbers = command(Library::Ours, &program);
    finish(report.tell(numbers.arg(folder.path()).arg("numbers"))).assert_good();
    let summary = report.read();
    // Its one read was not the kernel's.
    assert_eq!(count(&summary, &[Kind::Read], None), 1, "{summary}");
    assert_eq!(count(&summary, &[Kind::Read], Some(Way::Kernel)), 0, "{summary}");
}

/// What the kernel does by itself is counted by what it is, without times, and so are errors.
#[test]
fn requests_that_the_kernel_has_are_counted_one_by_one() {
    let Some(program) = compile("kernels") else { return };
    let folder = scratch();
    let report = Report::new(folder.path());
    let mut kernels = command(Library::Ours, &program);
    finish(report.tell(kernels.arg(folder.path()))).assert_good();
    let summary = report.read();
    let cells = &summary
        .libraries
        .iter()
        .find(|library| library.processes > 0)
        .expect("it was loaded")
        .cells;
    let counted: Vec<_> = cells.iter().map(|cell| (cell.kind, cell.way, cell.count)).collect();
    let expected =
        Kind::ALL.iter().map(|kind| (*kind, Way::Kernel, if *kind == Kind::Read { 2 } else { 1 }));
    assert_eq!(counted, expected.collect::<Vec<_>>());
    assert!(cells.iter().all(|cell| cell.histogram.is_empty() && cell.max.is_zero()));
    let errors: Vec<_> = summary.libraries.iter().flat_map(|library| &library.errors).collect();
    assert_eq!(errors, [&(libc::EBADF, 1), &(libc::EINVAL, 1)], "{summary}");
    let text = summary.to_string();
    let line = text.lines().find(|line| line.contains("poll kernel")).unwrap_or_default();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["poll", "kernel", "1", "-", "-", "-", "-"]
    );
}
