use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use syslet_tokio::{Unblock, UnblockError, unblock};

use crate::util::{Gate, current_thread, inline_possible, on_worker, once_in, timely};

#[test]
fn what_does_not_sleep_is_inline_on_a_worker() {
    if !inline_possible("inline closures") {
        return;
    }
    on_worker(1, async {
        once_in(1000, || async {
            let closure = unblock(|| std::fs::metadata("/").is_ok());
            let inline = closure.was_inline() && closure.is_finished();
            assert!(closure.await.expect("it does not panic"));
            inline
        })
        .await;
    });
}

#[test]
fn closure_begins_when_it_is_handed_over_and_not_when_it_is_polled() {
    on_worker(1, async {
        let begun = Arc::new(AtomicBool::new(false));
        let closure = unblock({
            let begun = Arc::clone(&begun);
            move || begun.store(true, Ordering::SeqCst)
        });
        while !begun.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        closure.await.expect("it does not panic");
    });
}

#[test]
fn worker_goes_on_while_a_closure_sleeps() {
    // One worker: the closure would never end if it kept it.
    on_worker(1, async {
        let gate = Arc::new(Gate::new());
        let other = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.open() }
        });
        let closure = unblock(move || gate.pass());
        closure.await.expect("it does not panic");
        other.await.expect("it does not panic");
    });
}

#[test]
fn closures_on_a_current_thread_runtime_do_not_hold_it_up() {
    let sleeping = || async {
        let gate = Arc::new(Gate::new());
        let waits = Arc::clone(&gate);
        let closure = unblock(move || waits.pass());
        gate.open();
        timely(closure).await.expect("it does not panic");
        unblock(|| 7).await.expect("it does not panic")
    };
    assert_eq!(current_thread().block_on(sleeping()), 7);
    let attached = syslet_tokio::block_on(&current_thread(), sleeping());
    assert_eq!(attached.expect("the thread can be attached"), 7);
    assert!(!syslet::is_attached(), "the thread is the program's again");
}

#[test]
fn panic_is_an_error_with_its_payload() {
    on_worker(1, async {
        let error = unblock(|| std::panic::panic_any(String::from("no luck")));
        let error = error.await.expect_err("it panicked");
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the closure panicked with message \"no luck\"");
        let payload = error.into_panic();
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("no luck"));

        let gate = Arc::new(Gate::new());
        let waits = Arc::clone(&gate);
        let away = unblock(move || {
            waits.pass();
            std::panic::panic_any(5u8);
        });
        gate.open();
        let error: UnblockError = away.await.expect_err("it panicked");
        assert_eq!(error.try_into_panic().expect("a panic").downcast_ref(), Some(&5u8));
    });
}

#[test]
fn error_is_one_of_io_too() {
    on_worker(1, async {
        let read = || async { unblock(|| panic!("no")).await.map_err(io::Error::from) };
        let error: io::Error = read().await.expect_err("it panicked");
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(error.get_ref().is_some_and(|inner| inner.is::<UnblockError>()));
    });
}

#[test]
fn queued_closure_can_be_aborted_and_one_that_runs_cannot() {
    current_thread().block_on(async {
        // Aborts race with the pool: either is right, but the closure has run or it has not.
        let mut aborted = 0;
        for _ in 0..100_000 {
            let ran = Arc::new(AtomicBool::new(false));
            let closure = unblock({
                let ran = Arc::clone(&ran);
                move || ran.store(true, Ordering::SeqCst)
            });
            closure.abort();
            match closure.await {
                Ok(()) => assert!(ran.load(Ordering::SeqCst)),
                Err(error) => {
                    assert!(error.is_cancelled() && !error.is_panic());
                    assert!(!ran.load(Ordering::SeqCst), "an aborted closure has run");
                    assert!(error.try_into_panic().is_err());
                    aborted += 1;
                    if aborted > 5 {
                        break;
                    }
                }
            }
        }
        assert!(aborted > 0, "no closure was ever aborted");
        let (begun, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
        let closure = unblock({
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            move || {
                begun.open();
                gate.pass();
            }
        });
        begun.pass();
        closure.abort();
        gate.open();
        closure.await.expect("what runs goes on to its end");
    });
}

#[test]
fn dropped_future_leaves_the_closure_to_itself() {
    on_worker(1, async {
        let (gate, done) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
        let closure = unblock({
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            move || {
                gate.pass();
                done.open();
            }
        });
        drop(closure);
        gate.open();
        unblock(move || done.pass()).await.expect("the closure came to its end");
    });
}

#[test]
fn closures_work_outside_of_a_runtime() {
    let answer = futures_executor::block_on(unblock(|| {
        assert!(tokio::runtime::Handle::try_current().is_err());
        42
    }));
    assert_eq!(answer.expect("it does not panic"), 42);
    let attached = syslet::with_attached(|| futures_executor::block_on(unblock(|| 43)));
    assert_eq!(attached.expect("the thread can be attached").expect("it does not panic"), 43);
}

#[test]
fn future_is_send_and_unpin() {
    fn is<T: Send + Unpin>(_: &T) {}
    fn error_is<T: Send + Sync + std::error::Error + 'static>() {}
    let runtime = current_thread();
    let _context = runtime.enter();
    let closure: Unblock<u8> = unblock(|| 1);
    is(&closure);
    error_is::<UnblockError>();
    drop(closure);
}
