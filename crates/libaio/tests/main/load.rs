//! Much at a time, and programs that fork, close everything, or end in the middle.

use std::time::Instant;

use crate::util::{Library, command, compile, finish, scratch};

fn run(what: &str, libraries: &[Library]) {
    let Some(program) = compile("load") else { return };
    for library in libraries {
        let folder = scratch();
        let begun = Instant::now();
        finish(command(*library, &program).arg(what).arg(folder.path())).assert_good();
        println!("{what} {library:?}: {:?}", begun.elapsed());
    }
}

const ALL: [Library; 3] = [Library::System, Library::Ours, Library::Attached];

/// The system's has a mapping for each, of which there are fewer.
#[test]
fn there_may_be_65536_contexts() {
    run("many", &[Library::Ours]);
}

#[test]
fn a_destroyed_contexts_memory_is_not_written_to() {
    run("destroy", &ALL);
}

#[test]
fn threads_share_a_context() {
    run("one", &ALL);
}

#[test]
fn events_are_in_memory_before_the_eventfd_is_told() {
    run("memory", &ALL);
}

#[test]
fn a_context_takes_direct_and_buffered_requests_while_a_thread_waits() {
    run("mixed", &ALL);
}

#[test]
fn a_ring_may_be_moved() {
    run("moved", &ALL);
}

#[test]
fn descriptors_and_signals_are_the_programs_own() {
    run("self", &[Library::System, Library::Ours]);
}

#[test]
fn daemons_go_on() {
    run("daemon", &ALL);
}

#[test]
fn what_was_submitted_is_written_when_the_program_ends() {
    let Some(program) = compile("load") else { return };
    for library in [Library::System, Library::Ours] {
        let folder = scratch();
        finish(command(library, &program).arg("ends").arg(folder.path())).assert_good();
        let written = std::fs::read(folder.path().join("ended")).expect("it was made");
        assert!(
            written.len() == 8 << 20 && written.iter().all(|byte| *byte == b'w'),
            "{library:?}"
        );
    }
}

/// `SYSLET_SOAK_SECONDS` makes it longer, `SYSLET_SOAK_SEED` another.
#[test]
fn what_was_synced_survives_the_client() {
    let Some(program) = compile("soak") else { return };
    let setting = |name, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let (seconds, seed) = (setting("SYSLET_SOAK_SECONDS", "4"), setting("SYSLET_SOAK_SEED", "7"));
    for library in [Library::Ours, Library::Attached] {
        let folder = scratch();
        let mut soak = command(library, &program);
        soak.arg(folder.path()).args([&seconds, &seed]);
        println!("{library:?}: {}", finish(&mut soak).assert_good().trim());
    }
}
