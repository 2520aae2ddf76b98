//! Each C program is compiled as C11 without warnings, linked statically and shared, and run in each way
//! of working.

use std::fs;

use syslet_testfs::skip;

use crate::util::{Linked, WAYS, compile, is_sanitized, program, source, succeed};

fn in_all_ways(name: &str) {
    for linked in [Linked::Static, Linked::Shared] {
        let path = compile(&source(name), linked);
        for way in WAYS {
            succeed(program(&path, way));
        }
    }
}

#[test]
fn the_functions_of_syslet_h_answer_as_it_says() {
    in_all_ways("core.c");
}

#[test]
fn bad_pointers_are_answered_by_every_function() {
    in_all_ways("faults.c");
}

#[test]
fn what_stands_in_the_way_is_answered() {
    in_all_ways("errors.c");
}

#[test]
fn handlers_call_what_they_may_wherever_they_interrupt() {
    in_all_ways("handlers.c");
}

#[test]
fn every_interface_makes_the_call_that_it_is_given() {
    in_all_ways("calls.c");
}

#[test]
fn async_submit_and_its_result_word() {
    in_all_ways("async_submit.c");
}

#[test]
fn syslets_of_versions_3_to_5() {
    in_all_ways("syslets.c");
}

#[test]
fn syslets_of_version_6() {
    in_all_ways("syslets6.c");
}

#[test]
fn threadlets_of_2007() {
    in_all_ways("threadlets.c");
}

#[test]
fn syslets_of_version_7() {
    in_all_ways("indirect.c");
}

#[test]
fn sendsys2_and_waitsys2() {
    in_all_ways("dragonfly.c");
}

#[test]
fn acall_of_the_second_generation() {
    in_all_ways("acall.c");
}

#[test]
fn kevent_of_take_30() {
    in_all_ways("kevent.c");
    in_all_ways("kevent-types.c");
    in_all_ways("kevent-threads.c");
}

#[test]
fn calls_of_fibrils() {
    in_all_ways("fibrils.c");
}

#[test]
fn private_descriptors() {
    in_all_ways("nonseqfd.c");
}

#[test]
fn a_thousand_threads_share_a_queue_which_is_read_without_a_call() {
    in_all_ways("threads.c");
}

#[test]
fn a_program_whose_main_thread_has_ended_ends_with_its_last_thread() {
    in_all_ways("last.c");
}

/// Also while the stacks and thread pointers of guests are elsewhere than the sanitizer believes.
#[test]
fn a_leak_check_finds_what_a_program_loses_and_nothing_that_the_library_keeps() {
    let options = std::env::var("ASAN_OPTIONS").unwrap_or_default();
    if !options.contains("detect_leaks=1") || !is_sanitized() {
        return skip("leaks are looked for by ci/asan.sh");
    }
    let path = compile(&source("lost.c"), Linked::Static);
    for way in WAYS {
        let output = program(&path, way).output().expect("it can be run");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("leaked in 8 allocation(s)"), "{way}: {}: {told}", output.status);
        assert!(told.contains("syslet_submit"), "{way}: {told}");
    }
}

#[test]
fn the_library_may_be_loaded_when_there_are_threads() {
    // It is linked with nothing, and names the library itself.
    let path = compile(&source("loaded.c"), Linked::Loaded);
    for way in WAYS {
        succeed(program(&path, way));
    }
}

#[test]
fn the_program_that_loads_the_library_calls_every_interface() {
    let program = fs::read_to_string(source("loaded.c")).expect("it is there");
    let called = |name: &str| {
        program.contains(&format!("X({name})")) && program.contains(&format!("{name}_("))
    };
    let include = xtask::source().join("include");
    let pages = xtask::pages().expect("the headers can be read");
    for header in xtask::header_names(&include).expect("they are there") {
        let said = format!(".B #include <{header}>");
        let names = pages.iter().filter(|(_, page)| page.contains(&said));
        let mut names = names.filter_map(|(page, _)| page.strip_suffix(".3"));
        assert!(names.any(called), "nothing of {header} is called");
    }
}
