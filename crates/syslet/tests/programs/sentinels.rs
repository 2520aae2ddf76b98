//! The sentinels: what they own, how they die, and that the program does not see them.

use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use crate::proc;
use crate::runner::{ALL, GUESTS, Scenario};
use crate::sys;
use crate::work::{attach, away_reads, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a_program_that_ends_at_once_leaves_no_sentinel", GUESTS, ends_at_once).extra(30),
    Scenario::new("a_sentinel_owns_nothing_and_is_sealed", GUESTS, sealed),
    Scenario::new("waiting_for_children_never_finds_a_sentinel", ALL, no_child),
    Scenario::new("the_program_works_on_without_its_sentinels", GUESTS, killed),
    Scenario::new("sentinels_that_are_renewed_leave_no_memory_behind", GUESTS, renewed),
    Scenario::new("closing_every_descriptor_breaks_nothing", ALL, close_all),
    Scenario::new("a_pipe_ends_when_the_program_closes_it", GUESTS, pipes_end),
    Scenario::new("signals_to_the_process_group_leave_sentinels_alone", GUESTS, group),
];

/// Programs that end while their first sentinel is being made.
fn ends_at_once() {
    // Orphans become ours, so that they are seen.
    assert_eq!(sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1), 0);
    let _hogs = sys::Hogs::on_every_cpu(); // what is made waits before it runs
    for round in 0..300u32 {
        let child = sys::fork(move || {
            thread::spawn(|| drop(attach()));
            thread::sleep(Duration::from_micros(u64::from(round) * 50));
            0
        });
        assert_eq!(child.end(), 0);
    }
    let own = sys::getpid();
    sys::eventually("the sentinels end", || !proc::sentinels_of(own).into_iter().any(proc::lives));
}

fn sealed() {
    let guard = attach();
    (0..20).for_each(|_| hand_off());
    let sentinels = proc::sentinels_of(sys::getpid());
    assert!(!sentinels.is_empty(), "there is a sentinel");
    for sentinel in sentinels {
        let of = |field| proc::process_field(sentinel, field).expect("the sentinel lives");
        // One that is just being made seals itself first.
        sys::eventually("the sentinel is filtered", || of("Seccomp") == "2");
        assert_eq!(of("NoNewPrivs"), "1");
        assert_eq!(of("Threads"), "1");
        assert_eq!(u64::from_str_radix(&of("SigBlk"), 16).map(|set| set | 0x4_0100), Ok(!0));
        // It leaves the program's table after that.
        let files = || std::fs::read_dir(format!("/proc/{sentinel}/fd")).expect("root, or ours");
        sys::eventually("the sentinel has no descriptors", || files().count() == 0);
    }
    drop(guard);
}

fn no_child() {
    let _guard = attach();
    hand_off();
    for flags in [0, libc::WNOHANG] {
        assert_eq!(sys::wait_any(flags), Err(libc::ECHILD));
    }
    let threadlet = syslet::threadlet(|| sys::wait_any(0)).join();
    assert_eq!(threadlet, Err(libc::ECHILD));
    for _ in 0..20 {
        let child = sys::fork(|| 0);
        assert_eq!(sys::wait_any(0), Ok(child.0));
        assert_eq!(sys::wait_any(0), Err(libc::ECHILD));
    }
}

fn killed() {
    let guard = attach();
    hand_off();
    for _ in 0..5 {
        let reads = away_reads(2);
        for sentinel in proc::sentinels_of(sys::getpid()) {
            assert!(sys::kill(sentinel, libc::SIGKILL));
            sys::eventually("the sentinel is dead", || !proc::lives(sentinel));
        }
        hand_off();
        finish_all(away_reads(3));
        finish_all(reads);
        thread::spawn(|| {
            let _guard = attach();
            hand_off();
        })
        .join()
        .expect("another guest ends well");
        assert_eq!(sys::wait_any(libc::WNOHANG), Err(libc::ECHILD));
    }
    drop(guard);
    let _again = attach();
    (0..50).for_each(|_| hand_off());
}

/// Every change of ids through the C library has all sentinels replaced.
fn renewed() {
    let _guard = attach();
    hand_off();
    let own = sys::getpid();
    let renew = || {
        let before = proc::sentinels_of(own);
        assert!(sys::setgid(sys::own_group()), "a thread may be in its own group");
        sys::eventually("the sentinels are others", || {
            hand_off(); // where there is none, the next call asks for one
            let now = proc::sentinels_of(own);
            !now.is_empty() && !now.iter().any(|id| before.contains(id))
        });
    };
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        maps.lines().count()
    };
    renew();
    let before = mappings();
    (0..30).for_each(|_| renew());
    let grown = mappings().saturating_sub(before);
    assert!(grown < 20, "{grown} mappings more after 30 times");
    let cpus = sys::affinity(own).len();
    sys::eventually("the old ones are reaped", || proc::sentinels_of(own).len() <= cpus);
}

fn close_all() {
    let child = sys::fork(|| {
        let guard = attach();
        let _reads = away_reads(3);
        let sleep = thread::spawn(|| {
            let _guard = attach();
            crate::work::submit_sleep(std::time::Duration::from_millis(20)).0
        });
        sys::close_from(0);
        // The descriptors of `_reads` are closed: their owners must not be dropped.
        std::mem::forget(_reads);
        let slept = sleep.join().unwrap_or(-1);
        for _ in 0..50 {
            hand_off();
        }
        sys::close_from(0);
        drop(guard);
        let again = attach();
        finish_all(away_reads(3));
        drop(again);
        i32::from(slept != 0)
    });
    assert_eq!(child.end(), 0);
}

fn pipes_end() {
    // Nothing of ours may hold a copy of a descriptor: the reader would never see the end.
    for _ in 0..20 {
        let (reader, writer) = sys::pipe();
        let guard = attach();
        hand_off();
        drop(writer);
        assert!(sys::readable_or_ended(reader.as_raw_fd()), "the pipe has no writer left");
        drop(guard);
        let child = sys::fork(|| 0);
        child.end();
    }
}

fn group() {
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        sys::ignore(signal);
    }
    let _guard = attach();
    hand_off();
    let before = proc::sentinels_of(sys::getpid());
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        assert!(sys::kill(0, signal));
    }
    (0..20).for_each(|_| hand_off());
    assert!(before.iter().all(|sentinel| proc::lives(*sentinel)), "the sentinels live");
}
