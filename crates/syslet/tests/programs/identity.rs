//! Ids, sandboxes and who the threads of the process are.

use std::thread;
use std::time::{Duration, Instant};

use syslet::AttachError;

use crate::container::deny;
use crate::proc;
use crate::runner::{ALL, FOLLOW, GUESTS, Scenario, skip};
use crate::sys;
use crate::work::{attach, away_reads, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("ids_set_by_a_guest_hold_for_every_thread", ALL, by_guest),
    Scenario::new("ids_set_by_an_unattached_thread_hold_for_every_thread", ALL, by_other),
    Scenario::new("ids_set_in_a_child_that_a_guest_forked_hold_for_every_thread", ALL, by_forked),
    Scenario::new("ids_set_by_two_guests_at_once_end", ALL, by_two),
    Scenario::new("ids_set_in_a_threadlet_hold_for_every_thread", ALL, by_threadlet),
    Scenario::new("ids_hold_while_guests_come_and_go", ALL, come_and_go),
    Scenario::new("a_refused_id_change_is_an_error_and_no_more", ALL, refused),
    Scenario::new("sentinels_die_with_a_program_that_changed_its_user", GUESTS, orphans),
    Scenario::new("check_identity_finds_a_thread_with_another_user", ALL, other_user),
    Scenario::new("check_identity_finds_a_thread_that_differs", ALL, other_privileges),
    Scenario::new("check_identity_names_what_differs", ALL, each_field),
    Scenario::new("check_identity_agrees_while_nothing_differs", ALL, nothing_differs),
    Scenario::new("a_handoff_out_of_a_sandbox_ends_a_program_that_asked_for_it", GUESTS, escape),
    Scenario::new("a_thread_that_sandboxed_itself_is_not_attached_outside", GUESTS, outside),
    Scenario::new("a_thread_with_one_filter_more_is_not_attached_outside", GUESTS, one_more),
    Scenario::new("a_thread_with_other_ids_is_not_attached_to_roots_crew", GUESTS, privileged),
    Scenario::new("a_thread_in_another_place_is_not_attached_elsewhere", GUESTS, elsewhere),
    Scenario::new("without_kcmp_neither_is_a_thread_in_another_place", FOLLOW, elsewhere_unseen),
    Scenario::new("a_sandbox_made_before_attach_holds_after_handoffs", GUESTS, before),
    Scenario::new(
        "a_thread_of_more_groups_than_a_home_can_take_over_is_not_attached",
        GUESTS,
        many_groups,
    ),
];

/// A user and group that need not exist.
const NOBODY: u32 = 65_534;
/// Longest time that setting an id may take here: far more than it needs, and not for ever.
const QUICK: Duration = sys::PATIENCE;

fn need_root() {
    if !sys::is_root() {
        skip("changing ids takes a right");
    }
}

/// Checks a field of every thread of the process.
#[track_caller]
fn all_threads_have(field: &str, value: &str) {
    for tid in proc::threads() {
        if let Some(found) = proc::field(tid, field) {
            let name = proc::field(tid, "Name");
            assert_eq!(found, value, "{field} of thread {tid} ({name:?})");
        }
    }
}

fn need_new_privileges() {
    if proc::field(sys::gettid(), "NoNewPrivs").as_deref() != Some("0") {
        skip("no_new_privs is set already");
    }
}

fn four(id: u32) -> String {
    format!("{id} {id} {id} {id}")
}

/// Runs `f` and checks that it is quick.
#[track_caller]
fn quick<R>(f: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = f();
    assert!(began.elapsed() < QUICK, "took {:?}", began.elapsed());
    result
}

/// Drops group, groups and user, and checks each for every thread.
fn drop_all() {
    assert!(quick(|| sys::setgroups(&[7, 8])), "setgroups");
    all_threads_have("Groups", "7 8");
    assert!(quick(|| sys::setgid(NOBODY)), "setgid");
    all_threads_have("Gid", &four(NOBODY));
    assert!(quick(|| sys::setuid(NOBODY)), "setuid");
    all_threads_have("Uid", &four(NOBODY));
    all_threads_have("CapEff", "0000000000000000");
}

/// In a child of its own, so that the rest of the program keeps its rights.
fn in_child(f: impl FnOnce()) {
    need_root();
    let child = sys::fork(|| {
        f();
        0
    });
    assert_eq!(child.end(), 0);
}

fn still_works() {
    hand_off();
    let guard = attach();
    finish_all(away_reads(3));
    drop(guard);
    all_threads_have("Uid", &four(NOBODY));
    assert_eq!(syslet::check_identity().expect("/proc can be read"), Ok(()));
}

fn by_guest() {
    in_child(as_guest);
}

fn as_guest() {
    let guard = attach();
    let reads = away_reads(4);
    drop_all();
    finish_all(reads);
    all_threads_have("Uid", &four(NOBODY));
    drop(guard);
    still_works();
}

/// The child begins with what the carrier has that forked it, GS base and all.
fn by_forked() {
    need_root();
    let guard = attach();
    hand_off();
    in_child(as_guest);
    in_child(as_other);
    let child = syslet::threadlet(|| {
        sys::fork(|| {
            as_guest();
            0
        })
    });
    assert_eq!(child.join().end(), 0);
    drop(guard);
}

/// A home could not take them over from a signal handler.
fn many_groups() {
    need_root();
    for (count, attaches) in [(1024, true), (1025, false)] {
        in_child(|| {
            let groups: Vec<u32> = (1..=count).collect();
            assert!(sys::setgroups(&groups), "setgroups");
            let attached = crate::work::settings().attach();
            assert_eq!(attached.is_ok(), attaches, "{count} groups: {:?}", attached.err());
        });
    }
}

fn by_other() {
    in_child(as_other);
}

fn as_other() {
    let guard = attach();
    let reads = away_reads(4);
    let guests: Vec<_> = (0..3).map(|_| resting_guest()).collect();
    thread::spawn(drop_all).join().expect("ends well");
    finish_all(reads);
    for (release, guest) in guests {
        drop(release);
        guest.join().expect("a guest ends well");
    }
    drop(guard);
    still_works();
}

/// A thread that is attached and waits, in a plain read, until the other end is dropped.
fn resting_guest() -> (std::os::fd::OwnedFd, thread::JoinHandle<()>) {
    use std::os::fd::AsRawFd;
    let (reader, writer) = sys::pipe();
    let (ready, told) = sys::pipe();
    let guest = thread::spawn(move || {
        let guard = attach();
        let reads = away_reads(2);
        assert!(sys::write_byte(told.as_raw_fd(), 1));
        assert_eq!(sys::read_byte(reader.as_raw_fd()), None);
        finish_all(reads);
        drop(guard);
        assert_eq!(proc::field(sys::gettid(), "Uid"), Some(four(NOBODY)), "the guest, at home");
    });
    assert_eq!(sys::read_byte(ready.as_raw_fd()), Some(1));
    (writer, guest)
}

fn by_two() {
    in_child(|| {
        let end = Instant::now() + Duration::from_secs(2);
        let guests: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn(move || {
                    let guard = attach();
                    let reads = away_reads(2);
                    let mut longest = Duration::ZERO;
                    while Instant::now() < end {
                        let began = Instant::now();
                        assert!(sys::setgid(5));
                        longest = longest.max(began.elapsed());
                        hand_off();
                    }
                    finish_all(reads);
                    drop(guard);
                    assert!(longest < QUICK, "setgid took {longest:?}");
                })
            })
            .collect();
        for guest in guests {
            guest.join().expect("a guest ends well");
        }
        all_threads_have("Gid", &four(5));
    });
}

fn by_threadlet() {
    in_child(|| {
        let guard = attach();
        let reads = away_reads(2);
        syslet::threadlet(drop_all).join();
        finish_all(reads);
        all_threads_have("Uid", &four(NOBODY));
        drop(guard);
        still_works();
    });
}

fn come_and_go() {
    in_child(|| {
        let end = Instant::now() + Duration::from_secs(2);
        let movers: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(move || {
                    while Instant::now() < end {
                        let guard = attach();
                        hand_off();
                        drop(guard);
                    }
                })
            })
            .collect();
        let mut id = 1;
        while Instant::now() < end {
            id = id % 1000 + 1;
            assert!(quick(|| sys::setgid(id)));
            all_threads_have("Gid", &four(id));
        }
        for mover in movers {
            mover.join().expect("ends well");
        }
        all_threads_have("Gid", &four(id));
    });
}

fn refused() {
    in_child(|| {
        let guard = attach();
        let reads = away_reads(2);
        assert!(sys::setuid(NOBODY));
        assert!(!quick(|| sys::setuid(0)), "nobody becomes root");
        assert_eq!(sys::errno(), libc::EPERM);
        assert!(!quick(|| sys::setgid(5)), "nobody changes its group");
        finish_all(reads);
        drop(guard);
        still_works();
    });
}

fn orphans() {
    need_root();
    let words = sys::shared_words();
    for signal in [None, Some(libc::SIGKILL)] {
        words[0].store(0, std::sync::atomic::Ordering::SeqCst);
        let program = sys::fork(move || {
            let _guard = attach();
            hand_off();
            assert!(sys::setuid(NOBODY));
            words[0].store(1, std::sync::atomic::Ordering::SeqCst);
            if signal.is_some() {
                loop {
                    std::hint::spin_loop();
                }
            }
            0
        });
        sys::eventually("the program has sentinels", || {
            !proc::sentinels_of(program.0).is_empty() || signal.is_none()
        });
        assert!(sys::wait_change(&words[0], 0));
        let sentinels = proc::sentinels_of(program.0);
        if let Some(signal) = signal {
            sys::kill(program.0, signal);
        }
        program.end();
        sys::eventually("the sentinels are gone", || {
            sentinels.iter().all(|sentinel| !proc::lives(*sentinel))
        });
    }
}

fn other_user() {
    need_root();
    let _guard = attach();
    hand_off();
    let found = thread::spawn(|| {
        let answer = sys::number_call(libc::SYS_setresuid, [NOBODY as usize; 4]);
        assert_eq!(answer, 0);
        syslet::check_identity()
    });
    let found = found.join().expect("ends well").expect("/proc can be read");
    let mismatch = found.expect_err("the thread differs from all others");
    assert_eq!(mismatch.field, "Uid");
}

fn other_privileges() {
    need_new_privileges();
    let _guard = attach();
    hand_off();
    // On the guest's carrier only: what a program does that sandboxes itself after it has attached.
    assert_eq!(sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1), 0);
    let found = syslet::check_identity().expect("/proc can be read");
    let mismatch = found.expect_err("no other thread has followed");
    assert_eq!(mismatch.field, "NoNewPrivs");
}

/// Something that a thread changes for itself alone, and the field that shows it; false: it may not.
type Change = (&'static str, fn() -> bool);

/// Each takes a right that the one before it did not take away.
const CHANGES: [Change; 6] = [
    ("cwd", || sys::unshare(libc::CLONE_FS) && std::env::set_current_dir("/proc").is_ok()),
    ("ns/mnt", || sys::unshare(libc::CLONE_NEWNS)),
    ("ns/net", || sys::unshare(libc::CLONE_NEWNET)),
    ("ns/pid_for_children", || sys::unshare(libc::CLONE_NEWPID)),
    ("Gid", || sys::number_call(libc::SYS_setresgid, [NOBODY as usize; 4]) == 0),
    ("CapBnd", || sys::prctl(libc::PR_CAPBSET_DROP, 0) == 0),
];

/// For each change a thread that makes it, and runs `f` if it may; started when they are asked for.
fn changed(f: fn(&'static str)) -> impl Iterator<Item = (&'static str, thread::JoinHandle<bool>)> {
    CHANGES.into_iter().map(move |(field, change)| {
        let run = move || {
            let changed = change();
            if changed {
                f(field);
            }
            changed
        };
        (field, thread::spawn(run))
    })
}

/// Waits for them, one after the other.
fn join(threads: impl Iterator<Item = (&'static str, thread::JoinHandle<bool>)>) {
    let made = threads.filter_map(|(field, thread)| match thread.join() {
        Ok(made) => made.then_some(()),
        Err(_) => panic!("after a change of {field}"),
    });
    let made = made.count();
    println!("{made} of {} changes are allowed here", CHANGES.len());
    assert!(made > 0 || crate::container::sandbox().is_some(), "a thread may leave the others");
}

fn each_field() {
    if std::env::current_dir().is_ok_and(|place| place.starts_with("/proc")) {
        skip("started in the place that a thread is to go to");
    }
    let _guard = attach();
    hand_off();
    let threads = changed(|field| {
        let found = syslet::check_identity().expect("/proc can be read");
        let mismatch = found.expect_err("the thread differs from all others");
        let shown = mismatch.to_string();
        assert!(mismatch.field == field, "{field} was changed, and it says: {shown}");
        assert!(shown.contains(field) && mismatch.found != mismatch.expected);
    });
    join(threads);
    if !sys::is_root() || crate::container::sandbox().is_some() {
        return;
    }
    thread::spawn(|| {
        deny(&[(libc::SYS_bpf, libc::EPERM)]);
        let found = syslet::check_identity().expect("/proc can be read");
        let mismatch = found.expect_err("no other thread has the filter");
        assert!(mismatch.field.starts_with("Seccomp"), "{mismatch}");
    })
    .join()
    .expect("a filter");
}

fn elsewhere() {
    drop(attach());
    let threads = changed(|field| match crate::work::settings().attach() {
        Err(AttachError::IdentityDiffers(found)) => assert_eq!(found, field),
        other => panic!("given to a crew that differs in {field}: {other:?}"),
    });
    // All at once: each looks for half a second whether its difference lasts.
    join(threads.collect::<Vec<_>>().into_iter());
}

fn elsewhere_unseen() {
    deny(&[(libc::SYS_kcmp, libc::EPERM)]);
    elsewhere();
}

fn escape() {
    need_new_privileges();
    for asked in [true, false] {
        let mut program = std::process::Command::new("/proc/self/exe");
        program.args(["--part", "escape"]).stderr(std::process::Stdio::piped());
        if asked {
            program.env("SYSLET_CHECK_IDENTITY", "1");
        }
        let output = program.output().expect("the program can be started");
        let text = String::from_utf8_lossy(&output.stderr);
        use std::os::unix::process::ExitStatusExt;
        if asked {
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
            assert!(text.contains("NoNewPrivs") && text.contains("handoff"), "{text}");
        } else {
            assert!(output.status.success(), "{text}");
        }
    }
}

/// A program that sandboxes itself after it has attached: the next handoff leads out of it.
pub(crate) fn sandboxed_too_late() {
    let _guard = attach();
    (0..20).for_each(|_| hand_off()); // nothing differs yet
    assert_eq!(sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1), 0);
    hand_off();
    assert_eq!(proc::field(sys::gettid(), "NoNewPrivs").as_deref(), Some("0"), "it is outside");
}

fn nothing_differs() {
    let guard = attach();
    let reads = away_reads(3);
    assert_eq!(syslet::check_identity().expect("/proc can be read"), Ok(()));
    finish_all(reads);
    drop(guard);
    assert_eq!(syslet::check_identity().expect("/proc can be read"), Ok(()));
}

/// Attaches and expects that it is refused.
#[track_caller]
fn differs() {
    match crate::work::settings().attach() {
        Err(AttachError::IdentityDiffers(field)) => assert!(!field.is_empty()),
        Err(error) => panic!("{error}"),
        Ok(_guard) => panic!("a thread in a sandbox was given to a crew outside it"),
    }
}

fn outside() {
    need_new_privileges();
    drop(attach());
    thread::spawn(|| {
        assert_eq!(sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1), 0);
        differs();
    })
    .join()
    .expect("no_new_privs");
    thread::spawn(|| {
        deny(&[(libc::SYS_bpf, libc::EPERM)]);
        differs();
    })
    .join()
    .expect("seccomp");
}

fn one_more() {
    deny(&[(libc::SYS_bpf, libc::EPERM)]);
    drop(attach());
    thread::spawn(|| {
        deny(&[(libc::SYS_userfaultfd, libc::EPERM)]);
        differs();
    })
    .join()
    .expect("one filter more");
}

fn privileged() {
    need_root();
    drop(attach());
    thread::spawn(|| {
        let answer = sys::number_call(libc::SYS_setresuid, [NOBODY as usize; 4]);
        assert_eq!(answer, 0);
        differs();
    })
    .join()
    .expect("another user");
}

fn before() {
    deny(&[(libc::SYS_bpf, libc::EDOM)]);
    let _guard = attach();
    assert!(syslet::is_attached());
    for _ in 0..20 {
        hand_off();
        let answer = sys::number_call(libc::SYS_bpf, [999, 0, 0, 0]);
        assert_eq!((answer, sys::errno()), (-1, libc::EDOM), "the filter holds after a handoff");
    }
}
