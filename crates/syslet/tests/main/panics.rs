//! Panics of closures, of results and of payloads.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use syslet::threadlet;

use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, late};

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or("not a text")
}

#[test]
fn panic_is_resumed_at_join() {
    attached(|| {
        for away in [false, true] {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let threadlet = threadlet(move || {
                if away {
                    other.get();
                }
                if black_true() {
                    panic!("of the closure");
                }
            });
            pipe.put(0);
            let caught = catch_unwind(AssertUnwindSafe(|| threadlet.join()));
            assert_eq!(message(&*caught.expect_err("join panics")), "of the closure");
        }
    });
}

fn black_true() -> bool {
    std::hint::black_box(true)
}

#[test]
fn join_catch_gives_the_payload() {
    attached(|| {
        let inline = threadlet(|| panic_any(17_u64)).join_catch();
        assert_eq!(inline.expect_err("it panicked").downcast_ref::<u64>(), Some(&17));
        let pipe = Pipe::new();
        let other = pipe.clone();
        let away = threadlet(move || panic_any(u64::from(other.get())));
        pipe.put(18);
        assert_eq!(away.join_catch().expect_err("it panicked").downcast_ref::<u64>(), Some(&18));
    });
}

#[test]
fn panic_comes_out_of_the_future_and_of_try_join() {
    attached(|| {
        let awaited = threadlet(|| -> u8 { panic!("awaited") });
        let caught = catch_unwind(AssertUnwindSafe(|| futures_executor::block_on(awaited)));
        assert_eq!(message(&*caught.expect_err("it panics")), "awaited");
        let tried = threadlet(|| -> u8 { panic!("tried") });
        assert!(eventually(|| tried.is_finished()));
        let caught = catch_unwind(AssertUnwindSafe(|| tried.try_join().is_ok()));
        assert_eq!(message(&*caught.expect_err("it panics")), "tried");
    });
}

#[test]
fn crew_works_on_after_panics() {
    // What it says on standard error would hide what others say.
    let ended = Child::new().run("panics::crew_works_on_after_panics", || {
        attached(|| {
            for _ in 0..300 {
                assert!(threadlet(|| panic!("again")).join_catch().is_err());
            }
            assert_eq!(threadlet(|| 1).join(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn panic_of_the_guest_goes_its_own_way() {
    let payload = attached(|| {
        catch_unwind(|| {
            let _held = threadlet(|| 1);
            panic!("of the guest");
        })
        .expect_err("it panics")
    });
    assert_eq!(message(&*payload), "of the guest");
}

/// A value whose destructor panics, with a payload whose destructor panics, and so on.
struct Grenade(u32);

impl Drop for Grenade {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Grenade(self.0 - 1));
        }
    }
}

/// Throws results and payloads away that panic in `Drop`, before and after the closure's end.
fn throw_away(depth: u32) {
    for panics in [false, true] {
        for early in [false, true] {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let away = threadlet(move || {
                other.get();
                if panics { panic_any(Grenade(depth)) } else { Grenade(depth) }
            });
            if early {
                drop(away);
                pipe.put(0);
            } else {
                pipe.put(0);
                assert!(eventually(|| away.is_finished()));
                // On this thread, as for any value that is dropped; but it must not abort.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(away))) {
                    std::mem::forget(payload);
                }
            }
            syslet::drain(late()).expect("the closure ends");
        }
    }
    assert_eq!(threadlet(|| 1).join(), 1);
}

#[test]
fn result_that_panics_in_drop_is_contained() {
    let path = "panics::result_that_panics_in_drop_is_contained";
    let ended = Child::new().run(path, || attached(|| throw_away(1)));
    ended.expect("this is the parent").expect_done();
}

#[test]
fn payload_that_panics_in_drop_is_contained() {
    let path = "panics::payload_that_panics_in_drop_is_contained";
    let ended = Child::new().run(path, || attached(|| throw_away(2)));
    ended.expect("this is the parent").expect_done();
}

struct RudeWaker {
    on_wake: bool,
}

impl Wake for RudeWaker {
    fn wake(self: Arc<Self>) {
        if self.on_wake {
            panic!("waker");
        }
    }
}

impl Drop for RudeWaker {
    fn drop(&mut self) {
        if !self.on_wake {
            panic!("waker, dropped");
        }
    }
}

#[test]
fn waker_that_panics_is_contained() {
    let ended = Child::new().run("panics::waker_that_panics_is_contained", || {
        attached(|| {
            for on_wake in [true, false] {
                for dropped in [false, true] {
                    poll_rudely(on_wake, dropped);
                }
            }
            assert_eq!(threadlet(|| 1).join(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Registers a waker that panics; `dropped`: with the handle gone when the closure ends.
fn poll_rudely(on_wake: bool, dropped: bool) {
    let pipe = Pipe::new();
    let other = pipe.clone();
    let mut away = threadlet(move || other.get());
    let waker = Waker::from(Arc::new(RudeWaker { on_wake }));
    let polled = std::pin::Pin::new(&mut away).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop(waker); // the other one is in the slot
    let away = if dropped { None } else { Some(away) };
    pipe.put(1);
    syslet::drain(late()).expect("the closure ends");
    if let Some(away) = away {
        assert_eq!(away.join(), 1);
    }
}
