//! Answers to good and bad requests, line by line.

use crate::util::{Library, command, compile, finish, scratch};

fn compare(library: Library) {
    let Some(program) = compile("answers") else { return };
    let run = |library| {
        let folder = scratch();
        finish(command(library, &program).arg(folder.path())).assert_good()
    };
    let (expected, found) = (run(Library::System), run(library));
    let mut round = "";
    for (expected, found) in expected.lines().zip(found.lines()) {
        round = if expected.starts_with("round") { expected } else { round };
        assert_eq!(found, expected, "in {round}");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn every_answer_is_the_systems() {
    compare(Library::Ours);
}

#[test]
fn every_answer_is_the_systems_where_submitters_are_guests() {
    compare(Library::Attached);
}
