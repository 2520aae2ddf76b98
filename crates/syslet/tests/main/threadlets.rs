//! The handle of a threadlet.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use syslet::{Builder, threadlet, threadlet_with, try_threadlet};

use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, late, skip_in_pool, soon};

#[test]
fn closure_that_does_not_sleep_finishes_inline() {
    if skip_in_pool("inline") {
        return;
    }
    // A single one may be preempted, and then it is handed off.
    let inline = attached(|| {
        (0..1000u64)
            .filter(|&n| {
                let threadlet = threadlet(move || n * 2);
                let inline = threadlet.was_inline();
                assert!(!inline || threadlet.is_finished());
                assert_eq!(threadlet.join(), n * 2);
                inline
            })
            .count()
    });
    assert!(inline > 500, "only {inline} of 1000 were inline");
}

#[test]
fn closure_that_sleeps_goes_on_beside_the_caller() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let threadlet = threadlet(move || other.get());
        assert!(!threadlet.was_inline());
        assert!(!threadlet.is_finished());
        pipe.put(7);
        assert_eq!(threadlet.join(), 7);
    });
}

#[test]
fn closure_has_copies_of_what_it_was_given() {
    attached(|| {
        // The last is more than is kept on a stack.
        for size in [0, 1, 100, 5000, 1 << 20] {
            let (mut one, mut other) = (vec![1u8; size], vec![2u8; size / 3]);
            let pipe = Pipe::new();
            let writer = pipe.clone();
            let mut inline = None;
            let away = threadlet_with(
                [&one, &other],
                move |[one, other]| (pipe.get(), one.to_vec(), other.to_vec()),
                &mut inline,
            );
            assert!(inline.is_none(), "it waits for the pipe");
            one.fill(3);
            other.fill(4);
            drop((one, other));
            writer.put(7);
            let answer = away.expect("it waits for the pipe").join();
            assert!(answer == (7, vec![1; size], vec![2; size / 3]), "{size} bytes");
        }
    });
}

#[test]
fn result_of_a_closure_with_copies_is_put_in_its_place() {
    if skip_in_pool("inline") {
        return;
    }
    attached(|| {
        let inline = (0..1000usize).filter(|&n| {
            let part = vec![b'x'; n];
            let mut result = None;
            let away = threadlet_with([&part], |[part]| Box::new(part.len()), &mut result);
            let is_inline = away.is_none();
            assert_eq!(result.is_some(), is_inline);
            let answer = match away {
                None => result.and_then(Result::ok),
                Some(away) => Some(away.join()),
            };
            assert_eq!(answer, Some(Box::new(n)));
            is_inline
        });
        assert!(inline.count() > 500);
        let mut result: Option<thread::Result<()>> = None;
        let away = threadlet_with([b"why"], |_| std::panic::panic_any("because"), &mut result);
        let result = away.map_or(result, |away| Some(away.join_catch()));
        let payload = result.expect("inline or away").expect_err("it has panicked");
        assert_eq!(payload.downcast_ref(), Some(&"because"));
    });
}

#[test]
fn closure_runs_on_another_thread_to_the_program() {
    attached(|| {
        let here = thread::current().id();
        assert_ne!(threadlet(move || thread::current().id()).join(), here);
        assert_eq!(thread::current().id(), here);
    });
}

#[test]
fn pool_serves_threads_that_are_not_attached() {
    bounded(LIMIT, || {
        let threadlet = threadlet(|| 5);
        assert!(!threadlet.was_inline());
        assert_eq!(threadlet.join(), 5);
    });
}

#[test]
fn try_join_gives_the_handle_back_until_the_end() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let Err(threadlet) = threadlet(move || other.get()).try_join() else {
            panic!("the closure sleeps")
        };
        pipe.put(3);
        assert!(eventually(|| threadlet.is_finished()));
        assert_eq!(threadlet.try_join().ok(), Some(3));
    });
}

#[test]
fn join_deadline_gives_the_handle_back_at_the_deadline() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let deadline = soon(20);
        let Err(threadlet) = threadlet(move || other.get()).join_deadline(deadline) else {
            panic!("the closure sleeps")
        };
        assert!(std::time::Instant::now() >= deadline);
        let Err(threadlet) = threadlet.join_deadline(std::time::Instant::now()) else {
            panic!("the closure sleeps")
        };
        pipe.put(4);
        assert_eq!(threadlet.join_deadline(late()).ok(), Some(4));
    });
}

#[test]
fn join_sleeps_until_the_end() {
    attached(|| {
        for n in 0..200u8 {
            let (send, receive) = channel();
            let threadlet = threadlet(move || receive.recv().expect("the sender lives"));
            let sender = thread::spawn(move || send.send(n).expect("the receiver lives"));
            assert_eq!(threadlet.join(), n);
            sender.join().expect("sending does not panic");
        }
    });
}

#[test]
fn detached_closure_runs_to_its_end() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let (send, receive) = channel();
        threadlet(move || send.send(other.get())).detach();
        pipe.put(9);
        assert_eq!(receive.recv_timeout(LIMIT), Ok(9));
    });
}

#[test]
fn accepted_closure_runs_once() {
    attached(|| {
        let runs = Arc::new(AtomicUsize::new(0));
        for _ in 0..2000 {
            let count = Arc::clone(&runs);
            threadlet(move || count.fetch_add(1, Ordering::SeqCst)).join();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2000);
    });
}

#[test]
fn try_threadlet_runs_where_there_is_room() {
    attached(|| {
        let threadlet = try_threadlet(|| 11).expect("a crew thread is free");
        assert_eq!(threadlet.join(), 11);
    });
}

#[test]
fn builder_elsewhere_is_never_inline_and_bears_its_name() {
    attached(|| {
        let own_name = || {
            let comm = std::fs::read_to_string("/proc/thread-self/comm");
            comm.expect("a thread has a name").trim().to_owned()
        };
        let threadlet = Builder::new().name("a-name-of-some-length").elsewhere().launch(own_name);
        assert!(!threadlet.was_inline());
        assert_eq!(threadlet.join(), "a-name-of-some-");
        let anonymous = Builder::new().elsewhere().launch(own_name).join();
        assert!(anonymous.starts_with("syslet-crew"), "the name is left behind: {anonymous}");
        let wide = Builder::new().name("ähnlich-äöüß-ä").elsewhere().launch(own_name).join();
        assert_eq!(wide, "ähnlich-äöü");
    });
}

#[test]
fn builder_without_elsewhere_is_a_threadlet() {
    attached(|| {
        assert_eq!(Builder::new().launch(|| 1).join(), 1);
        let tried = Builder::new().elsewhere().name("x").try_launch(|| 2);
        assert_eq!(tried.expect("a crew thread is free").join(), 2);
        assert!(
            Builder::new().name("x").launch(thread::current).join().id() != thread::current().id()
        );
    });
}

/// A waker that counts and unparks.
struct Bell {
    thread: Thread,
    rung: AtomicUsize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let bell = Arc::new(Bell { thread: thread::current(), rung: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, bell.rung.load(Ordering::SeqCst));
        }
        let deadline = late();
        while bell.rung.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "nobody wakes the task");
            // It may be over at once: the bell of the future before is rung, and then unparks.
            thread::park_timeout(LIMIT);
        }
    }
}

#[test]
fn threadlet_is_a_future_that_wakes_once() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let threadlet = threadlet(move || other.get());
        let writer = thread::spawn(move || pipe.put(1));
        let (byte, rung) = block_on(threadlet);
        assert_eq!(byte, 1);
        assert!(rung <= 1, "woken {rung} times");
        writer.join().expect("writing does not panic");
    });
}

#[test]
fn last_waker_is_the_one_that_is_woken() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let mut threadlet = pin!(threadlet(move || other.get()));
        let bells: Vec<_> = (0..3)
            .map(|_| Arc::new(Bell { thread: thread::current(), rung: AtomicUsize::new(0) }))
            .collect();
        for bell in &bells {
            let waker = Waker::from(Arc::clone(bell));
            let polled = threadlet.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        pipe.put(2);
        assert!(eventually(|| bells[2].rung.load(Ordering::SeqCst) == 1));
        assert_eq!(bells[0].rung.load(Ordering::SeqCst) + bells[1].rung.load(Ordering::SeqCst), 0);
        let waker = Waker::from(Arc::clone(&bells[2]));
        assert_eq!(threadlet.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(2));
    });
}

#[test]
fn futures_race_with_completion() {
    attached(|| {
        for n in 0..500u32 {
            let go = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&go);
            let threadlet = syslet::Builder::new().elsewhere().launch(move || {
                while !seen.load(Ordering::Acquire) {
                    // Who opens may need this CPU.
                    thread::yield_now();
                }
                n
            });
            let opener = threadlet_opener(&go, n);
            assert_eq!(block_on(threadlet).0, n);
            opener.join();
        }
    });
}

/// Opens the gate from elsewhere in one case, before polling in the other.
fn threadlet_opener(go: &Arc<AtomicBool>, n: u32) -> syslet::Threadlet<()> {
    let go = Arc::clone(go);
    let open = move || go.store(true, Ordering::Release);
    if n.is_multiple_of(2) { Builder::new().elsewhere().launch(open) } else { threadlet(open) }
}

#[test]
fn many_futures_on_an_executor_of_others() {
    attached(|| {
        let pipes: Vec<_> = (0..20).map(|_| Pipe::new()).collect();
        let tasks: Vec<_> = pipes
            .iter()
            .cloned()
            .map(|pipe| {
                let threadlet = threadlet(move || u32::from(pipe.get()));
                async move { threadlet.await + threadlet_inline(1).await }
            })
            .collect();
        let writer = thread::spawn(move || {
            pipes.iter().zip(1..).for_each(|(pipe, byte)| pipe.put(byte));
        });
        let mut sum = 0;
        futures_executor::block_on(async {
            for task in tasks {
                sum += task.await;
            }
        });
        assert_eq!(sum, (1..=20).sum::<u32>() + 20);
        writer.join().expect("writing does not panic");
    });
}

fn threadlet_inline(n: u32) -> syslet::Threadlet<u32> {
    threadlet(move || n)
}

#[test]
fn handle_may_be_joined_by_another_thread() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let away = threadlet(move || other.get());
        let joiner = thread::spawn(move || away.join());
        pipe.put(8);
        assert_eq!(joiner.join().expect("joining does not panic"), 8);
    });
}

#[test]
fn dropped_early_the_result_is_dropped_where_the_closure_ran() {
    struct Result(std::sync::mpsc::Sender<thread::ThreadId>);
    impl Drop for Result {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let (send, receive) = channel();
        let (send_id, receive_id) = channel();
        let away = threadlet(move || {
            other.get();
            send_id.send(thread::current().id()).expect("the receiver lives");
            Result(send)
        });
        drop(away);
        assert!(receive.try_recv().is_err(), "dropped before there was one");
        pipe.put(1);
        let dropped_on = receive.recv_timeout(LIMIT).expect("the result is dropped");
        assert_eq!(receive_id.recv_timeout(LIMIT), Ok(dropped_on));
    });
}

#[test]
fn drop_races_with_completion_and_the_result_is_dropped_once() {
    struct Result(Arc<AtomicUsize>);
    impl Drop for Result {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    const ROUNDS: usize = 2000;
    let dropped = attached(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        for n in 0..ROUNDS {
            let result = Result(Arc::clone(&dropped));
            let gate = Arc::new(AtomicBool::new(false));
            let open = Arc::clone(&gate);
            let away = Builder::new().elsewhere().launch(move || {
                while !open.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                result
            });
            gate.store(true, Ordering::Release);
            for _ in 0..n % 64 {
                std::hint::spin_loop();
            }
            drop(away);
        }
        assert!(eventually(|| dropped.load(Ordering::SeqCst) >= ROUNDS));
        dropped.load(Ordering::SeqCst)
    });
    assert_eq!(dropped, ROUNDS);
}

#[test]
fn handle_outlives_the_thread_that_made_it() {
    let pipe = Pipe::new();
    let other = pipe.clone();
    let away = attached(move || threadlet(move || other.get()));
    pipe.put(6);
    assert_eq!(bounded(LIMIT, move || away.join()), 6);
}
