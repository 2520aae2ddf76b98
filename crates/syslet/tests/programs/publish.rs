//! What a process publishes, and who may see it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use syslet::publish::{Away, Doing, Published, PublishedError, Snapshot};

use crate::proc;
use crate::runner::{ALL, FOLLOW, Mode, Scenario, skip};
use crate::sys::{self, PATIENCE};
use crate::work::{AwayRead, attach, away_threadlet, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("an_away_closure_is_seen_with_call_descriptor_and_age", ALL, closure),
    Scenario::new("an_away_call_is_seen_with_call_and_descriptor", ALL, call),
    Scenario::new("an_away_lock_is_seen_with_its_file", ALL, lock),
    Scenario::new("an_away_open_is_seen_with_its_path", ALL, open),
    Scenario::new("guests_and_counters_are_seen", ALL, guests),
    Scenario::new("queued_work_is_counted", FOLLOW, queued),
    Scenario::new("nothing_is_there_unless_asked_for", ALL, off),
    Scenario::new("the_thread_does_nothing_until_somebody_asks", ALL, idle),
    Scenario::new("it_answers_after_all_descriptors_were_closed", ALL, closed),
    Scenario::new("it_leaves_no_descriptor_with_the_program", ALL, no_descriptor),
    Scenario::new("it_answers_readers_that_ask_at_once", ALL, together),
    Scenario::new("a_forked_child_publishes_only_what_it_asks_for", ALL, forked),
    Scenario::new("the_environment_has_a_program_publish", ALL, environment),
    Scenario::new("a_program_that_publishes_may_change_its_ids", ALL, ids),
    Scenario::new("a_stopped_process_does_not_answer_until_it_goes_on", FOLLOW, stopped),
    Scenario::new("a_process_that_has_ended_is_seen_to_have", FOLLOW, ended),
    Scenario::new("a_process_that_runs_another_program_publishes_no_more", FOLLOW, replaced),
    Scenario::new("another_user_is_refused", FOLLOW, other_user),
];

const THREAD: &str = "syslet-stats";

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// What this process publishes.
#[track_caller]
fn look() -> Snapshot {
    let published = Published::of(std::process::id()).expect("the process publishes");
    published.snapshot(soon()).expect("it answers")
}

/// Where the crew threads are that are away or run queued work.
fn away(seen: &Snapshot) -> Vec<&Away> {
    seen.crew.iter().filter_map(|thread| thread.doing.away()).collect()
}

/// Looks until a thread is seen in a call for which `right` holds.
#[track_caller]
fn look_for(what: &str, right: impl Fn(&syslet::publish::SeenCall) -> bool) -> (Snapshot, Away) {
    let mut found = None;
    sys::eventually(what, || {
        let seen = look();
        let away = away(&seen).into_iter().find(|away| away.call.as_ref().is_some_and(&right));
        found = away.cloned().map(|away| (seen, away));
        found.is_some()
    });
    found.expect("it was just found")
}

fn start() -> syslet::AttachGuard {
    syslet::publish_stats().expect("the process can publish");
    attach()
}

fn closure() {
    let _guard = start();
    let (reader, writer) = sys::pipe();
    let fd = reader.as_raw_fd();
    let threadlet = syslet::threadlet(move || sys::read_byte(reader.as_raw_fd()));
    let pipe = std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("it is open");
    let reads = |call: &syslet::publish::SeenCall| {
        call.name == "read" && call.args[0] == fd as u64 && call.args[2] == 1
    };
    let (seen, first) = look_for("the read", reads);
    let call = first.call.expect("it was looked for by its call");
    assert_eq!((call.nr, call.args.len(), call.paths.len()), (0, 3, 0));
    let [descriptor] = &call.descriptors[..] else { panic!("{:?}", call.descriptors) };
    assert_eq!((descriptor.argument.as_str(), descriptor.number), ("fd", fd));
    assert_eq!(descriptor.file.as_deref(), Some(pipe.as_os_str()));
    if Mode::current() == Mode::Pool {
        assert_eq!((first.guest, seen.guests.len()), (None, 0));
    } else {
        assert_eq!(first.guest, Some(seen.guests[0].index));
    }

    let pause = Duration::from_millis(20);
    thread::sleep(pause);
    let (_, second) = look_for("the same read", reads);
    // Half of it, because the length of a tick is measured, and not well at first.
    assert!(second.age >= first.age + pause / 2, "{:?}, then {:?}", first.age, second.age);
    assert!(second.age < PATIENCE, "{:?}", second.age);
    assert!(sys::write_byte(writer.as_raw_fd(), 3));
    assert_eq!(threadlet.join(), Some(3));
    sys::eventually("nobody is away", || away(&look()).is_empty());
}

fn call() {
    let _guard = start();
    let read = AwayRead::new();
    let (_, away) = look_for("the receive", |call| call.name == "recvfrom");
    let call = away.call.expect("it was looked for by its call");
    let file = call.descriptors[0].file.as_ref().expect("it is open");
    assert!(file.as_bytes().starts_with(b"socket:["), "{file:?}");
    read.finish(1);
}

fn lock() {
    let _guard = start();
    let folder = std::env::temp_dir().join(format!("syslet-publish-{}", std::process::id()));
    // A name that must not be taken for anything else.
    let path = folder.join("locked\nfile\u{1b}[2J");
    std::fs::create_dir(&folder).expect("a folder");
    let holder = File::create(&path).expect("a file");
    holder.lock().expect("nobody has it");
    let other = File::open(&path).expect("it is there");
    let threadlet = syslet::threadlet(move || other.lock());
    let (_, away) = look_for("the lock", |call| call.name == "flock");
    let file = away.call.and_then(|mut call| call.descriptors.remove(0).file);
    drop(holder);
    threadlet.join().expect("it gets the lock");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    assert_eq!(file.as_deref(), Some(path.as_os_str()));
}

fn open() {
    let _guard = start();
    let folder = std::env::temp_dir().join(format!("syslet-publish-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let path = folder.join("fifo");
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo is there");
    assert!(made.success());
    let own = path.clone();
    // Waits until somebody opens it to read.
    let threadlet = syslet::threadlet(move || File::options().write(true).open(own).is_ok());
    let (_, away) = look_for("the open", |call| call.name == "openat");
    let call = away.call.expect("it was looked for by its call");
    let reader = File::open(&path).expect("the other side is there");
    assert!(threadlet.join());
    drop(reader);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    assert_eq!(call.paths[0].path, path.as_os_str());
    assert!(call.descriptors.is_empty(), "AT_FDCWD is none: {:?}", call.descriptors);
}

fn guests() {
    let home = sys::gettid();
    let _guard = start();
    for _ in 0..5 {
        hand_off();
    }
    for _ in 0..100 {
        assert_eq!(syslet::threadlet(|| 1).join(), 1);
    }
    let (threadlet, writer) = away_threadlet();
    // Standbys that came too late for the handoffs may still be counted, threads be made, the read fall asleep.
    let mut found = None;
    sys::eventually("published is what is counted", || {
        let (seen, mut own) = (look(), syslet::stats());
        let of_guest = own.guest.take();
        let asleep = seen.crew.iter().any(|thread| {
            thread.doing.away().is_some_and(|away| away.call.is_some()) && thread.state == Some('S')
        });
        let same = seen.stats == own && seen.crew.len() == own.crew;
        found = (same && asleep).then_some((seen, of_guest));
        found.is_some()
    });
    let (seen, of_guest) = found.expect("it was just found");
    assert_eq!((seen.pid, seen.version.as_str()), (std::process::id(), env!("CARGO_PKG_VERSION")));
    assert_eq!(Some(seen.name.to_string_lossy().into_owned()), proc::field(home, "Name"));
    let tids: HashSet<_> = proc::threads().into_iter().collect();
    let strange = seen.crew.iter().find(|thread| !tids.contains(&thread.tid));
    assert_eq!(strange, None);
    assert!(seen.crew.iter().all(|thread| thread.cpu.is_some() && thread.state.is_some()));
    if Mode::current() == Mode::Pool {
        assert!(seen.guests.is_empty());
    } else {
        let [guest] = &seen.guests[..] else { panic!("{:?}", seen.guests) };
        assert_eq!((guest.home, guest.carrier), (home, sys::gettid()));
        assert_eq!(Some(guest.name.to_string_lossy().into_owned()), proc::field(home, "Name"));
        assert_eq!(Some(&guest.stats), of_guest.as_ref());
        assert!(guest.stats.handed_off >= 6 && guest.stats.inline >= 90, "{:?}", guest.stats);
        let carries = |thread: &&syslet::publish::CrewThread| thread.tid == guest.carrier;
        let carrier = seen.crew.iter().find(carries).expect("the carrier is a crew thread");
        assert_eq!(carrier.doing, Doing::Carries(guest.index));
    }
    assert!(sys::write_byte(writer.as_raw_fd(), 3));
    assert_eq!(threadlet.join(), Some(3));
}

fn queued() {
    syslet::publish_stats().expect("the process can publish");
    let _guard = syslet::Attach::new().max_crew(3).attach().expect("the thread can be attached");
    let reads: Vec<_> = (0..6).map(|_| away_threadlet()).collect();
    sys::eventually("three threads for six reads and a guest", || {
        let seen = look();
        (away(&seen).len(), seen.queued, seen.stats.crew_limit) == (2, 4, 3)
    });
    for (threadlet, writer) in reads {
        assert!(sys::write_byte(writer.as_raw_fd(), 3));
        assert_eq!(threadlet.join(), Some(3));
    }
    assert_eq!(look().queued, 0);
}

/// The thread that answers, if there is one.
fn thread_of_stats() -> Option<i32> {
    let is_it = |tid: &i32| proc::field(*tid, "Name").as_deref() == Some(THREAD);
    proc::threads().into_iter().find(is_it)
}

/// For what is not so where the whole suite is played with publishing on.
fn need_quiet() {
    if std::env::var_os("SYSLET_STATS").is_some() {
        skip("SYSLET_STATS is set");
    }
}

fn off() {
    need_quiet();
    let _guard = attach();
    hand_off();
    assert_eq!(thread_of_stats(), None);
    let error = Published::of(std::process::id()).expect_err("nothing is published");
    assert!(matches!(error, PublishedError::NotPublished(_)), "{error:?}");
    assert!(error.to_string().contains("SYSLET_STATS=1"), "it says how: {error}");
    syslet::publish_stats().expect("it can still be had");
    look();
}

fn idle() {
    let _guard = start();
    look();
    let tid = thread_of_stats().expect("it is there");
    let switches = || {
        let state = proc::field(tid, "State").expect("it is there");
        let of = |kind| proc::field(tid, kind).expect("it is there");
        (state, of("voluntary_ctxt_switches"), of("nonvoluntary_ctxt_switches"))
    };
    sys::eventually("it sleeps", || switches().0.starts_with('S'));
    let before = switches();
    for _ in 0..50 {
        hand_off();
    }
    assert_eq!(switches(), before);
}

fn closed() {
    syslet::publish_stats().expect("the process can publish");
    sys::close_from(3);
    let _guard = attach();
    hand_off();
    look();
    sys::close_from(3);
    let (threadlet, writer) = away_threadlet();
    look_for("the read", |call| call.name == "read");
    assert!(sys::write_byte(writer.as_raw_fd(), 3));
    assert_eq!(threadlet.join(), Some(3));
}

fn no_descriptor() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
    let before = open();
    let _guard = start();
    look();
    let published = Published::of(std::process::id()).expect("the process publishes");
    assert_eq!(open(), before);
    drop(published);
}

fn together() {
    let _guard = start();
    let reader = |published: &Published| {
        for _ in 0..50 {
            published.snapshot(soon()).expect("it answers");
        }
    };
    let shared = Published::of(std::process::id()).expect("the process publishes");
    let parent = std::process::id();
    // Others are killed while they ask.
    let killed: Vec<_> = (0..3)
        .map(|_| {
            sys::fork(move || {
                let own = Published::of(parent).expect("the parent publishes");
                loop {
                    own.snapshot(soon()).expect("it answers");
                }
            })
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| reader(&shared));
        }
        reader(&Published::of(std::process::id()).expect("the process publishes"));
    });
    killed.into_iter().for_each(sys::Forked::kill);
    reader(&shared);
}

fn forked() {
    need_quiet();
    let guard = start();
    look();
    let child = sys::fork(|| {
        let _guard = attach();
        hand_off();
        let error = Published::of(std::process::id()).expect_err("nothing is published");
        assert!(matches!(error, PublishedError::NotPublished(_)), "{error:?}");
        assert_eq!(thread_of_stats(), None);
        let mapped = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        assert!(!mapped.contains(THREAD), "the parent's memory is not the child's");
        syslet::publish_stats().expect("the child can publish");
        assert_eq!(look().pid, std::process::id());
        0
    });
    assert_eq!(child.end(), 0, "the child");
    assert_eq!(look().pid, std::process::id());
    drop(guard);
}

fn ids() {
    if !sys::is_root() {
        skip("changing ids takes a right");
    }
    let child = sys::fork(|| {
        let _guard = start();
        assert!(sys::setgid(65_534) && sys::setuid(65_534));
        assert_eq!(
            proc::field(thread_of_stats().expect("it lives"), "Uid"),
            Some("65534 ".repeat(4).trim().into())
        );
        hand_off();
        0
    });
    assert_eq!(child.end(), 0, "the child");
}

/// Another program that publishes, and ends with what is written to it.
struct Program(Child);

impl Program {
    fn start() -> Self {
        let mut child = Command::new("/proc/self/exe")
            .args(["--part", "published"])
            .env("SYSLET_STATS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut ready = [0];
        let out = child.stdout.as_mut().expect("it is a pipe");
        out.read_exact(&mut ready).expect("the program says that it is there");
        Self(child)
    }

    fn say(&mut self, what: u8) {
        let to = self.0.stdin.as_mut().expect("it is a pipe");
        to.write_all(&[what]).expect("the program listens");
    }

    fn end(mut self) {
        self.say(b'e');
        let status = self.0.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }

    fn published(&self) -> Result<Published, PublishedError> {
        Published::of(self.0.id())
    }
}

/// The program.
pub(crate) fn part(arguments: &[String]) -> ExitCode {
    let _guard = arguments.is_empty().then(attach);
    let (threadlet, writer) = away_threadlet();
    std::io::stdout().write_all(b"r").expect("somebody listens");
    std::io::stdout().flush().expect("somebody listens");
    let mut word = [0];
    while std::io::stdin().read_exact(&mut word).is_ok() {
        match word[0] {
            b'x' => {
                let args = ["-c", "echo; read line"];
                let error = std::os::unix::process::CommandExt::exec(Command::new("sh").args(args));
                panic!("{error}");
            }
            b'f' => {
                let child = sys::fork(|| {
                    let before = Published::of(std::process::id()).is_err();
                    let _guard = attach();
                    hand_off();
                    i32::from(!before || look().pid != std::process::id())
                });
                assert_eq!(child.end(), 0, "the child publishes when it has a crew");
            }
            _ => break,
        }
    }
    assert!(sys::write_byte(writer.as_raw_fd(), 3));
    assert_eq!(threadlet.join(), Some(3));
    ExitCode::SUCCESS
}

fn environment() {
    let mut program = Program::start();
    let published = program.published().expect("it publishes");
    let seen = published.snapshot(soon()).expect("it answers");
    assert_eq!(seen.pid, program.0.id());
    sys::eventually("the read is seen", || {
        let seen = published.snapshot(soon()).expect("it answers");
        away(&seen).iter().any(|away| away.call.as_ref().is_some_and(|call| call.name == "read"))
    });
    program.say(b'f');
    program.end();
    assert!(matches!(published.snapshot(soon()), Err(PublishedError::Ended(_))));
}

fn stopped() {
    let program = Program::start();
    let published = program.published().expect("it publishes");
    let pid = program.0.id() as i32;
    assert!(sys::kill(pid, libc::SIGSTOP));
    sys::eventually("it has stopped", || {
        proc::process_field(pid, "State").is_some_and(|state| state.starts_with('T'))
    });
    let deadline = Instant::now() + Duration::from_millis(120);
    let error = published.snapshot(deadline).expect_err("it is stopped");
    assert!(matches!(error, PublishedError::NoAnswer(_)), "{error:?}");
    assert!(Instant::now() >= deadline);
    assert!(program.published().is_ok(), "it is found all the same");
    assert!(sys::kill(pid, libc::SIGCONT));
    published.snapshot(soon()).expect("it answers again");
    program.end();
}

fn ended() {
    let mut program = Program::start();
    let published = program.published().expect("it publishes");
    program.0.kill().expect("it is our child");
    sys::eventually("it has ended", || !proc::lives(program.0.id() as i32));
    let error = published.snapshot(soon()).expect_err("nobody answers");
    assert!(matches!(error, PublishedError::Ended(_)), "{error:?}");
    let error = program.published().expect_err("it has ended");
    assert!(matches!(error, PublishedError::NotPublished(_)), "not reaped: {error:?}");
    program.0.wait().expect("it is our child");
    let error = program.published().expect_err("it is gone");
    assert!(matches!(error, PublishedError::NoSuchProcess(_)), "{error:?}");
}

fn replaced() {
    let mut program = Program::start();
    let published = program.published().expect("it publishes");
    program.say(b'x');
    let mut line = [0];
    program.0.stdout.as_mut().expect("it is a pipe").read_exact(&mut line).expect("the shell runs");
    assert!(matches!(published.snapshot(soon()), Err(PublishedError::Ended(_))));
    assert!(matches!(program.published(), Err(PublishedError::NotPublished(_))));
    program.say(b'\n');
    program.0.wait().expect("it is our child");
}

fn other_user() {
    if !sys::is_root() {
        skip("becoming another user takes a right");
    }
    let program = Program::start();
    let pid = program.0.id();
    let child = sys::fork(move || {
        assert!(sys::setgroups(&[]) && sys::setgid(65_534) && sys::setuid(65_534));
        let error = Published::of(pid).expect_err("it is root's");
        assert!(matches!(error, PublishedError::Denied(_)), "{error:?}");
        0
    });
    assert_eq!(child.end(), 0, "the child");
    program.published().expect("root may");
    program.end();
}
