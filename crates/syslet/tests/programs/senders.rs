//! What a handler is told of who has sent its signal.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use crate::runner::{ALL, GUESTS, Scenario};
use crate::sys;
use crate::work::{attach, away_reads, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("the_sender_of_a_signal_is_told", ALL, siginfo),
    Scenario::new("a_signal_that_looks_like_the_librarys_own_harms_nothing", GUESTS, forged),
    Scenario::new("a_signal_like_the_one_for_homes_keeps_no_guest_from_its_own", GUESTS, urgent),
    Scenario::new("the_program_sees_no_signal_for_homes", GUESTS, unseen),
    Scenario::new("the_child_of_a_sigchld_is_told", ALL, sigchld),
    Scenario::new("who_has_sent_a_signal_that_waits_for_the_process_is_told", ALL, waiting),
    Scenario::new("a_sigchld_disturbs_no_call_of_the_thread_that_forked", ALL, sigchld_away),
];

/// Signals handled.
static HITS: AtomicU32 = AtomicU32::new(0);
static SENDER: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_sender(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let (pid, code) = sys::sender(info);
    SENDER.store(pid, Ordering::SeqCst);
    CODE.store(code, Ordering::SeqCst);
    VALUE.store(sys::queued_value(info), Ordering::SeqCst);
    HITS.fetch_add(1, Ordering::SeqCst);
}

fn siginfo() {
    sys::handle(libc::SIGUSR1, note_sender);
    sys::handle(libc::SIGUSR2, note_sender);
    let _guard = attach();
    let parent = sys::getpid();
    let child = sys::fork(move || i32::from(!sys::queue_signal(parent, libc::SIGUSR2, 4711)));
    let pid = child.0;
    sys::spin_until("the queued signal is handled", || HITS.load(Ordering::SeqCst) == 1);
    assert_eq!(SENDER.load(Ordering::SeqCst), pid, "si_pid of sigqueue");
    assert_eq!(VALUE.load(Ordering::SeqCst), 4711, "si_value of sigqueue");
    assert_eq!(child.end(), 0);
    let child = sys::fork(move || i32::from(!sys::kill(parent, libc::SIGUSR1)));
    let pid = child.0;
    sys::spin_until("the signal is handled", || HITS.load(Ordering::SeqCst) == 2);
    assert_eq!(SENDER.load(Ordering::SeqCst), pid, "si_pid of kill");
    assert_eq!(CODE.load(Ordering::SeqCst), libc::SI_USER, "si_code of kill");
    assert_eq!(child.end(), 0);
}

/// Another process that may signal this one names it as the sender, and every code and value that it likes.
fn forged() {
    let _guard = attach();
    hand_off();
    let (parent, carrier) = (sys::getpid(), sys::gettid());
    let child = sys::fork(move || {
        // The library's codes (crew/signals.rs), and values that are addresses, near or wild, or numbers of guests.
        let codes = [-7_331, -7_332, -7_333];
        let values = [0, 1, 31, 32, 127, 128, 4096, 1 << 17, 0x7000_0000_0000, 1 << 63, usize::MAX];
        let sent = codes
            .iter()
            .all(|code| values.iter().all(|value| sys::forge(parent, carrier, 33, *code, *value)));
        i32::from(!sent)
    });
    assert_eq!(child.end(), 0, "the signals can be sent");
    (0..20).for_each(|_| hand_off());
}

/// Another process has sent the very signal by which homes are told, and the home, on a busy CPU, has not seen it
/// when its guest tells it.
fn urgent() {
    sys::handle(libc::SIGURG, note_sender);
    let words = sys::shared_words();
    let parent = sys::getpid();
    let child = sys::fork(move || {
        while sys::parent_pid() == parent {
            let home = words[0].load(Ordering::SeqCst) as i32;
            if home < 0 {
                return 0;
            }
            if home > 0 {
                sys::kill_thread(parent, home, libc::SIGURG);
                words[0].store(0, Ordering::SeqCst);
            }
        }
        1
    });
    let pid = child.0;
    let hogs = sys::Hogs::on_every_cpu();
    for round in 1..=20 {
        let guest = std::thread::spawn(move || {
            let home = sys::gettid();
            let guard = attach();
            sys::set_nice_of(home, 19);
            words[0].store(home as u32, Ordering::SeqCst);
            sys::spin_until("it is sent", || words[0].load(Ordering::SeqCst) == 0);
            drop(guard);
        });
        guest.join().expect("the guest comes home");
        assert_eq!(HITS.load(Ordering::SeqCst), round, "signals handled");
        assert_eq!(SENDER.load(Ordering::SeqCst), pid, "si_pid of what was handled");
    }
    drop(hogs);
    words[0].store(u32::MAX, Ordering::SeqCst);
    assert_eq!(child.end(), 0);
}

/// Homes that are told two things right after each other.
fn unseen() {
    sys::handle(libc::SIGURG, note_sender);
    for _ in 0..3000 {
        let guard = attach();
        guard.refresh().expect("the kernel says how the thread runs");
        drop(guard);
    }
    assert_eq!(HITS.load(Ordering::SeqCst), 0, "signals of the library's");
}

fn sigchld() {
    sys::handle(libc::SIGCHLD, note_sender);
    let _guard = attach();
    for round in 0..20 {
        let child = sys::fork(|| 5);
        let pid = child.0;
        sys::spin_until("SIGCHLD is handled", || HITS.load(Ordering::SeqCst) > round);
        assert_eq!(SENDER.load(Ordering::SeqCst), pid, "si_pid of SIGCHLD");
        assert_eq!(CODE.load(Ordering::SeqCst), libc::CLD_EXITED, "si_code of SIGCHLD");
        assert_eq!(child.end(), 5);
    }
}

fn sigchld_away() {
    sys::handle_interrupting(libc::SIGCHLD, note_sender);
    let _guard = attach();
    for round in 0..20 {
        // The kernel thread that forks sleeps in a call when the child ends, and is the one that is told.
        let words = sys::shared_words();
        let child = sys::fork(move || {
            sys::wait_change(&words[0], 0);
            5
        });
        let (pid, reads) = (child.0, away_reads(2));
        words[0].store(1, Ordering::SeqCst);
        sys::spin_until("SIGCHLD is handled", || HITS.load(Ordering::SeqCst) > round);
        assert_eq!(SENDER.load(Ordering::SeqCst), pid, "si_pid of SIGCHLD");
        finish_all(reads);
        assert_eq!(child.end(), 5);
    }
}

/// Signals that the program blocks wait for it, whatever threads of the library do meanwhile.
fn waiting() {
    let signals =
        [libc::SIGUSR1, libc::SIGCHLD, libc::SIGRTMIN(), libc::SIGRTMIN(), libc::SIGRTMAX()];
    sys::block(&signals);
    let _guard = attach();
    let parent = sys::getpid();
    let child =
        sys::fork(move || i32::from(!signals.iter().all(|signal| sys::kill(parent, *signal))));
    let pid = child.0;
    assert_eq!(child.end(), 0);
    for _ in 0..20 {
        finish_all(away_reads(3));
        hand_off();
    }
    let told: Vec<_> = std::iter::from_fn(|| sys::take_signal(&signals)).collect();
    let mut sent = signals.map(|signal| (signal, pid, libc::SI_USER));
    sent.sort_unstable();
    assert_eq!(told, sent, "number, sender and code of each");
}
