//! Away calls do not answer EINTR that nobody asked for.

use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syslet::Submitted;
use syslet_testfs::{Answer, Fault, Request, TestFs};

use crate::util::calls::{
    Landing, count_signals, go, memory_file, number_call, pending, plain, poll_call, pread_call,
    read_call, replace_descriptor, signal_thread, signals_seen, sleep_call, taking_call,
    threads_named, word_call,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::temp::Folder;
use crate::util::{LIMIT, attached, late, skip, within};

const TIME: Duration = Duration::from_millis(200);
/// Between two rounds of signals: often enough to interrupt a call many times.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends SIGUSR1 to every crew thread, again and again, until `done`.
pub(crate) fn pester(mut done: impl FnMut() -> bool) {
    let mut last = Instant::now();
    let mut crew = Vec::new();
    let named = within(Duration::from_secs(20), || {
        crew = threads_named("syslet-crew");
        !crew.is_empty()
    });
    assert!(named, "there is a crew");
    let ended = within(Duration::from_secs(20), || {
        if last.elapsed() > PAUSE {
            last = Instant::now();
            crew.iter().for_each(|&tid| signal_thread(tid, libc::SIGUSR1));
        }
        done()
    });
    assert!(ended, "the call does not end");
}

#[test]
fn time_limit_holds_in_total_over_interruptions() {
    let path = "interruption::time_limit_holds_in_total_over_interruptions";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            let pipe = Pipe::new();
            let late = -libc::ETIMEDOUT as isize;
            let calls = [sleep_call(TIME), poll_call(pipe.read_end(), 200), word_call(TIME)];
            for (call, answer) in calls.into_iter().zip([0, 0, late]) {
                let begun = Instant::now();
                let away = pending(go(call));
                // Begun anew at each interruption it would never end.
                pester(|| away.is_done());
                let took = begun.elapsed();
                assert_eq!(away.wait().raw(), answer, "{call:?}");
                assert!(took >= TIME, "{call:?} ended after {took:?}");
            }
        });
        println!("signals handled: {}", signals_seen());
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn call_without_a_limit_waits_on() {
    let path = "interruption::call_without_a_limit_waits_on";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            let pipe = Pipe::new();
            let away = pending(go(taking_call(pipe.read_end())));
            let end = Instant::now() + TIME;
            pester(|| Instant::now() > end || away.is_done());
            assert!(!away.is_done(), "the call was broken off");
            pipe.put(1);
            assert_eq!(away.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

const EINTR: isize = -libc::EINTR as isize;

/// How often the server answers `EINTR`: for ever, as far as a call can know. (It ends, because a process whose threads
/// wait for a server of its own cannot be killed.)
const BROKEN_OFF: u64 = 500;

/// A file system with one file, whose server answers `EINTR` to reads.
fn mount(folder: &Folder) -> Option<TestFs> {
    let file = syslet_testfs::File { name: "file".to_owned(), size: 1 << 20 };
    let left = AtomicU64::new(BROKEN_OFF);
    let script = move |request: &Request| match request {
        Request::Read { .. } if left.fetch_sub(1, Ordering::Relaxed) > 0 => {
            // So long that it is seen to sleep.
            Answer { delay: Duration::from_millis(3), fault: Some(Fault::Interrupted) }
        }
        _ => Answer::NOW,
    };
    TestFs::mount(folder.at(""), vec![file], script)
        .inspect_err(|why| skip(&format!("FUSE cannot be used here: {why}")))
        .ok()
}

#[test]
fn a_close_that_was_broken_off_closes_nothing_else() {
    let path = "interruption::a_close_that_was_broken_off_closes_nothing_else";
    let ended = Child::new().run(path, || {
        attached(|| {
            for cancelled in [false, true] {
                let folder = Folder::new();
                let Some(mounted) = mount(&folder) else { return };
                mounted.break_flushes_off(TIME);
                // The sentinel of a CPU that the guest comes to closes a copy of each number below 64: a flush too.
                let low = [(); 64].map(|()| memory_file());
                let file = File::open(mounted.path().join("file")).expect("it is there");
                drop(low);
                let number = file.into_raw_fd();
                assert!(number >= 64);
                let another = memory_file();
                let away = pending(go(number_call(libc::SYS_close, [number as usize])));
                assert!(within(LIMIT / 6, || mounted.counts().flushes == 1), "it is not closed");
                // The number is free: the program has another file there.
                replace_descriptor(number, another.as_raw_fd());
                if cancelled {
                    let _ = away.cancel();
                }
                let answer = away.wait_deadline(late()).expect("it ends").raw();
                assert_eq!(answer, EINTR, "cancelled: {cancelled}");
                let flags = plain(libc::SYS_fcntl as usize, [number as usize, 1, 0, 0, 0, 0]);
                assert!(flags >= 0, "a file of the program's is closed, cancelled: {cancelled}");
                assert_eq!(mounted.counts().flushes, 1);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_server_that_always_says_eintr_is_not_asked_for_ever() {
    let path = "interruption::a_server_that_always_says_eintr_is_not_asked_for_ever";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let Some(mounted) = mount(&folder) else { return };
            let file = File::open(mounted.path().join("file")).expect("it is there");
            let read = [pread_call(file.as_raw_fd(), Landing::leak(), 0)];
            for call in read.into_iter().chain([read_call(file.as_raw_fd(), Landing::leak())]) {
                let before = mounted.counts().reads;
                // One that ends before it is seen to sleep is not made again.
                let away = loop {
                    if let Submitted::Pending(away) = go(call) {
                        break away;
                    }
                };
                assert_eq!(away.wait_deadline(late()).expect("it ends").raw(), EINTR, "{call:?}");
                let reads = mounted.counts().reads - before;
                assert!(reads > 1, "it was not made again");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn an_ioctl_that_a_server_always_breaks_off_ends() {
    let path = "interruption::an_ioctl_that_a_server_always_breaks_off_ends";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let Some(mounted) = mount(&folder) else { return };
            let file = File::open(mounted.path().join("file")).expect("it is there");
            // Without an argument; the kernel knows none of this number.
            let call = number_call(libc::SYS_ioctl, [file.as_raw_fd() as usize, 0x7801]);
            // One that ends before it is seen to sleep is not made again.
            let away = loop {
                mounted.break_off(BROKEN_OFF);
                if let Submitted::Pending(away) = go(call) {
                    break away;
                }
            };
            assert_eq!(away.wait_deadline(late()).expect("it ends").raw(), EINTR);
            assert!(mounted.counts().ioctls > 1, "it was not made again");
            mounted.break_off(1);
            // The next ones are answered.
            while go(call).wait().raw() == EINTR {}
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_typed_operation_that_a_server_always_breaks_off_ends() {
    let path = "interruption::a_typed_operation_that_a_server_always_breaks_off_ends";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let Some(mounted) = mount(&folder) else { return };
            mounted.be_forgotten();
            let interrupted = |kind| assert_eq!(kind, Some(std::io::ErrorKind::Interrupted));
            let file = File::open(mounted.path().join("file")).expect("it is there");
            let file = syslet::fs::File::from(file);
            let before = mounted.counts().attributes;
            mounted.break_off(BROKEN_OFF);
            interrupted(file.metadata().wait().err().map(|error| error.kind()));
            assert!(mounted.counts().attributes - before > 1, "it was not made again");
            mounted.break_off(1);
            assert!(file.metadata().wait().is_ok(), "an interruption is the answer");
            // In a closure calls are made where it stands, and end there each time.
            let read = syslet::threadlet(move || file.read_at(vec![0; 8], 0).wait().0);
            interrupted(read.join().err().map(|error| error.kind()));
        });
    });
    ended.expect("this is the parent").expect_done();
}
