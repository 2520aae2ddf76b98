//! What only shows while threads sleep in a queue, or inside of it.

#![allow(unsafe_code, reason = "gives a number to another file")]

/// What is asked about before it is handed out.
mod last_check;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use syslet::{Arg, Chain};

use crate::core::Waited;
use crate::ring::{Ring, RingHeader};
use crate::state::Item;
use crate::{Event, Flags, Happened, Queue, Source};

/// Longer than anything takes that happens.
const LONG: Duration = Duration::from_secs(20);

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("there are sockets")
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::yield_now();
    }
}

/// A thread that fetches without a deadline; what it gets.
fn fetching(queue: &Arc<Queue>, min: usize) -> Receiver<Vec<Event>> {
    let (tell, told) = channel();
    let queue = Arc::clone(queue);
    std::thread::spawn(move || {
        let events = loop {
            match queue.get_events(min, 8, None) {
                Ok(events) => break events,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
            }
        };
        tell.send(events).expect("the test waits");
    });
    told
}

/// As [`fetching`], when it is asleep.
fn asleep(queue: &Arc<Queue>, min: usize) -> Receiver<Vec<Event>> {
    let sleepers = queue.core.lock().sleepers;
    let told = fetching(queue, min);
    wait_until("a thread sleeps", || queue.core.lock().sleepers > sleepers);
    told
}

#[test]
fn sources_that_have_gone_leave_nothing_behind() {
    let queue = Queue::new().unwrap();
    let (stays, _other) = pair();
    queue.add(Source::recv(&stays).with(Flags::ET)).unwrap();
    for _ in 0..300 {
        let (mine, _theirs) = pair();
        let source = Source::recv(&mine).with(Flags::ET);
        queue.add(source).unwrap();
        queue.modify(source).unwrap();
        let state = queue.core.lock();
        assert_eq!(state.watched.len(), state.sources.len());
        drop(state);
        queue.remove(source.key()).unwrap();
    }
    let state = queue.core.lock();
    assert_eq!((state.watched.len(), state.sources.len()), (1, 1));
}

/// In the moment in which it looks at level-triggered sources it holds no lock and does not sleep.
#[test]
fn closing_ends_a_wait_that_is_looking_at_its_sources() {
    for _ in 0..20 {
        let queue = Arc::new(Queue::new().unwrap());
        let (mine, theirs) = pair();
        queue.add(Source::recv(&mine)).unwrap();
        std::io::Write::write_all(&mut &theirs, b"!").unwrap();
        assert_eq!(queue.get_events(1, 1, None).unwrap().len(), 1);
        std::io::Read::read_exact(&mut &mine, &mut [0]).unwrap();
        // So many that looking takes long.
        let node = Arc::clone(&queue.core.lock().levels[0]);
        let many = vec![node; 20_000];
        let told = {
            // It finds them when it waits, and not when it comes.
            let mut state = queue.core.lock();
            state.levels.clear();
            drop(state);
            let told = fetching(&queue, 1);
            wait_until("a thread sleeps", || queue.core.lock().sleepers > 0);
            queue.core.lock().levels = many;
            queue.core.rouse();
            told
        };
        wait_until("it looks", || queue.core.lock().levels.is_empty());
        queue.close();
        assert_eq!(told.recv_timeout(LONG).expect("the wait ends"), []);
    }
}

#[test]
fn a_thread_that_sleeps_is_told_that_a_number_was_given_to_another() {
    let queue = Arc::new(Queue::new().unwrap());
    let (mine, _theirs) = pair();
    let (stranger, _friend) = pair();
    let source = Source::recv(&mine).with(Flags::ET).user_data(1);
    queue.add(source).unwrap();
    let told = asleep(&queue, 1);
    // SAFETY: the number is ours, and stays so.
    let same = unsafe { libc::dup2(stranger.as_raw_fd(), mine.as_raw_fd()) };
    assert_eq!(same, mine.as_raw_fd());
    queue.add(source.user_data(2)).unwrap();
    let events = told.recv_timeout(LONG).expect("it is told");
    assert_eq!(events[0].user_data, 1);
    assert_eq!(events[0].error().and_then(|error| error.raw_os_error()), Some(libc::EBADF));
}

#[test]
fn one_thread_that_waits_is_sent_on_though_there_is_nothing() {
    let queue = Arc::new(Queue::new().unwrap());
    queue.ready(&[]); // nobody waits: nobody is sent on later
    let threads = [asleep(&queue, 1), asleep(&queue, 2)];
    queue.ready(&[]);
    wait_until("one goes on", || queue.core.lock().sleepers == 1);
    let ended = || threads.iter().filter_map(|told| told.try_recv().ok()).collect::<Vec<_>>();
    let begun = Instant::now();
    let mut all = ended();
    while all.is_empty() && begun.elapsed() < LONG {
        all.extend(ended());
    }
    assert_eq!(all, [vec![]]);
    queue.close();
}

/// Says where it is dropped.
struct Captured(Sender<ThreadId>);

impl Drop for Captured {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::current().id());
    }
}

impl Wake for Captured {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn what_a_chain_has_captured_is_dropped_with_the_queue_though_the_keeper_is_in_it() {
    let queue = Queue::new().unwrap();
    // The chain waits for it until the process ends.
    let (from, _to) = Box::leak(Box::new(pair()));
    let (tell, told) = channel();
    let captured = Captured(tell);
    let place: &'static mut [u8; 8] = Box::leak(Box::default());
    let mut chain = Chain::new();
    let args = [from.as_raw_fd() as usize, place.as_mut_ptr() as usize, place.len()];
    chain.push(libc::SYS_read as usize, args.map(Arg::Value));
    let ended = move |_| {
        drop(captured);
        0
    };
    // SAFETY: the memory is leaked, and the descriptor stays open.
    unsafe { queue.submit_chain(1, 0, chain, ended) }.unwrap();
    let keepers = Arc::clone(&queue.core);
    drop(queue);
    assert_eq!(told.try_recv(), Ok(std::thread::current().id()));
    drop(keepers);
}

#[test]
fn the_keeper_drops_no_queue() {
    let queue = Queue::new().unwrap();
    let (tell, told) = channel();
    let core = Arc::clone(&queue.core);
    drop(queue);
    assert!(core.lock().tasks.keep(Waker::from(Arc::new(Captured(tell))), None).is_none());
    crate::core::let_go(core);
    assert_ne!(told.recv_timeout(LONG), Ok(std::thread::current().id()));
}

fn with_ring(size: u32) -> Queue {
    // A header and events, which stay for as long as the process does.
    let memory: &'static mut [u64] = Box::leak(vec![0; 1 + size as usize * 5].into());
    let ring = std::ptr::NonNull::from(memory).cast::<RingHeader>();
    // SAFETY: aligned, of that size, and never freed.
    unsafe { Queue::with_ring(ring, size) }.unwrap()
}

/// A thread that waits for a ring of two places with the index 0, and what it is answered; when it is asleep.
fn waiting_for_index() -> (Arc<Queue>, Receiver<u32>) {
    let queue = Arc::new(with_ring(2));
    let (tell, told) = channel();
    let theirs = Arc::clone(&queue);
    std::thread::spawn(move || {
        let answer = loop {
            match theirs.wait(1, 0, None) {
                Ok(answer) => break answer,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
            }
        };
        let _ = tell.send(answer);
    });
    wait_until("a thread sleeps", || queue.core.lock().sleepers > 0);
    (queue, told)
}

/// It is called, and others are faster than it until the index is again what it was.
#[test]
fn who_waits_for_the_index_goes_on_though_it_has_come_round() {
    let (queue, told) = waiting_for_index();
    // Under one lock, so that the thread sees what is there afterwards only.
    let indices = queue.core.read(|state| {
        let turn = |_| {
            state.ready.push_back(Item::Event(Event::default()));
            state.live += 1;
            state.fill_ring(true);
            state.ring.as_mut().and_then(Ring::take).expect("it is in the ring");
            state.ring.as_ref().map(Ring::uidx)
        };
        [0, 1].map(turn)
    });
    assert_eq!(indices, [Some(1), Some(0)]);
    assert_eq!(told.recv_timeout(LONG), Ok(0), "it goes on, and there is nothing");
}

/// Who has the lock next may have another, under which tasks must not be woken.
#[test]
fn what_ends_while_a_thread_waits_is_not_left_to_others() {
    let (queue, source) = (with_ring(4), Source::user(1).with(Flags::ONESHOT));
    queue.add(source).unwrap();
    let mut state = queue.core.lock();
    let node = Arc::clone(&state.sources[&source.key()]);
    state.enqueue(&node);
    drop(state);
    let waited = queue.core.wait(1, None, |state| {
        state.fill_ring(true);
        state.room() < 3
    });
    assert_eq!((waited, queue.sources()), (Waited::Ready, 0));
    assert!(queue.core.lock().chores.ended.is_empty());
}

/// Runs `act` in a process of its own, which is ended if that takes too long.
fn check_in_child(act: impl FnOnce()) {
    // SAFETY: the child has what its parent's thread had, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no memory.
        unsafe { libc::alarm(LONG.as_secs() as u32) };
        let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_ok();
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = -1;
    // SAFETY: writes the status.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
}

/// The keeper moves what stood behind something that it does not look at, because that is removed; and goes on.
fn check_ended_by_keeper(source: Source) {
    let (queue, (mine, theirs)) = (with_ring(8), pair());
    // Nor does the clock's thread do it first.
    queue.core.lock().nudging = true;
    // SAFETY: no memory.
    let first = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    let first = Source::poll(first, libc::POLLIN as u16).with(Flags::ET | Flags::LAST_CHECK);
    for source in [first, Source::recv(&mine).with(Flags::ET)] {
        assert_eq!(queue.add(source).unwrap(), None);
    }
    assert!(queue.make_ready(first.key()));
    assert_eq!(queue.add(source.with(Flags::ONESHOT | Flags::READY)).unwrap(), None);
    queue.remove(first.key()).unwrap();
    assert_eq!(queue.sources(), 2);
    std::io::Write::write_all(&mut &theirs, b"!").unwrap();
    wait_until("it is handed out", || queue.sources() == 1 && queue.len() == 2);
    // The keeper is there, and so is the clock's thread.
    let (another, _other) = pair();
    queue.add(Source::recv(&another).with(Flags::ET)).unwrap();
    queue.core.lock().nudging = false;
    queue.add(Source::after(77, Duration::from_millis(1))).unwrap();
    let is_timer = |event: &Event| event.id == 77;
    while !queue.get_events(1, 8, None).unwrap().iter().any(is_timer) {}
}

#[test]
fn the_keeper_does_not_wait_for_what_it_does_itself() {
    let (only, also) = (libc::SIGRTMIN() as u32 + 20, libc::SIGRTMIN() as u32 + 21);
    let handled = |number: u32| {
        let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: writes what is there.
        unsafe { libc::sigaction(number as i32, std::ptr::null(), now.as_mut_ptr()) };
        // SAFETY: it is written.
        unsafe { now.assume_init() }.sa_sigaction != libc::SIG_DFL
    };
    for (source, number) in [(Source::signal_only(only), only), (Source::signal(also), also)] {
        check_in_child(|| {
            check_ended_by_keeper(source);
            wait_until("it is forgotten", || !handled(number));
        });
    }
    check_in_child(|| {
        let mut cat = std::process::Command::new("cat");
        let mut cat = cat.stdin(std::process::Stdio::piped()).spawn().unwrap();
        check_ended_by_keeper(Source::child(cat.id() as i32));
        drop(cat.stdin.take());
        cat.wait().unwrap();
    });
    let directory = File::open(std::env::temp_dir()).unwrap();
    check_in_child(|| check_ended_by_keeper(Source::directory(&directory, Happened::CREATE)));
    let timer = Source::after(1, Duration::from_secs(1000));
    check_in_child(|| check_ended_by_keeper(timer));
}

#[test]
fn the_wait_for_a_child_whose_source_is_removed_is_called_off() {
    let queue = Queue::new().unwrap();
    let mut cat = std::process::Command::new("cat");
    let mut cat = cat.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let source = Source::child(cat.id() as i32);
    queue.add(source).unwrap();
    let waits = || queue.core.completions.get().map_or(0, |waits| waits.under_way().1.len());
    assert_eq!(waits(), 1);
    queue.remove(source.key()).unwrap();
    wait_until("it is called off", || waits() == 0);
    drop(cat.stdin.take());
    cat.wait().unwrap();
}

/// Adds a directory when it is woken.
struct Adds(Arc<Queue>, File, Sender<bool>);

impl Wake for Adds {
    fn wake(self: Arc<Self>) {
        let added = self.0.add(Source::directory(&self.1, Happened::CREATE));
        let _ = self.2.send(added.is_ok());
    }
}

#[test]
fn who_is_woken_by_a_directory_may_add_another() {
    let folder = || File::open(std::env::temp_dir()).unwrap();
    let add: fn(&Queue, Source) = |queue, source| {
        queue.add(source.with(Flags::READY)).unwrap();
    };
    let add_several: fn(&Queue, Source) = |queue, source| {
        let added = queue.add_all(&[source, Source::user(1).with(Flags::READY)]);
        assert!(added.iter().all(Result::is_ok));
    };
    let modify: fn(&Queue, Source) = |queue, source| queue.modify(source).unwrap();
    for (act, is_there) in [(add, false), (add_several, false), (modify, true)] {
        let (queue, directory) = (Arc::new(Queue::new().unwrap()), folder());
        let source = Source::directory(&directory, Happened::CREATE);
        if is_there {
            queue.add(source).unwrap();
            assert!(queue.make_ready(source.key()));
        }
        let (tell, told) = channel();
        let waker = Waker::from(Arc::new(Adds(Arc::clone(&queue), folder(), tell)));
        assert!(queue.core.lock().tasks.keep(waker, None).is_none());
        let theirs = Arc::clone(&queue);
        std::thread::spawn(move || {
            act(&theirs, source);
            drop(directory);
        });
        assert_eq!(told.recv_timeout(LONG), Ok(true));
    }
}
