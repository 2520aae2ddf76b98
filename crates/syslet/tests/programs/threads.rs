//! Threads that a guest makes, and what a guest's own thread is to the C library.

use std::cell::Cell;
use std::thread;

use crate::container::scheduling_is_denied;
use crate::runner::{ALL, GUESTS, Mode, Scenario, skip};
use crate::sys;
use crate::work::{attach, away_reads, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("threads_and_children_inherit_what_the_guest_has", ALL, inherit),
    Scenario::new("what_refresh_saw_is_inherited_after_handoffs", ALL, inherit_refreshed),
    Scenario::new("timer_slack_alone_is_taken_over_by_the_next_carrier", GUESTS, slack_alone),
    Scenario::new("the_nice_value_of_one_guest_does_not_stick_to_another", GUESTS, nice_leak),
    Scenario::new("the_affinity_of_one_guest_does_not_stick_to_another", GUESTS, affinity_leak),
    Scenario::new("a_pool_threadlet_does_not_run_with_a_guests_nice_value", GUESTS, job_nice),
    Scenario::new("sched_getcpu_is_right_before_between_and_after", ALL, getcpu),
    Scenario::new("rseq_is_registered_again_after_detach", ALL, rseq),
    Scenario::new("a_dying_guest_thread_leaves_its_robust_mutex_to_others", ALL, robust),
    Scenario::new("thread_locals_and_errno_stay_the_guests", ALL, locals),
    Scenario::new(
        "what_is_asked_for_by_pthread_id_reaches_whom_it_is_said_to",
        GUESTS,
        by_pthread_id,
    ),
    Scenario::new("the_guard_names_a_thread_and_its_children", ALL, named),
    Scenario::new("many_threads_attach_and_detach_at_the_same_time", ALL, crowd),
];

/// What a thread or child has from its maker.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Heritage {
    affinity: Vec<usize>,
    mask: u64,
    nice: i32,
    slack: usize,
}

impl Heritage {
    fn of_this_thread() -> Self {
        Self {
            affinity: sys::affinity(0),
            mask: sys::signal_mask(),
            nice: sys::nice(),
            slack: sys::timer_slack(),
        }
    }
}

/// Compares what a thread, and a child, of the running code would have.
#[track_caller]
fn check(expected: &Heritage) {
    let thread = thread::spawn(Heritage::of_this_thread).join().expect("the thread ends well");
    assert_eq!(&thread, expected, "a thread");
    let copy = expected.clone();
    let child = sys::fork(move || {
        let found = Heritage::of_this_thread();
        if found != copy {
            eprintln!("the child has {found:?}");
        }
        i32::from(found != copy)
    });
    assert_eq!(child.end(), 0, "a child differs from {expected:?}");
}

fn inherit() {
    sys::block(&[libc::SIGUSR2]);
    sys::set_nice(3);
    sys::prctl(libc::PR_SET_TIMERSLACK, 77_777);
    let mut expected = Heritage::of_this_thread();
    let _guard = attach();
    if Mode::current() == Mode::Pinned {
        expected.affinity.truncate(1);
    }
    check(&expected);
    let mut reads = Vec::new();
    for _ in 0..10 {
        reads.extend(away_reads(1));
        check(&expected);
    }
    finish_all(reads);
    for _ in 0..20 {
        hand_off();
        check(&expected);
    }
}

fn inherit_refreshed() {
    let guard = attach();
    hand_off();
    sys::block(&[libc::SIGUSR1]);
    sys::set_nice(2);
    sys::prctl(libc::PR_SET_TIMERSLACK, 123_456);
    guard.refresh().expect("the kernel says how the thread runs");
    let expected = Heritage::of_this_thread();
    for _ in 0..10 {
        hand_off();
        check(&expected);
    }
}

fn slack_alone() {
    let guard = attach();
    hand_off();
    for slack in [60_000, 70_000, 80_000] {
        sys::prctl(libc::PR_SET_TIMERSLACK, slack);
        guard.refresh().expect("the kernel says how the thread runs");
        for _ in 0..10 {
            hand_off();
            assert_eq!(sys::timer_slack(), slack, "timer slack after a handoff");
        }
    }
}

fn nice_leak() {
    if !sys::is_root() {
        skip("going back to a lower nice value takes a right");
    }
    let own = sys::nice(); // the suite may have been started with another than 0
    let _guard = attach();
    for _ in 0..20 {
        thread::spawn(|| {
            let _guard = attach();
            sys::set_nice(9);
            hand_off();
        })
        .join()
        .expect("the other guest ends well");
        let reads = away_reads(3);
        assert_eq!(sys::nice(), own, "nice value of a guest that never changed it");
        finish_all(reads);
        assert_eq!(sys::nice(), own, "nice value of a guest that never changed it");
    }
}

fn affinity_leak() {
    let all = sys::affinity(0);
    if all.len() < 2 {
        skip("there is one CPU only");
    }
    let _guard = attach();
    hand_off();
    // All, or the one CPU of a guest that is pinned.
    let own = sys::affinity(0);
    for round in 0..20 {
        let one = all[round % all.len()];
        thread::spawn(move || {
            let guard = attach();
            sys::set_affinity(0, &[one]);
            hand_off();
            guard.set_affinity(&[one].into_iter().collect()).expect("the CPU is allowed");
            hand_off();
        })
        .join()
        .expect("the other guest ends well");
        let reads = away_reads(3);
        assert_eq!(sys::affinity(0), own, "affinity of a guest that never changed it");
        finish_all(reads);
        assert_eq!(sys::affinity(0), own, "affinity of a guest that never changed it");
    }
}

fn job_nice() {
    if !sys::is_root() {
        skip("going back to nice 0 takes a right");
    }
    for _ in 0..10 {
        thread::spawn(|| {
            sys::set_nice(9);
            let _guard = attach();
            finish_all(away_reads(3));
        })
        .join()
        .expect("the guest ends well");
        let nice: Vec<_> = (0..6).map(|_| syslet::threadlet(sys::nice)).collect();
        for threadlet in nice {
            assert_eq!(threadlet.join(), 0, "nice value of a threadlet of an unattached thread");
        }
    }
}

fn getcpu() {
    let cpus = sys::affinity(0);
    let guard = attach();
    if Mode::current() == Mode::Pool {
        assert!(cpus.contains(&sys::sched_getcpu()));
        return;
    }
    for round in 0..100 {
        let cpu = cpus[round % cpus.len()];
        guard.set_affinity(&[cpu].into_iter().collect()).expect("the CPU is allowed");
        assert_eq!(sys::sched_getcpu(), cpu, "before a handoff, round {round}");
        hand_off();
        assert_eq!(sys::sched_getcpu(), cpu, "after a handoff, round {round}");
    }
    drop(guard);
    for round in 0..100 {
        let cpu = cpus[round % cpus.len()];
        sys::set_affinity(0, &[cpu]);
        assert_eq!(sys::sched_getcpu(), cpu, "after detach, round {round}");
    }
}

fn rseq() {
    if scheduling_is_denied() {
        skip("the sandbox does not let a thread be moved to a CPU");
    }
    let Some(before) = sys::rseq_cpu() else { skip("this C library has no rseq area") };
    if before < 0 {
        skip("this C library has not registered an rseq area");
    }
    for _ in 0..20 {
        let guard = attach();
        if Mode::current() != Mode::Pool {
            assert!(sys::rseq_cpu() < Some(0), "a guest's area must not look registered");
        }
        hand_off();
        drop(guard);
        assert!(sys::rseq_cpu() >= Some(0), "registered after detach");
        for cpu in sys::affinity(0) {
            let all = sys::affinity(0);
            sys::set_affinity(0, &[cpu]);
            assert_eq!(sys::rseq_cpu(), Some(cpu as i32), "the kernel keeps the area up to date");
            sys::set_affinity(0, &all);
        }
        let other = thread::spawn(|| sys::rseq_cpu() >= Some(0)).join().expect("ends well");
        assert!(other, "registered in new threads");
    }
}

fn robust() {
    for leak in [false, true] {
        let mutex = sys::RobustMutex::new();
        thread::spawn(move || {
            let guard = attach();
            hand_off();
            assert_eq!(mutex.lock(), 0);
            hand_off();
            if leak {
                std::mem::forget(guard);
            }
        })
        .join()
        .expect("the guest ends well");
        assert_eq!(mutex.lock(), libc::EOWNERDEAD, "leaked guard: {leak}");
    }
}

fn locals() {
    thread_local! {
        static MINE: Cell<u32> = const { Cell::new(0) };
    }
    let id = thread::current().id();
    let _guard = attach();
    for round in 0..200 {
        MINE.set(round);
        let read = away_reads(1);
        assert_eq!(MINE.get(), round);
        assert_eq!(thread::current().id(), id);
        assert!(!sys::kill(sys::getpid(), 999));
        assert_eq!(sys::errno(), libc::EINVAL);
        finish_all(read);
    }
}

/// What PLATFORM.md says of the C library's functions that take a thread.
fn by_pthread_id() {
    let home = sys::gettid();
    let all = sys::affinity(home);
    let name = |tid| crate::proc::field(tid, "Name").expect("a thread has a name");
    let guard = attach();
    hand_off();
    let (own, carrier) = (sys::this_pthread(), sys::gettid());
    assert_ne!(carrier, home);
    sys::set_thread_affinity(own, all[0]);
    assert_eq!(sys::affinity(home), all[..1], "affinity of the home");
    if Mode::current() == Mode::Follow {
        assert_eq!(sys::affinity(0), all, "affinity of the carrier");
    }
    let others = name(carrier);
    thread::spawn(move || sys::set_thread_name(own, c"by-another")).join().expect("ends well");
    assert_eq!((name(home).as_str(), name(carrier)), ("by-another", others), "names");
    // The C library knows the running thread, and asks the kernel for its own.
    sys::set_thread_name(own, c"by-itself");
    assert_eq!((name(home).as_str(), name(carrier).as_str()), ("by-another", "by-itself"), "names");
    hand_off();
    drop(guard);
    assert_eq!((sys::gettid(), name(home).as_str()), (home, "by-another"));
    assert_eq!(sys::affinity(0), all[..1], "the thread has what was asked for it");
}

fn named() {
    let home = sys::gettid();
    let name = |tid| crate::proc::field(tid, "Name").expect("a thread has a name");
    let guard = attach();
    hand_off();
    guard.set_name(c"a name of guests").expect_err("sixteen bytes");
    guard.set_name(c"one of fifteen!").expect("fifteen bytes");
    assert_eq!(name(home), "one of fifteen!");
    guard.set_name(c"").expect("no bytes");
    assert_eq!(name(home), "");
    guard.set_name(c"one of fifteen!").expect("fifteen bytes");
    hand_off();
    let child = sys::fork(move || i32::from(name(sys::gettid()) != "one of fifteen!"));
    assert_eq!(child.end(), 0, "the child's name");
    drop(guard);
    assert_eq!((sys::gettid(), name(home).as_str()), (home, "one of fifteen!"));
}

fn crowd() {
    let threads: Vec<_> = (0..16)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..20 {
                    let guard = attach();
                    hand_off();
                    drop(guard);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every guest ends well");
    }
    assert_eq!(syslet::stats().attached, 0);
}
