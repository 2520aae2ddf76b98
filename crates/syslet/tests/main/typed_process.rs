//! Children.

#![expect(clippy::zombie_processes, reason = "the tests wait, in ways that clippy cannot see")]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use futures_executor::block_on;
use futures_util::future::join_all;
use syslet::process::{wait, wait_pid};

use crate::util::{attached, eventually, late, soon};

fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).spawn().expect("there is a shell")
}

/// A child that ends when it is told to.
fn waiting() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line; exit 7"]).stdin(Stdio::piped());
    command.spawn().expect("there is a shell")
}

/// True once the child has ended and can be reaped.
fn ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is not reaped");
    let state = stat.rsplit(')').next().expect("after the name");
    state.trim_start().starts_with('Z')
}

#[test]
fn status_is_that_of_the_child_and_stays() {
    attached(|| {
        let mut child = shell("exit 3");
        assert_eq!(wait(&mut child).wait().expect("it ends").code(), Some(3));
        // Std knows it too.
        assert_eq!(child.wait().expect("known").code(), Some(3));
        assert_eq!(child.try_wait().expect("known").and_then(|status| status.code()), Some(3));
        assert_eq!(wait(&mut child).wait().expect("known").code(), Some(3));

        let mut child = shell("kill -TERM $$");
        let status = block_on(wait(&mut child)).expect("it ends");
        assert_eq!((status.code(), status.signal()), (None, Some(libc::SIGTERM)));
    });
}

#[test]
fn child_that_has_ended_is_told_at_once() {
    attached(|| {
        let mut child = shell("exit 4");
        let pid = child.id();
        assert!(eventually(|| ended(pid)));
        let mut waiting = wait(&mut child);
        assert!(waiting.was_inline() && waiting.is_done());
        assert_eq!(waiting.wait().expect("it has ended").code(), Some(4));
        let child = shell("exit 5");
        assert!(eventually(|| ended(child.id())));
        assert_eq!(wait_pid(child.id()).wait().expect("it has ended").code(), Some(5));
    });
}

#[test]
fn child_that_goes_on_is_waited_for() {
    attached(|| {
        let mut child = waiting();
        let stdin = child.stdin.take();
        let mut waiting = wait(&mut child);
        assert!(!waiting.is_done());
        let Err(waiting) = waiting.wait_deadline(soon(5)) else { panic!("it goes on") };
        drop(stdin);
        let status = waiting.wait_deadline(late()).expect("it ends").expect("it can be told");
        assert_eq!(status.code(), Some(7));
    });
}

#[test]
fn standard_input_is_closed_first() {
    attached(|| {
        let mut child = waiting();
        assert_eq!(wait(&mut child).wait().expect("it ends").code(), Some(7));
        assert!(child.stdin.is_none());
    });
}

#[test]
fn stopped_child_has_not_ended() {
    attached(|| {
        let mut child = waiting();
        let stdin = child.stdin.take();
        let pid = child.id();
        // A pid fits.
        let pid_t = pid as libc::pid_t;
        crate::util::calls::signal(pid_t, libc::SIGSTOP);
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        assert!(eventually(|| stat().contains(") T ")));
        let mut waiting = wait(&mut child);
        assert!(!waiting.is_done());
        crate::util::calls::signal(pid_t, libc::SIGCONT);
        drop(stdin);
        assert_eq!(waiting.wait().expect("it ends").code(), Some(7));
    });
}

#[test]
fn dropped_or_cancelled_the_child_is_as_before() {
    attached(|| {
        let mut child = waiting();
        let stdin = child.stdin.take();
        let mut first = wait(&mut child);
        assert!(!first.is_done());
        drop(first);
        let second = wait(&mut child);
        let _ = second.cancel();
        let error = second.wait().expect_err("it was cancelled");
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        let pid = child.id();
        let mut third = wait_pid(pid);
        assert!(!third.is_done());
        drop(third);
        assert!(child.try_wait().expect("it is there").is_none());
        drop(stdin);
        // Nobody has reaped it but std, now.
        assert!(eventually(|| ended(pid)));
        assert_eq!(child.wait().expect("it is there").code(), Some(7));
    });
}

#[test]
fn pid_of_nobody_is_an_error() {
    attached(|| {
        let child = shell("exit 6");
        assert_eq!(wait_pid(child.id()).wait().expect("it ends").code(), Some(6));
        let again = wait_pid(child.id()).wait().expect_err("it was reaped");
        assert_eq!(again.raw_os_error(), Some(libc::ECHILD));
        // Not a child; not a pid; what other calls take for `any child`.
        for pid in [1, 0, u32::MAX] {
            assert!(wait_pid(pid).wait().is_err(), "{pid}");
        }
    });
}

#[test]
fn child_that_was_reaped_behind_stds_back_is_stds_error() {
    attached(|| {
        let mut child = shell("exit 6");
        wait_pid(child.id()).wait().expect("it ends");
        let error = wait(&mut child).wait().expect_err("it was reaped");
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn many_children_end_in_any_order() {
    attached(|| {
        let mut children: Vec<_> = (0..20).map(|_| waiting()).collect();
        let mut inputs: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
        let waits = join_all(children.iter_mut().map(wait));
        let feeder = std::thread::spawn(move || {
            while let Some(stdin) = inputs.pop() {
                drop(stdin);
            }
        });
        let statuses = block_on(waits);
        assert!(statuses.into_iter().all(|status| status.expect("it ends").code() == Some(7)));
        feeder.join().expect("closing does not panic");
    });
}

#[test]
fn output_can_be_read_beside() {
    attached(|| {
        let mut command = Command::new("sh");
        let mut child = command
            .args(["-c", "echo out; exit 1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut stdout = child.stdout.take().expect("it is piped");
        let output = syslet::threadlet(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(wait(&mut child).wait().expect("it ends").code(), Some(1));
        assert_eq!(output.join().expect("it can be read"), "out\n");
    });
}

#[test]
fn waits_need_no_threads() {
    let path = "typed_process::waits_need_no_threads";
    let ended = crate::util::child::Child::new().run(path, || {
        attached(|| {
            let mut children: Vec<_> = (0..40).map(|_| waiting()).collect();
            let inputs: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
            let pids: Vec<_> = children.iter().map(Child::id).collect();
            let (known, unknown) = children.split_at_mut(20);
            let waits: Vec<_> = known.iter_mut().map(wait).collect();
            let mut reaps: Vec<_> = unknown.iter().map(|child| wait_pid(child.id())).collect();
            assert!(reaps.iter_mut().all(|reap| !reap.is_done()));
            let threads = crate::util::calls::threads_named("syslet-crew").len();
            assert!(threads < 20, "{threads} crew threads");
            drop(inputs);
            for wait in waits {
                assert_eq!(wait.wait().expect("it ends").code(), Some(7));
            }
            for reap in reaps {
                assert_eq!(reap.wait().expect("it ends").code(), Some(7));
            }
            for pid in pids {
                assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "a zombie");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
