//! Requests that are cancelled, or whose context is destroyed; see `tests/c/cancels.c`.

use std::process::Command;

use crate::slow;
use crate::util::{Library, command, compile, finish, scratch};

const OURS: [Library; 2] = [Library::Ours, Library::Attached];

/// Few threads, so that some requests have none.
const MOST_CREW: (&str, &str) = ("SYSLET_MAX_CREW", "4");

#[track_caller]
fn run(what: &str, libraries: &[Library], set: impl Fn(&mut Command)) {
    let Some(program) = compile("cancels") else { return };
    for library in libraries {
        let (folder, place) = (scratch(), scratch());
        let Some(mounted) = slow::mount(place.path()) else { return };
        let mut cancels = command(*library, &program);
        cancels.arg(what).arg(folder.path()).arg(mounted.path().join("slow"));
        set(&mut cancels);
        finish(&mut cancels).assert_good();
    }
}

// The system's library waits for pipes in io_submit.

#[test]
fn a_read_that_waits_for_a_pipe_is_cancelled() {
    run("pipe_read", &OURS, |_| ());
}

#[test]
fn a_write_that_waits_for_a_pipe_is_cancelled() {
    run("pipe_write", &OURS, |_| ());
}

#[test]
fn a_context_whose_read_waits_for_a_pipe_is_destroyed_at_once() {
    run("destroyed", &OURS, |_| ());
}

#[test]
fn a_write_that_is_under_way_outlives_its_context() {
    run("written", &[Library::System, Library::Ours, Library::Attached], |cancels| {
        cancels.env(MOST_CREW.0, MOST_CREW.1); // fewer than there are writes
    });
}

/// (A guest makes such a read in place.)
#[test]
fn a_read_that_has_no_thread_yet_is_cancelled_at_once() {
    run("unbegun", &OURS[..1], |cancels| {
        cancels.env(MOST_CREW.0, MOST_CREW.1);
    });
}

#[test]
fn a_read_that_is_under_way_is_told_and_has_one_event() {
    run("begun", &OURS, |_| ());
}
