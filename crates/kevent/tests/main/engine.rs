//! A source is an outstanding call: what waits for sources is what waits for calls, and there is nothing else.

#![allow(unsafe_code, reason = "a child that is forked, and a signal's handler")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Flags, Happened, Kind, Queue, Source};

use crate::util::child::{in_child, status};
use crate::util::{LONG, one, pair, put, queue};

const SOCKETS: u64 = 200;
const TIMERS: u64 = 1000;

/// Kernel threads and descriptors of this process.
#[derive(Debug, PartialEq, Eq)]
struct Owned {
    threads: usize,
    descriptors: usize,
}

fn owned() -> Owned {
    let count = |path: &str| fs::read_dir(path).expect("there is /proc").count();
    Owned { threads: count("/proc/self/task"), descriptors: count("/proc/self/fd") }
}

/// What was told, by kind.
fn told(queue: &Queue, count: u64) -> BTreeMap<u32, u64> {
    let mut told = BTreeMap::new();
    for _ in 0..count {
        *told.entry(one(queue).kind).or_default() += 1;
    }
    told
}

/// A child that does nothing, and ends with its parent.
fn idle_child() -> libc::pid_t {
    in_child(|| {
        // SAFETY: no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            std::thread::park();
        }
    })
}

/// Calls are parked that wait for a socket, a time and a child: from now on the engine has all the threads it needs for
/// a million of them.
fn with_calls_parked(act: impl FnOnce() -> bool) -> bool {
    let (mine, theirs) = UnixStream::pair().expect("there are sockets"); // whose reads wait
    let read = syslet::net::recv(&mine, vec![0; 1]);
    let sleep = syslet::time::sleep(LONG);
    let child = idle_child();
    let wait = syslet::process::wait_pid(child as u32);
    assert_eq!(syslet::stats().parked, 3, "{:?}", syslet::stats());
    let is_right = act();
    put(&theirs);
    // SAFETY: ends the child.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let (answer, _) = read.wait();
    is_right
        && answer.is_ok()
        && wait.wait().is_ok()
        && sleep.wait_deadline(Instant::now()).is_err()
}

/// Every kind of source is added, and tells; then threads and descriptors are what they were.
fn sources_need_nothing_of_their_own() -> bool {
    let pairs: Vec<_> = (0..SOCKETS).map(|_| pair()).collect();
    let folder = File::open(std::env::temp_dir()).expect("it is there");
    let pid = idle_child();
    let before = owned();

    let queue = queue();
    for (mine, _) in &pairs {
        queue.add(Source::recv(mine).with(Flags::ET)).unwrap();
    }
    for id in 0..TIMERS {
        // Queued though its time has come by then.
        let timer = Source::after(id, Duration::from_millis(1)).with(Flags::ALWAYS_QUEUE);
        assert_eq!(queue.add(timer).unwrap(), None);
    }
    queue.add(Source::signal(libc::SIGWINCH as u32)).unwrap();
    queue.add(Source::directory(&folder, Happened::CREATE | Happened::REMOVE)).unwrap();
    queue.add(Source::child(pid)).unwrap();
    queue.add(Source::user(1)).unwrap();
    let while_they_wait = owned();

    pairs.iter().for_each(|(_, theirs)| put(theirs));
    // SAFETY: it is ignored.
    assert_eq!(unsafe { libc::raise(libc::SIGWINCH) }, 0);
    // SAFETY: ends the child.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    queue.make_ready(Source::user(1).key());
    queue.post(Event { kind: Kind::User as u32, ..Event::default() });
    // Directories are told of elsewhere: others create files in this one.
    queue.remove(Source::directory(&folder, 0).key()).unwrap();
    let told = told(&queue, SOCKETS + TIMERS + 4);
    let expected = [
        (Kind::Socket, SOCKETS),
        (Kind::Timer, TIMERS),
        (Kind::Signal, 1),
        (Kind::User, 2),
        (Kind::Child, 1),
    ];
    assert_eq!(told, expected.map(|(kind, count)| (kind as u32, count)).into());
    assert_eq!([&while_they_wait, &owned()], [&before; 2], "what the queue has beside the engine");
    true
}

#[test]
fn sources_wait_where_parked_calls_wait() {
    // In a process of its own, in which nobody else starts threads.
    let pid = in_child(|| with_calls_parked(sources_need_nothing_of_their_own));
    assert_eq!(status(pid), 0, "see above");
}
