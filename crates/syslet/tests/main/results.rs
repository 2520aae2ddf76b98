//! Every shape of an answer.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use syslet::{Call, SubmitError, Submitted};

use crate::util::calls::{
    self, Landing, checked, go, number_call, pending, poll_call, pread_call, read_call, sleep_call,
    try_go, write_call,
};
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, attached, bounded, eventually, late, skip_in_pool, soon};

#[test]
fn value_that_is_there_at_once() {
    attached(|| {
        let file = file_with(b"abc");
        let landing = Landing::leak();
        let mut inline = 0;
        for _ in 0..100 {
            let submitted = go(pread_call(file.as_raw_fd(), landing, 1));
            inline += usize::from(submitted.is_done());
            assert_eq!(submitted.wait().result().expect("the file can be read"), 1);
            assert_eq!(landing.byte(), b'b');
        }
        if !skip_in_pool("inline") {
            assert!(inline > 50, "only {inline} of 100 were inline");
        }
    });
}

#[test]
fn error_that_is_there_at_once() {
    attached(|| {
        let submitted = go(read_call(-1, Landing::leak()));
        let ret = submitted.wait();
        assert_eq!(ret.errno(), Some(libc::EBADF));
        assert_eq!(ret.raw(), -libc::EBADF as isize);
        assert_eq!(ret.result().expect_err("it failed").raw_os_error(), Some(libc::EBADF));
        assert!(!ret.is_cancelled());
    });
}

#[test]
fn call_that_cannot_wait_is_made_at_once_everywhere() {
    let call = || number_call(libc::SYS_getpid, []);
    assert!(bounded(LIMIT, move || go(call()).is_done()));
    attached(move || {
        let submitted = go(call());
        assert!(submitted.is_done());
        assert_eq!(submitted.wait().raw(), std::process::id() as isize);
    });
}

#[test]
fn value_that_comes_later() {
    attached(|| {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let away = pending(go(read_call(pipe.read_end(), landing)));
        assert!(!away.is_done());
        pipe.put(77);
        assert_eq!(away.wait().raw(), 1);
        assert_eq!(landing.byte(), 77);
    });
}

#[test]
fn error_that_comes_later() {
    attached(|| {
        let (left, right) = std::os::unix::net::UnixStream::pair().expect("a pair can be made");
        let landing = Landing::leak();
        let call = Call::new(
            libc::SYS_recvfrom as usize,
            [left.as_raw_fd() as usize, landing.address(), 1, 0, 0, 0],
        );
        let away = pending(go(call));
        // What was written to the other side and not read makes its end a reset.
        std::io::Write::write_all(&mut &left, b"unread").expect("there is room");
        drop(right);
        assert_eq!(away.wait().errno(), Some(libc::ECONNRESET));
    });
}

#[test]
fn call_from_a_thread_that_is_not_attached_is_queued() {
    bounded(LIMIT, || {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let away = pending(go(read_call(pipe.read_end(), landing)));
        pipe.put(5);
        assert_eq!(away.wait().raw(), 1);
        assert_eq!(landing.byte(), 5);
    });
}

#[test]
fn nonblocking_descriptors_answer_eagain_at_once() {
    attached(|| {
        let pipe = Pipe::new();
        calls::set_nonblocking(pipe.read_end(), true);
        let mut inline = 0;
        for _ in 0..100 {
            let submitted = go(read_call(pipe.read_end(), Landing::leak()));
            inline += usize::from(submitted.is_done());
            assert_eq!(submitted.wait().errno(), Some(libc::EAGAIN));
        }
        pipe.fill();
        calls::set_nonblocking(pipe.write_end(), true);
        let full = go(write_call(pipe.write_end(), &[0; 1]));
        assert_eq!(full.wait().errno(), Some(libc::EAGAIN));
        if !skip_in_pool("inline") {
            assert!(inline > 50, "only {inline} of 100 were inline");
        }
    });
}

#[test]
fn wait_deadline_gives_the_handle_back_at_the_deadline() {
    attached(|| {
        let pipe = Pipe::new();
        let away = pending(go(read_call(pipe.read_end(), Landing::leak())));
        let deadline = soon(20);
        let Err(away) = away.wait_deadline(deadline) else { panic!("the call sleeps") };
        assert!(Instant::now() >= deadline);
        pipe.put(1);
        assert_eq!(away.wait_deadline(late()).expect("it ends").raw(), 1);
    });
}

#[test]
fn is_done_becomes_true_by_itself() {
    attached(|| {
        let pipe = Pipe::new();
        let away = pending(go(read_call(pipe.read_end(), Landing::leak())));
        assert!(!away.is_done());
        pipe.put(1);
        assert!(eventually(|| away.is_done()));
        assert_eq!(away.wait().raw(), 1);
    });
}

#[test]
fn pending_call_is_a_future() {
    attached(|| {
        let pipes: Vec<_> = (0..10).map(|_| Pipe::new()).collect();
        let landings: Vec<_> = pipes.iter().map(|_| Landing::leak()).collect();
        let away: Vec<_> = pipes
            .iter()
            .zip(&landings)
            .map(|(pipe, landing)| pending(go(read_call(pipe.read_end(), landing))))
            .collect();
        let writer = std::thread::spawn(move || {
            pipes.iter().zip(1..).for_each(|(pipe, byte)| pipe.put(byte));
            pipes
        });
        futures_executor::block_on(async {
            for (away, (landing, byte)) in away.into_iter().zip(landings.iter().zip(1..)) {
                assert_eq!(away.await.raw(), 1);
                assert_eq!(landing.byte(), byte);
            }
        });
        drop(writer.join());
    });
}

#[test]
fn dropped_handle_leaves_the_call_to_itself() {
    attached(|| {
        let pipe = Pipe::new();
        pipe.fill();
        let back = pipe.filled();
        drop(pending(go(write_call(pipe.write_end(), &[9; 4096]))));
        // Once all that was there is read, the write goes on.
        for _ in 0..back {
            pipe.get();
        }
        assert!(eventually(|| pipe.filled() == 4096), "the write was lost");
        assert_eq!(pipe.get(), 9);
    });
}

#[test]
fn time_limits_are_kept() {
    attached(|| {
        let pipe = Pipe::new();
        for call in [sleep_call(Duration::from_millis(30)), poll_call(pipe.read_end(), 30)] {
            let begun = Instant::now();
            assert_eq!(go(call).wait().raw(), 0);
            assert!(begun.elapsed() >= Duration::from_millis(30), "{call:?}");
        }
    });
}

#[test]
fn calls_overlap() {
    const TIME: Duration = Duration::from_secs(1);
    attached(|| {
        let begun = Instant::now();
        let away: Vec<_> = (0..20).map(|_| go(sleep_call(TIME))).collect();
        away.into_iter().for_each(|submitted| assert_eq!(submitted.wait().raw(), 0));
        let took = begun.elapsed();
        assert!(took < TIME * 10, "{took:?}, and 20 s one after the other");
    });
}

#[test]
fn many_calls_of_one_thread_are_away_at_once() {
    const COUNT: usize = 400;
    let path = "results::many_calls_of_one_thread_are_away_at_once";
    let ended = Child::new().run(path, || {
        attached(|| {
            let pipe = Pipe::new();
            let landings: Vec<_> = (0..COUNT).map(|_| Landing::leak()).collect();
            let away: Vec<_> =
                landings.iter().map(|landing| go(read_call(pipe.read_end(), landing))).collect();
            assert!(away.iter().all(|submitted| matches!(submitted, Submitted::Pending(_))));
            (0..COUNT).for_each(|_| pipe.put(1));
            let answers: isize = away.into_iter().map(|submitted| submitted.wait().raw()).sum();
            assert_eq!(answers, COUNT as isize);
            assert!(landings.iter().all(|landing| landing.byte() == 1));
        })
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn try_submit_makes_the_call_where_there_is_room() {
    attached(|| {
        let file = file_with(b"x");
        let landing = Landing::leak();
        let submitted = try_go(pread_call(file.as_raw_fd(), landing, 0));
        assert_eq!(submitted.expect("a crew thread is free").wait().raw(), 1);
        assert_eq!(landing.byte(), b'x');
    });
}

#[test]
fn call_says_what_it_is() {
    let call = Call::new(libc::SYS_pread64 as usize, [3, 4, 5]);
    assert_eq!((call.nr(), call.name()), (libc::SYS_pread64 as usize, Some("pread64")));
    assert_eq!(call.args(), [3, 4, 5, 0, 0, 0]);
    assert!(format!("{call:?}").contains("pread64"));
    assert_eq!(Call::new(100_000, []).name(), None);
    assert!(matches!(checked(Call::new(100_000, [])), Err(SubmitError::Refused(..))));
}
