//! Every kind of source with every flag: one rule, many sources. What is special of a kind or a flag is told by the
//! modules of their names.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use syslet_kevent::{Clock, Flags, Happened, Kind, Queue, Source};

use crate::util::ring::Ringed;
use crate::util::{drain, one, pair, put, queue, within_short};

/// A source, and how it comes to happen.
struct Case {
    source: Source,
    /// What its event says of it.
    data: u32,
    /// Makes it happen, each time anew.
    cause: Box<dyn Fn()>,
    /// Ends it, if it is something that lasts.
    end: Option<Box<dyn Fn()>>,
}

impl Case {
    fn changes(source: Source, data: u32, cause: impl Fn() + 'static) -> Self {
        Self { source, data, cause: Box::new(cause), end: None }
    }

    fn lasts(
        source: Source,
        data: u32,
        cause: impl Fn() + 'static,
        end: impl Fn() + 'static,
    ) -> Self {
        Self { end: Some(Box::new(end)), ..Self::changes(source, data, cause) }
    }

    /// Makes it happen, and waits until the queue has been told.
    fn happens_in(&self, queue: &Queue) {
        (self.cause)();
        while queue.is_empty() {
            std::thread::yield_now();
        }
    }
}

/// Something to read from one end of a pair, which is read again.
fn incoming(source: impl Fn(&UnixStream) -> Source, data: u32) -> Case {
    let (mine, theirs) = pair();
    let source = source(&mine);
    Case::lasts(
        source,
        data,
        move || put(&theirs),
        move || {
            let _ = drain(&mine);
        },
    )
}

/// Fills it.
fn fill(mut to: &UnixStream) {
    while to.write(&[0; 4096]).is_ok() {}
}

fn room() -> Case {
    let (mine, theirs) = pair();
    fill(&mine);
    let source = Source::send(&mine);
    Case::lasts(
        source,
        Happened::SEND,
        move || {
            let _ = drain(&theirs);
        },
        move || fill(&mine),
    )
}

fn connection() -> Case {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let source = Source::accept(&listener);
    let connect = move || drop(TcpStream::connect(address).unwrap());
    let accept_all = move || while listener.accept().is_ok() {};
    Case::lasts(source, Happened::ACCEPT, connect, accept_all)
}

fn pipe_with_bytes() -> Case {
    let (reads, writes) = std::io::pipe().unwrap();
    let source = Source::pipe(reads.as_raw_fd(), Happened::RECV);
    let write = move || assert_eq!((&writes).write(b"!").unwrap(), 1);
    let read = move || assert_ne!((&reads).read(&mut [0; 64]).unwrap(), 0);
    Case::lasts(source, Happened::RECV, write, read)
}

/// A pipe of one page, which is full or not.
fn pipe_with_room() -> Case {
    const PAGE: usize = 4096;
    let (reads, writes) = std::io::pipe().unwrap();
    let writes = Arc::new(OwnedFd::from(writes));
    shrink(&writes);
    let full = std::fs::File::from(writes.try_clone().unwrap());
    let fill = move || assert_eq!((&full).write(&[0; PAGE]).unwrap(), PAGE);
    fill();
    let source = Source::pipe(writes.as_raw_fd(), Happened::SEND);
    let empty = move || {
        let _keeps = &writes;
        (&reads).read_exact(&mut [0; PAGE]).unwrap();
    };
    Case::lasts(source, Happened::SEND, empty, fill)
}

#[allow(unsafe_code, reason = "fcntl(2)")]
fn shrink(pipe: &OwnedFd) {
    // SAFETY: no memory.
    assert_ne!(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) }, -1);
}

/// What can be ready when it is added, and lasts.
fn lasting() -> Vec<Case> {
    let pollin = u32::from(libc::POLLIN.cast_unsigned());
    vec![
        incoming(Source::recv, Happened::RECV),
        room(),
        connection(),
        pipe_with_bytes(),
        pipe_with_room(),
        incoming(|socket| Source::poll(socket.as_raw_fd(), pollin as u16), pollin),
    ]
}

fn directory(name: &str) -> Case {
    let folder = std::env::temp_dir().join(format!("syslet-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let directory = std::fs::File::open(&folder).unwrap();
    let source = Source::directory(&directory, Happened::CREATE);
    // It goes with the case.
    struct Gone(std::path::PathBuf, #[allow(dead_code, reason = "is kept open")] std::fs::File);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
    let kept = Gone(folder, directory);
    Case::changes(source, Happened::CREATE, move || {
        let file = kept.0.join("file");
        std::fs::File::create(&file).unwrap();
        std::fs::remove_file(file).unwrap();
    })
}

#[allow(unsafe_code, reason = "kill(2)")]
fn signal(number: i32, source: fn(u32) -> Source) -> Case {
    // It is delivered as always: by default that would end the process.
    // SAFETY: no handler.
    unsafe { libc::signal(number, libc::SIG_IGN) };
    let pid = std::process::id() as libc::pid_t;
    Case::changes(source(number as u32), 1, move || {
        // SAFETY: no memory; the signal is handled.
        assert_eq!(unsafe { libc::kill(pid, number) }, 0);
    })
}

/// What happens at a moment, and can happen again. `name` keeps tests that run at a time apart.
fn momentary(name: &str, signals: i32) -> Vec<Case> {
    let first = libc::SIGRTMIN() + signals;
    vec![directory(name), signal(first, Source::signal), signal(first + 1, Source::signal_only)]
}

fn timers() -> Vec<Source> {
    let (short, clock) = (Duration::from_millis(1), Clock::Realtime);
    vec![
        Source::after(1, short),
        Source::every(2, short),
        Source::at_date(3, SystemTime::now() + short),
        Source::timer(4, clock, clock.now() + 1_000_000, 1_000_000),
        Source::timer_that_stays(5, Clock::Monotonic, Clock::Monotonic.now() + 1_000_000, 0),
    ]
}

#[test]
fn what_happens_is_told_of_each_kind() {
    for case in lasting().into_iter().chain(momentary("each", 4)) {
        let queue = queue();
        let source = case.source.with(Flags::ET).user_data(3);
        assert_eq!(queue.add(source).unwrap(), None, "{source:?}");
        case.happens_in(&queue);
        let event = one(&queue);
        assert_eq!(event.key(), Some(source.key()));
        assert_eq!((event.data[0], event.user_data), (case.data, 3), "{source:?}");
        queue.remove(source.key()).unwrap();
    }
}

#[test]
fn oneshot_ends_each_kind() {
    for case in lasting().into_iter().chain(momentary("oneshot", 6)) {
        let queue = queue();
        queue.add(case.source.with(Flags::ONESHOT)).unwrap();
        case.happens_in(&queue);
        one(&queue);
        assert_eq!(queue.sources(), 0, "{:?}", case.source);
    }
    for source in timers() {
        let queue = queue();
        // Its time may have come already.
        queue.add(source.with(Flags::ONESHOT | Flags::ALWAYS_QUEUE)).unwrap();
        assert_eq!(one(&queue).key(), Some(source.key()));
        assert_eq!(queue.sources(), 0, "{source:?}");
        assert_eq!(within_short(&queue), [], "{source:?}");
    }
}

/// It is handed out by whoever puts it in: the program, a clock's thread, the keeper.
#[test]
fn oneshot_ends_each_kind_that_lands_in_a_ring() {
    let check = |source: Source, happens: &dyn Fn(&Queue)| {
        let ring = Ringed::new(4);
        assert_eq!(ring.queue.add(source.with(Flags::ONESHOT)).unwrap(), None, "{source:?}");
        happens(&ring.queue);
        while ring.look().kidx == 0 {
            std::thread::yield_now();
        }
        assert_eq!((ring.at(0).key(), ring.queue.sources()), (Some(source.key()), 0));
        happens(&ring.queue);
        assert_eq!(within_short(&ring.queue).len(), 1, "{source:?}");
    };
    for case in lasting().into_iter().chain(momentary("ring", 12)) {
        check(case.source, &|queue| {
            case.happens_in(queue);
            case.end.iter().for_each(|end| end());
        });
        check(case.source.with(Flags::READY), &|_| ());
    }
    for source in timers() {
        check(source.with(Flags::ALWAYS_QUEUE), &|_| ());
    }
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    check(Source::child(cat.id() as i32).with(Flags::READY), &|_| ());
    let stdin = Cell::new(cat.stdin.take());
    check(Source::child(cat.id() as i32), &|_| drop(stdin.take()));
    cat.wait().unwrap();
    let user = Source::user(1);
    check(user.with(Flags::READY), &|_| ());
    check(user, &|queue| {
        queue.make_ready(user.key());
    });
}

#[test]
fn what_lasts_is_told_again_unless_et_asks_for_changes() {
    for case in lasting() {
        let queue = queue();
        queue.add(case.source).unwrap();
        case.happens_in(&queue);
        one(&queue);
        one(&queue);
        queue.modify(case.source.with(Flags::ET)).unwrap();
        assert_eq!(one(&queue).data[0], case.data, "{:?}: found anew", case.source);
        assert_eq!(within_short(&queue), [], "{:?}", case.source);
    }
}

#[test]
fn what_is_ready_at_once_is_answered_or_queued() {
    for case in lasting() {
        (case.cause)();
        let queue = queue();
        let answer = queue.add(case.source.with(Flags::ET)).unwrap().expect("it is ready");
        assert_eq!(answer.data[0], case.data, "{:?}", case.source);
        assert_eq!(within_short(&queue), [], "{:?}", case.source);
        queue.remove(case.source.key()).unwrap();
        let queued = case.source.with(Flags::ET | Flags::ALWAYS_QUEUE);
        assert_eq!(queue.add(queued).unwrap(), None, "{:?}", case.source);
        assert_eq!(one(&queue).data[0], case.data, "{:?}", case.source);
    }
    let past = || Source::timer(1, Clock::Monotonic, 1, 0);
    let queue = queue();
    assert!(queue.add(past()).unwrap().is_some());
    assert_eq!(queue.add(past().with(Flags::ALWAYS_QUEUE)).unwrap(), None);
    assert_eq!(one(&queue).key(), Some(past().key()));
}

#[test]
fn last_check_drops_what_lasts_no_more_and_nothing_else() {
    for case in lasting() {
        let queue = queue();
        queue.add(case.source.with(Flags::LAST_CHECK | Flags::ET)).unwrap();
        case.happens_in(&queue);
        (case.end.as_ref().expect("it lasts"))();
        assert_eq!(within_short(&queue), [], "{:?}", case.source);
        case.happens_in(&queue);
        assert_eq!(one(&queue).data[0], case.data, "{:?}", case.source);
    }
    for case in momentary("check", 8) {
        let queue = queue();
        queue.add(case.source.with(Flags::LAST_CHECK)).unwrap();
        case.happens_in(&queue);
        assert_eq!(one(&queue).data[0], case.data, "{:?}", case.source);
    }
    for source in timers() {
        let queue = queue();
        queue.add(source.with(Flags::LAST_CHECK | Flags::ALWAYS_QUEUE)).unwrap();
        assert_eq!(one(&queue).key(), Some(source.key()));
    }
}

#[test]
fn ready_has_each_kind_be_ready_when_it_is_added() {
    let sources = lasting().into_iter().chain(momentary("ready", 10)).map(|case| {
        let source = case.source;
        (source, Some(case))
    });
    let later = Source::after(1, Duration::from_secs(1000));
    let others = [later, Source::user(1)].map(|source| (source, None));
    for (source, case) in sources.chain(others) {
        // What is ready by itself is so once, too.
        case.iter().filter(|case| case.end.is_some()).for_each(|case| (case.cause)());
        for flags in [Flags::ET, Flags::ET | Flags::ALWAYS_QUEUE, Flags::ONESHOT] {
            let queue = queue();
            assert_eq!(queue.add(source.with(Flags::READY | flags)).unwrap(), None, "{source:?}");
            assert_eq!(one(&queue).key(), Some(source.key()));
            assert_eq!(within_short(&queue), [], "{source:?}");
            let stays = flags != Flags::ONESHOT && source != later;
            assert_eq!(queue.sources(), usize::from(stays), "{source:?}");
        }
    }
}

#[test]
fn what_is_told_to_several_queues() {
    for case in lasting() {
        let queues = [queue(), queue()];
        for queue in &queues {
            queue.add(case.source.with(Flags::WAKEUP_ALL | Flags::ET)).unwrap();
        }
        (case.cause)();
        for queue in &queues {
            assert_eq!(one(queue).data[0], case.data, "{:?}", case.source);
        }
    }
}

#[test]
fn of_a_socket_one_of_several_queues_is_told_and_of_a_directory_each() {
    for case in lasting().into_iter().filter(|case| case.source.key().kind == Kind::Socket) {
        let queues = [queue(), queue()];
        for queue in &queues {
            queue.add(case.source.with(Flags::ET)).unwrap();
        }
        (case.cause)();
        assert_eq!(one(&queues[0]).data[0], case.data, "{:?}", case.source);
        assert_eq!(within_short(&queues[1]), [], "{:?}", case.source);
    }
    let (case, queues) = (directory("two"), [queue(), queue()]);
    for queue in &queues {
        queue.add(case.source).unwrap();
    }
    (case.cause)();
    for queue in &queues {
        assert_eq!(one(queue).data[0], case.data);
    }
}
