//! Signal handlers that submit: at any instant, whatever the guest is doing.

use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use syslet::{AttachGuard, Submitted};

use crate::runner::{ALL, GUESTS, Scenario};
use crate::work::{attach, away_reads, finish_all, make, settings};
use crate::{proc, sys};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a_handler_may_submit_between_any_two_instructions", GUESTS, quick),
    Scenario::new("a_call_of_a_handler_may_go_away_between_any_two_instructions", GUESTS, slow),
    Scenario::new("a_call_of_a_handler_may_wait_while_the_guest_parks", GUESTS, parks),
    Scenario::new("a_handler_may_submit_while_the_guest_queues_a_call", GUESTS, queues),
    Scenario::new("a_handler_may_write_while_the_guest_queues_a_write", GUESTS, queues_writes),
    Scenario::new("a_handler_may_write_while_the_guest_sets_limits", GUESTS, sets_limits),
    Scenario::new("a_handoff_in_a_handler_mixes_up_no_signal_stacks", GUESTS, stacks),
    Scenario::new("a_handler_may_submit_while_the_guest_comes_and_goes", GUESTS, come_and_go),
    Scenario::new("a_guest_comes_home_while_signals_storm_at_its_home", GUESTS, storm),
    Scenario::new("a_program_that_hangs_in_a_handler_ends_by_another_thread", ALL, hung),
    Scenario::new("a_thread_that_lets_a_signal_through_later_ends_the_program", ALL, later),
    Scenario::new("a_signal_that_its_guest_takes_is_nobody_elses", ALL, taken),
    Scenario::new("a_guest_comes_home_though_what_tells_its_home_is_taken_away", GUESTS, reset),
    Scenario::new("a_signal_that_all_threads_block_ends_nothing", ALL, blocked),
];

/// Kernel thread that the disturber sends to.
static TARGET: AtomicI32 = AtomicI32::new(0);
/// Signals handled.
static HITS: AtomicU32 = AtomicU32::new(0);
/// The disturber is to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// A call that may wait, and does not. (On a thread that is not attached it would be queued, which no
/// handler may do.)
extern "C" fn submit_quick(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if syslet::is_attached() {
        make(libc::SYS_poll, [0; 6]).wait();
    }
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// A call that waits, so that the guest is on another kernel thread after it. Its handle is leaked: a
/// handler may not free memory.
extern "C" fn submit_slow(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    static TIME: [u64; 2] = [0, 20_000];
    static WORD: AtomicU32 = AtomicU32::new(0);
    // A carrier has the guest's mask of when it was attached, so that the next signal interrupts this handler: if they
    // come faster than they are handled, without end.
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    let depth = DEPTH.fetch_add(1, Ordering::SeqCst);
    if syslet::is_attached() && depth < 64 {
        // It cannot be parked, as a sleep would be.
        let (word, time) = (&raw const WORD as usize, TIME.as_ptr() as usize);
        let wait = [word, libc::FUTEX_WAIT as usize, 0, time, 0, 0];
        if let Submitted::Pending(pending) = make(libc::SYS_futex, wait) {
            while !pending.is_done() {
                thread::yield_now();
            }
            std::mem::forget(pending);
        }
        TARGET.store(sys::gettid(), Ordering::SeqCst);
    }
    DEPTH.fetch_sub(1, Ordering::SeqCst);
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// A time that is slept without a thread, parked.
static PARKED_TIME: [u64; 2] = [0, 20_000];

/// A call that is parked. Its handle is leaked, as above.
extern "C" fn submit_parked(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if syslet::is_attached() {
        std::mem::forget(make(libc::SYS_nanosleep, [PARKED_TIME.as_ptr() as usize, 0, 0, 0, 0, 0]));
    }
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// Waits for the word of its own, which is `expected` or not.
fn wait_for_word(expected: usize) -> Submitted {
    make(libc::SYS_futex, [&raw const GATE as usize, libc::FUTEX_WAIT as usize, expected, 0, 0, 0])
}

/// The guest does nothing but queue calls: it allocates nowhere else, where a handler must not.
static QUEUES: AtomicBool = AtomicBool::new(false);
/// 0 until the crew is to be free again.
static GATE: AtomicU32 = AtomicU32::new(0);

/// A call that is queued, and ends at once when its turn comes. Its handle is leaked, as above.
extern "C" fn submit_queued(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if QUEUES.load(Ordering::SeqCst) {
        std::mem::forget(wait_for_word(2));
    }
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// The file that is written to.
static FILE: AtomicI32 = AtomicI32::new(-1);

/// A write of four bytes.
fn write_name() -> Submitted {
    let file = FILE.load(Ordering::SeqCst) as usize;
    make(libc::SYS_write, [file, c"name".as_ptr() as usize, 4, 0, 0, 0])
}

/// A write to the file of which as many as may be are away. Its handle is leaked, as above.
extern "C" fn submit_write(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if QUEUES.load(Ordering::SeqCst) {
        std::mem::forget(write_name());
    }
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// Starts a thread that sends one signal after the other to whatever kernel thread is the target.
fn disturb() -> JoinHandle<()> {
    TARGET.store(sys::gettid(), Ordering::SeqCst);
    thread::spawn(|| {
        let pid = sys::getpid() as usize;
        while !STOP.load(Ordering::SeqCst) {
            let tid = TARGET.load(Ordering::SeqCst) as usize;
            sys::number_call(libc::SYS_tgkill, [pid, tid, libc::SIGUSR1 as usize, 0]);
            // Not at the same instant of each round.
            (0..HITS.load(Ordering::SeqCst) % 64).for_each(|_| std::hint::spin_loop());
        }
    })
}

/// Says when `enough` signals were handled; fewer will do if that takes long, on a busy machine.
fn until_handled(enough: u32) -> impl FnMut() -> bool {
    let long = Instant::now() + sys::PATIENCE / 2;
    move || {
        let handled = HITS.load(Ordering::SeqCst);
        handled >= enough || handled >= enough / 100 && Instant::now() > long
    }
}

/// Threadlets and calls whose answers can be told from others', until `enough` signals were handled.
fn work_until(enough: u32) {
    let mut round = 0usize;
    let mut handled = until_handled(enough);
    sys::spin_until("the signals are handled", || {
        for _ in 0..1000 {
            TARGET.store(sys::gettid(), Ordering::SeqCst);
            round += 1;
            let numbers = [round; 12];
            assert_eq!(syslet::threadlet(move || numbers).join(), [round; 12]);
            let answer = make(libc::SYS_poll, [0, 0, 0, round, 0, 0]).wait().raw();
            assert!([0, -libc::EINTR as isize].contains(&answer), "{answer}");
        }
        handled()
    });
}

fn quick() {
    sys::handle_without_stack(libc::SIGUSR1, submit_quick);
    let disturber = disturb();
    let guard = attach();
    TARGET.store(sys::gettid(), Ordering::SeqCst);
    work_until(20_000);
    STOP.store(true, Ordering::SeqCst);
    disturber.join().expect("ends well");
    drop(guard);
}

fn slow() {
    sys::handle_without_stack(libc::SIGUSR1, submit_slow);
    let disturber = disturb();
    let guard = attach();
    TARGET.store(sys::gettid(), Ordering::SeqCst);
    work_until(5_000);
    STOP.store(true, Ordering::SeqCst);
    disturber.join().expect("ends well");
    drop(guard);
}

/// What the guest does here allocates while it parks a call only, when a handler must not: so the
/// allocator is not what is looked at.
fn parks() {
    sys::handle_without_stack(libc::SIGUSR1, submit_parked);
    let disturber = disturb();
    let guard = attach();
    let mut handled = until_handled(5_000);
    sys::spin_until("the signals are handled", || {
        for _ in 0..100 {
            TARGET.store(sys::gettid(), Ordering::SeqCst);
            let sleep = make(libc::SYS_nanosleep, [PARKED_TIME.as_ptr() as usize, 0, 0, 0, 0, 0]);
            if let Submitted::Pending(pending) = sleep {
                while !pending.is_done() {
                    thread::yield_now();
                }
                std::mem::forget(pending);
            }
        }
        handled()
    });
    STOP.store(true, Ordering::SeqCst);
    disturber.join().expect("ends well");
    drop(guard);
}

/// As [`parks`], with a crew that is used up: all of it waits.
fn queues() {
    sys::handle_without_stack(libc::SIGUSR1, submit_queued);
    let guard = settings().max_crew(3).attach().expect("the thread can be attached");
    (0..3).for_each(|_| std::mem::forget(wait_for_word(0)));
    queue_disturbed(|| std::mem::forget(wait_for_word(2)));
    drop(guard);
}

/// The same of writes.
fn queues_writes() {
    let guard = with_writes_in_line();
    queue_disturbed(|| std::mem::forget(write_name()));
    drop(guard);
}

fn sets_limits() {
    let guard = with_writes_in_line();
    queue_disturbed(one_writer);
    drop(guard);
}

fn one_writer() {
    syslet::set_limits(syslet::Limits::new().writers_per_descriptor(1));
}

/// Writes wait for one that waits for a crew thread.
fn with_writes_in_line() -> AttachGuard {
    sys::handle_without_stack(libc::SIGUSR1, submit_write);
    let guard = settings().max_crew(3).attach().expect("the thread can be attached");
    one_writer();
    let file = std::fs::File::options().write(true).open("/proc/self/comm").expect("it is there");
    FILE.store(file.into_raw_fd(), Ordering::SeqCst); // some wait to the end
    (0..3).for_each(|_| std::mem::forget(wait_for_word(0)));
    // Procfs does not write without waiting, so a thread that is not attached queues it.
    let first = thread::spawn(|| assert!(!write_name().is_done()));
    first.join().expect("ends well");
    (0..100).for_each(|_| std::mem::forget(write_name()));
    guard
}

/// Does this while signals come, and lets the crew go.
fn queue_disturbed(act: fn()) {
    let disturber = disturb();
    let mut handled = until_handled(2_000);
    QUEUES.store(true, Ordering::SeqCst);
    sys::spin_until("the signals are handled", || {
        for _ in 0..20 {
            TARGET.store(sys::gettid(), Ordering::SeqCst);
            act();
        }
        handled()
    });
    QUEUES.store(false, Ordering::SeqCst);
    STOP.store(true, Ordering::SeqCst);
    disturber.join().expect("ends well");
    GATE.store(1, Ordering::SeqCst);
    let all = i32::MAX as usize;
    let wake = [&raw const GATE as usize, libc::FUTEX_WAKE as usize, all, 0];
    sys::number_call(libc::SYS_futex, wake);
}

fn stacks() {
    sys::handle_without_stack(libc::SIGUSR1, submit_slow);
    let own = sys::signal_stack();
    let guard = attach();
    for _ in 0..50 {
        let (tid, stack) = (sys::gettid(), sys::signal_stack());
        sys::raise(libc::SIGUSR1);
        make(libc::SYS_poll, [0; 6]).wait();
        assert!(sys::gettid() == tid || sys::signal_stack() != stack, "two have the same stack");
    }
    sys::raise(libc::SIGUSR1);
    drop(guard);
    assert_eq!(sys::signal_stack(), own, "after detaching");
}

fn come_and_go() {
    sys::handle_without_stack(libc::SIGUSR1, submit_quick);
    let disturber = disturb();
    let mut handled = until_handled(20_000);
    sys::spin_until("the signals are handled", || {
        let guard = attach();
        TARGET.store(sys::gettid(), Ordering::SeqCst);
        std::hint::black_box(&guard);
        drop(guard);
        TARGET.store(sys::gettid(), Ordering::SeqCst);
        handled()
    });
    STOP.store(true, Ordering::SeqCst);
    disturber.join().expect("ends well");
}

extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    HITS.fetch_add(1, Ordering::SeqCst);
}

/// Signals with lower numbers than that by which a home is told something: the kernel gives them first.
fn storm() {
    const LOW: [i32; 12] = [1, 2, 3, 10, 12, 13, 14, 15, 16, 17, 21, 22];
    LOW.iter().for_each(|&signal| sys::handle_without_stack(signal, count));
    let home = sys::gettid() as usize;
    let sender = || {
        thread::spawn(move || {
            sys::block(&LOW);
            let pid = sys::getpid() as usize;
            while !STOP.load(Ordering::SeqCst) {
                for signal in LOW {
                    sys::number_call(libc::SYS_tgkill, [pid, home, signal as usize, 0]);
                }
            }
        })
    };
    let senders = [sender(), sender(), sender()];
    let long = Instant::now() + sys::PATIENCE / 4;
    for _ in 0..200 {
        drop(attach());
        if Instant::now() > long {
            break;
        }
    }
    STOP.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().expect("ends well"));
    assert!(HITS.load(Ordering::SeqCst) > 0);
}

/// A handler that lets nothing interrupt it, and never returns.
extern "C" fn hang(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    sys::block(&[libc::SIGTERM]);
    HITS.store(1, Ordering::SeqCst);
    if let Some(words) = sys::shared_at(WORDS.load(Ordering::SeqCst)) {
        words[0].store(1, Ordering::SeqCst);
    }
    loop {
        std::hint::spin_loop();
    }
}

/// Address of the words that the handler changes.
static WORDS: AtomicUsize = AtomicUsize::new(0);

/// As it would by the kernel if the guest were on its own thread.
fn hung() {
    let words = sys::shared_words();
    let child = sys::fork(move || {
        WORDS.store(words.as_ptr() as usize, Ordering::SeqCst);
        sys::handle_by_default(libc::SIGTERM);
        sys::handle(libc::SIGUSR1, hang);
        let _guard = attach();
        let _reads = away_reads(2);
        let _another = thread::spawn(|| {
            loop {
                thread::park()
            }
        });
        sys::raise(libc::SIGUSR1);
        1
    });
    assert!(sys::wait_change(&words[0], 0), "the child is in its handler");
    assert!(sys::kill(child.0, libc::SIGTERM));
    assert_eq!(child.end(), -libc::SIGTERM);
}

/// The kernel keeps a signal for whoever lets it through, however late.
fn later() {
    let words = sys::shared_words();
    let child = sys::fork(move || {
        WORDS.store(words.as_ptr() as usize, Ordering::SeqCst);
        sys::handle_by_default(libc::SIGTERM);
        sys::handle(libc::SIGUSR1, hang);
        // It has this mask from its first moment.
        sys::block(&[libc::SIGTERM]);
        let _another = thread::spawn(move || {
            sys::wait_change(&words[1], 0);
            sys::unblock(&[libc::SIGTERM]);
            loop {
                thread::park()
            }
        });
        sys::unblock(&[libc::SIGTERM]);
        let _guard = attach();
        sys::raise(libc::SIGUSR1);
        1
    });
    assert!(sys::wait_change(&words[0], 0), "the child is in its handler");
    assert!(sys::kill(child.0, libc::SIGTERM));
    sys::eventually("it has come", || proc::is_pending(child.0, libc::SIGTERM));
    thread::sleep(Duration::from_millis(20)); // whoever looks only once has looked
    assert!(proc::lives(child.0));
    words[1].store(1, Ordering::SeqCst);
    assert_eq!(child.end(), -libc::SIGTERM);
}

/// By sigtimedwait(2), or by a handler that is set before it is let through: once, and no later than that.
fn taken() {
    for by_handler in [false, true] {
        let words = sys::shared_words();
        let child = sys::fork(move || {
            sys::handle_by_default(libc::SIGTERM);
            let _guard = attach();
            sys::block(&[libc::SIGTERM]);
            words[0].store(1, Ordering::SeqCst);
            let pending = || proc::is_pending(sys::getpid(), libc::SIGTERM);
            sys::eventually("it has come", pending);
            thread::sleep(Duration::from_millis(50)); // it has been looked for another thread
            if by_handler {
                sys::handle(libc::SIGTERM, count);
                sys::unblock(&[libc::SIGTERM]);
            } else {
                let signal = sys::wait_signal(&[libc::SIGTERM], Duration::from_secs(1));
                assert_eq!(signal, Some(libc::SIGTERM));
                sys::unblock(&[libc::SIGTERM]);
            }
            thread::sleep(Duration::from_millis(300)); // and would be, for longer
            i32::try_from(HITS.load(Ordering::SeqCst)).expect("few")
        });
        assert!(sys::wait_change(&words[0], 0), "the child blocks it");
        assert!(sys::kill(child.0, libc::SIGTERM));
        assert_eq!(child.end(), i32::from(by_handler));
    }
}

/// SIGURG's default is to be ignored: the kernel throws away what is pending of it then, in all threads.
fn reset() {
    let resetter = thread::spawn(|| {
        while !STOP.load(Ordering::SeqCst) {
            sys::handle_by_default(libc::SIGURG);
        }
    });
    let long = Instant::now() + sys::PATIENCE / 4;
    for _ in 0..2000 {
        drop(attach());
        if Instant::now() > long {
            break;
        }
    }
    STOP.store(true, Ordering::SeqCst);
    resetter.join().expect("ends well");
}

/// Crew threads that are asleep in calls of the guest's do not count: they have the mask that it had.
fn blocked() {
    let child = sys::fork(|| {
        sys::handle_by_default(libc::SIGTERM);
        let _guard = attach();
        let reads = away_reads(3);
        sys::block(&[libc::SIGTERM]);
        // In the moment before a home waits the kernel gives a signal to whoever lets it through (PLATFORM.md).
        let waits = || !syslet::is_attached() || !sys::blocks(sys::getpid(), libc::SIGTERM);
        sys::eventually("the home waits for signals", waits);
        assert!(sys::kill(sys::getpid(), libc::SIGTERM));
        sys::eventually("it has come to the guest", || sys::is_pending(libc::SIGTERM));
        // The watchdog looks for another thread before it makes any, which it is asked for here.
        let another = thread::spawn(|| {
            let _guard = attach();
            finish_all(away_reads(16));
        });
        another.join().expect("ends well");
        finish_all(reads);
        // What waits for the guest is sent to the process when the guest is detached. A crew thread that is just
        // coming out of a call would let it through (PLATFORM.md).
        let lets_through = |tid: &i32| !sys::blocks(*tid, libc::SIGTERM);
        let home = if syslet::is_attached() { sys::getpid() } else { 0 };
        sys::eventually("crew threads rest", || {
            proc::threads()
                .iter()
                .filter(|tid| **tid != home)
                .find(|tid| lets_through(tid))
                .is_none()
        });
        0
    });
    assert_eq!(child.end(), 0);
}
