//! Moments in which two things meet; see `tests/c/edges.c`.

use crate::slow;
use crate::util::{Library, command, compile, finish, scratch};

const ALL: [Library; 3] = [Library::System, Library::Ours, Library::Attached];

#[track_caller]
fn run(what: &str, libraries: &[Library]) {
    let Some(program) = compile("edges") else { return };
    for library in libraries {
        let folder = scratch();
        let mut edges = command(*library, &program);
        finish(edges.arg(what).arg(folder.path()).arg("nothing")).assert_good();
    }
}

/// The same, with a file whose reads take long.
#[track_caller]
fn run_slow(what: &str, libraries: &[Library]) {
    let Some(program) = compile("edges") else { return };
    for library in libraries {
        let (folder, place) = (scratch(), scratch());
        let Some(mounted) = slow::mount(place.path()) else { return };
        let mut edges = command(*library, &program);
        edges.arg(what).arg(folder.path()).arg(mounted.path().join("slow"));
        finish(&mut edges).assert_good();
    }
}

#[test]
fn an_eventfd_is_told_before_its_context_is_gone() {
    run("told", &ALL[1..]);
}

#[test]
fn an_eventfd_that_is_full_holds_nobody_up() {
    run("full", &ALL);
}

#[test]
fn a_block_that_is_submitted_twice_has_two_requests() {
    run("twice", &ALL);
}

#[test]
fn what_stands_where_a_ring_was_is_the_programs() {
    run("hole", &ALL);
}

#[test]
fn who_waits_for_several_events_gets_them_when_the_context_changes() {
    run("minimum", &ALL);
}

#[test]
fn who_waits_for_a_time_waits_no_longer_when_the_context_changes() {
    run("deadline", &ALL);
}

#[test]
fn who_waits_hears_of_files_that_cannot_be_asked() {
    run_slow("elsewhere", &ALL);
}

#[test]
fn a_number_that_named_memory_may_name_a_slow_file() {
    run_slow("renamed", &ALL[1..]);
}

#[test]
fn a_context_that_is_being_destroyed_is_none() {
    run_slow("dying", &ALL[1..]);
}

#[test]
fn a_context_is_destroyed_once_and_nobody_elses() {
    run("racing", &ALL);
}

#[test]
fn requests_are_made_where_no_thread_can_be() {
    run("alone", &ALL);
}

#[test]
fn a_context_that_cannot_change_tells_nobody_so() {
    run("stays", &ALL[1..]);
}

#[test]
fn a_childs_threads_are_guests_too() {
    run("attached", &ALL[2..]);
}

#[test]
fn a_child_that_the_c_library_does_not_know_ends_at_once() {
    // (A guest makes its children by the C library.)
    run_slow("bare", &ALL[..2]);
}
