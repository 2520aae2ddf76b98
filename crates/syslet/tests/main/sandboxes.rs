//! The sandbox that the suite runs in.

use std::thread;

use syslet::{Mode, Unsupported};

use crate::container::{Sandbox, check_docker, check_scheduling, sandbox};
use crate::util::child::Child;
use crate::util::{LIMIT, attached, bounded, settings, skip};

#[test]
fn suite_runs_behind_the_filter_that_it_was_asked_to_run_behind() {
    if sandbox().is_none() {
        return skip("no sandbox was asked for");
    }
    check_docker();
    attached(|| {
        check_docker();
        check_scheduling();
        thread::spawn(check_docker).join().expect("a thread of a guest is behind it");
        syslet::threadlet(check_docker).join();
    });
    let path = "sandboxes::suite_runs_behind_the_filter_that_it_was_asked_to_run_behind";
    Child::new().run(path, check_docker).expect("this is the parent").expect_done();
}

#[test]
fn refused_scheduling_calls_are_why_the_pool_is_used() {
    if sandbox() != Some(Sandbox::NoScheduling) {
        return skip("scheduling calls are allowed");
    }
    bounded(LIMIT, || {
        let guard = settings().attach().expect("the pool does");
        let Mode::Pool(Unsupported::Refused(name, libc::EPERM)) = guard.mode() else {
            panic!("{:?}", guard.mode());
        };
        assert!(name.starts_with("sched_set"), "{name}");
        assert!(settings().require().attach().is_err(), "required, and not to be had");
    });
}
