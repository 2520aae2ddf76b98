//! Threadlets and calls inside threadlets.

use std::sync::mpsc::channel;

use syslet::{AttachError, attach, is_attached, threadlet};

use crate::util::attached;
use crate::util::calls::{Landing, go, read_call};
use crate::util::pipe::Pipe;

#[test]
fn call_inside_a_threadlet_is_the_plain_call() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let landing = Landing::leak();
        let away = threadlet(move || {
            let submitted = go(read_call(other.read_end(), landing));
            (submitted.is_done(), submitted.wait().raw())
        });
        pipe.put(3);
        assert_eq!(away.join(), (true, 1));
        assert_eq!(landing.byte(), 3);
    });
}

#[test]
fn threadlet_inside_a_threadlet_goes_to_the_pool() {
    attached(|| {
        let outer = threadlet(|| {
            let inner = threadlet(|| threadlet(|| 1).join() + 1);
            (inner.was_inline(), inner.join() + 1)
        });
        assert_eq!(outer.join(), (false, 3));
    });
}

#[test]
fn inner_threadlet_that_waits_for_the_outer_one_does_not_hang_it() {
    attached(|| {
        for away in [false, true] {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let outer = threadlet(move || {
                if away {
                    other.get();
                }
                let (send, receive) = channel();
                let inner = threadlet(move || receive.recv().expect("the sender lives"));
                send.send(1).expect("the receiver lives");
                inner.join() + 1
            });
            pipe.put(0);
            assert_eq!(outer.join(), 2);
        }
    });
}

#[test]
fn many_nested_threadlets_do_not_hang() {
    attached(|| {
        let outer: Vec<_> = (0..40u32)
            .map(|n| threadlet(move || threadlet(move || threadlet(move || n).join()).join()))
            .collect();
        let sum: u32 = outer.into_iter().map(|threadlet| threadlet.join()).sum();
        assert_eq!(sum, (0..40).sum());
    });
}

#[test]
fn crew_thread_cannot_be_attached() {
    attached(|| {
        for away in [false, true] {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let answer = threadlet(move || {
                if away {
                    other.get();
                }
                assert!(!is_attached());
                matches!(attach(), Err(AttachError::OnCrewThread))
            });
            pipe.put(0);
            assert!(answer.join());
        }
    });
}

#[test]
fn thread_made_inside_a_threadlet_is_an_ordinary_one() {
    attached(|| {
        let sum = threadlet(|| {
            let thread = std::thread::spawn(|| {
                assert!(!is_attached());
                let guard = crate::util::attach();
                let value = threadlet(|| 20).join();
                drop(guard);
                value
            });
            thread.join().expect("the thread does not panic") + 1
        });
        assert_eq!(sum.join(), 21);
    });
}

#[test]
fn thread_made_by_a_guest_can_be_attached() {
    attached(|| {
        crate::util::hand_off();
        let thread = std::thread::spawn(|| {
            let guard = crate::util::attach();
            crate::util::hand_off();
            drop(guard);
            // And again, after it went home.
            drop(crate::util::attach());
        });
        thread.join().expect("the thread can be attached");
    });
}
