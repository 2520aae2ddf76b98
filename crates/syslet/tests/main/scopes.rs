//! Scopes wait for closures.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use syslet::scope;

use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded};

#[test]
fn closures_borrow_and_join() {
    attached(|| {
        let mut values = vec![1, 2, 3, 4];
        let factor = 10;
        let sum: i32 = scope(|scope| {
            let away: Vec<_> = values
                .iter_mut()
                .map(|value| {
                    scope.threadlet(move || {
                        *value *= factor;
                        *value
                    })
                })
                .collect();
            away.into_iter().map(|threadlet| threadlet.join()).sum()
        });
        assert_eq!(sum, 100);
        assert_eq!(values, [10, 20, 30, 40]);
    });
}

#[test]
fn scope_works_on_threads_that_are_not_attached() {
    let text = bounded(LIMIT, || {
        let mut text = String::from("a");
        scope(|scope| drop(scope.threadlet(|| text.push('b'))));
        text
    });
    assert_eq!(text, "ab");
}

/// Lets a byte into `pipe` once the closure's caller has certainly gone on; the scope's end, which
/// sleeps meanwhile, cannot say so itself.
fn put_later(pipe: &Pipe) -> thread::JoinHandle<()> {
    let pipe = pipe.clone();
    thread::spawn(move || {
        thread::park_timeout(std::time::Duration::from_millis(20)); // gives a bug time to show
        pipe.put(1);
    })
}

#[test]
fn scope_waits_for_closures_that_are_away_at_its_end() {
    attached(|| {
        let pipe = Pipe::new();
        let finished = AtomicUsize::new(0);
        let writer = put_later(&pipe);
        scope(|scope| {
            let _unjoined = scope.threadlet(|| {
                pipe.get();
                finished.fetch_add(1, Ordering::SeqCst);
            });
        });
        assert_eq!(finished.load(Ordering::SeqCst), 1);
        writer.join().expect("writing does not panic");
    });
}

#[test]
fn leaked_handles_do_not_end_the_waiting() {
    attached(|| {
        let pipe = Pipe::new();
        let finished = AtomicUsize::new(0);
        let writer = put_later(&pipe);
        scope(|scope| {
            std::mem::forget(scope.threadlet(|| {
                pipe.get();
                finished.fetch_add(1, Ordering::SeqCst)
            }));
        });
        assert_eq!(finished.load(Ordering::SeqCst), 1);
        writer.join().expect("writing does not panic");
    });
}

#[test]
fn unwinding_out_of_a_scope_waits() {
    attached(|| {
        let pipe = Pipe::new();
        let finished = AtomicUsize::new(0);
        let writer = put_later(&pipe);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                let _away = scope.threadlet(|| {
                    pipe.get();
                    finished.fetch_add(1, Ordering::SeqCst)
                });
                panic_any(5_u8);
            })
        }));
        let payload: Box<dyn std::any::Any + Send> = match caught {
            Err(payload) => payload,
            Ok(()) => panic!("the scope panics"),
        };
        assert_eq!(payload.downcast_ref::<u8>(), Some(&5));
        assert_eq!(finished.load(Ordering::SeqCst), 1);
        writer.join().expect("writing does not panic");
    });
}

#[test]
fn unjoined_panic_makes_the_scope_panic() {
    attached(|| {
        for (away, early) in [(false, true), (true, false), (true, true)] {
            let pipe = Pipe::new();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                scope(|scope| {
                    let threadlet = scope.threadlet(|| {
                        if away {
                            pipe.get();
                        }
                        panic!("unseen");
                    });
                    if early {
                        drop(threadlet);
                        pipe.put(0);
                    } else {
                        pipe.put(0);
                        while !threadlet.is_finished() {
                            thread::yield_now();
                        }
                        drop(threadlet);
                    }
                })
            }));
            assert!(caught.is_err(), "away {away}, handle dropped before the end {early}");
        }
    });
}

#[test]
fn joined_panic_does_not() {
    attached(|| {
        let message = scope(|scope| {
            let caught = scope.threadlet(|| -> u8 { panic!("seen") }).join_catch();
            *caught.expect_err("it panicked").downcast::<&str>().expect("a text")
        });
        assert_eq!(message, "seen");
    });
}

/// Borrows, and touches what it borrows when it is dropped.
struct Touch<'a>(&'a AtomicUsize);

impl Drop for Touch<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn results_and_captures_are_dropped_before_the_scope_ends() {
    attached(|| {
        for round in 0..500 {
            let dropped = AtomicUsize::new(0);
            let pipe = Pipe::new();
            scope(|scope| {
                let capture = Touch(&dropped);
                let (pipe, dropped) = (&pipe, &dropped);
                let away = scope.threadlet(move || {
                    let _capture = capture;
                    if round % 2 == 0 {
                        pipe.get();
                    }
                    Touch(dropped)
                });
                pipe.put(0);
                drop(away);
            });
            assert_eq!(dropped.load(Ordering::SeqCst), 2, "round {round}");
        }
    });
}

#[test]
fn many_closures_away_at_the_end() {
    attached(|| {
        let pipes: Vec<_> = (0..50).map(|_| Pipe::new()).collect();
        let sum = AtomicUsize::new(0);
        scope(|scope| {
            for pipe in &pipes {
                let sum = &sum;
                drop(scope.threadlet(move || sum.fetch_add(pipe.get().into(), Ordering::SeqCst)));
            }
            pipes.iter().for_each(|pipe| pipe.put(2));
        });
        assert_eq!(sum.load(Ordering::SeqCst), 100);
    });
}

#[test]
fn scopes_nest() {
    attached(|| {
        let mut total = 0;
        scope(|outer| {
            let inner = outer.threadlet(|| {
                let mut parts = [0; 4];
                scope(|scope| {
                    for (at, part) in parts.iter_mut().enumerate() {
                        drop(scope.threadlet(move || *part = at));
                    }
                });
                parts.iter().sum::<usize>()
            });
            total = inner.join();
        });
        assert_eq!(total, 6);
    });
}
