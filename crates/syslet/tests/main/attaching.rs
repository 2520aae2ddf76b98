//! Attaching: settings, nesting, many threads, many times.

use std::sync::{Arc, Barrier};
use std::thread;

use syslet::{
    Attach, AttachError, CpuSet, Mode, Placement, Unsupported, is_attached, probe, threadlet,
    with_attached,
};

use crate::container::{deny, scheduling_is_denied};
use crate::util::calls::{Landing, affinity, go, pending, read_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{
    LIMIT, Way, attach, attached, bounded, hand_off, is_expected, settings, skip, way,
};

#[test]
fn attached_is_what_the_guard_says() {
    bounded(LIMIT, || {
        assert!(!is_attached());
        let guard = attach();
        assert_eq!(is_attached(), way() != Way::Pool);
        match (guard.mode(), way()) {
            (Mode::Attached(Placement::Follow), Way::Follow) => {}
            (Mode::Attached(Placement::Pinned(cpu)), Way::Pinned) => assert_eq!(affinity(), [*cpu]),
            (Mode::Pool(why), Way::Pool) => assert!(is_expected(why), "{why}"),
            (mode, way) => panic!("{mode:?} in {way:?}"),
        }
        drop(guard);
        assert!(!is_attached());
    });
}

#[test]
fn nested_attaching_is_counted() {
    bounded(LIMIT, || {
        let outer = attach();
        let inner = attach();
        let innermost = attach();
        assert_eq!(outer.mode(), inner.mode());
        drop(outer); // any order
        drop(innermost);
        assert_eq!(is_attached(), way() != Way::Pool, "one guard is left");
        hand_off();
        drop(inner);
        assert!(!is_attached());
        drop(attach());
        assert!(!is_attached());
    });
}

#[test]
fn with_attached_returns_the_result_and_detaches_on_panic() {
    bounded(LIMIT, || {
        assert_eq!(with_attached(|| threadlet(|| 3).join()).expect("it can be attached"), 3);
        assert!(!is_attached());
        let caught = std::panic::catch_unwind(|| {
            let _ = with_attached(|| {
                hand_off();
                panic!("while attached");
            });
        });
        assert!(caught.is_err());
        assert!(!is_attached());
        drop(attach());
    });
}

#[test]
fn other_placement_differs() {
    if way() == Way::Pool {
        return skip("the pool has no placement");
    }
    attached(|| {
        let other = match way() {
            Way::Pinned => Placement::Follow,
            _ => Placement::Pinned(0),
        };
        match Attach::new().placement(other).attach() {
            Err(AttachError::SettingDiffers { setting: "placement", current, asked }) => {
                assert_ne!(current, asked);
            }
            other => panic!("{other:?}"),
        }
        assert!(is_attached());
        hand_off();
    });
}

#[test]
fn other_stack_size_differs() {
    attached(|| {
        let nested = settings().stack_size(3 << 20).attach();
        match nested {
            Err(AttachError::SettingDiffers { setting: "stack_size", current, asked }) => {
                assert_eq!((current, asked), ((2 << 20).to_string(), (3 << 20).to_string()));
            }
            other => panic!("{other:?}"),
        }
        let first = bounded(LIMIT, || settings().stack_size(3 << 20).attach().map(drop));
        assert!(matches!(first, Err(AttachError::SettingDiffers { .. })), "{first:?}");
        drop(settings().stack_size(2 << 20).attach().expect("the size in force"));
    });
}

#[test]
fn settings_out_of_range() {
    bounded(LIMIT, || {
        let bad = [
            ("max_crew", Attach::new().max_crew(0)),
            ("max_crew", Attach::new().max_crew(1)),
            ("max_crew", Attach::new().max_crew(4097)),
            ("stack_size", Attach::new().stack_size(0)),
            ("stack_size", Attach::new().stack_size((256 << 10) - 1)),
            ("stack_size", Attach::new().stack_size((1 << 30) + 1)),
            ("placement", Attach::new().placement(Placement::Pinned(1 << 20))),
        ];
        for (name, attach) in bad {
            match attach.attach() {
                Err(AttachError::OutOfRange { setting, value, range }) => {
                    assert_eq!(setting, name);
                    assert!(!range.contains(&value));
                }
                other => panic!("{attach:?}: {other:?}"),
            }
            assert!(!is_attached());
        }
    });
}

#[test]
fn other_crew_limit_differs() {
    attached(|| {
        // Whoever asked for none has not asked for another.
        let first = settings().max_crew(600).attach().expect("it can be attached");
        drop(settings().max_crew(600).attach().expect("the same"));
        drop(settings().attach().expect("it asks for none"));
        for other in [599, 601] {
            match settings().max_crew(other).attach() {
                Err(AttachError::SettingDiffers { setting: "max_crew", current, asked }) => {
                    assert_eq!((current, asked), ("600".to_owned(), other.to_string()));
                }
                different => panic!("{different:?}"),
            }
        }
        drop(first);
    });
    // It is the attached thread's: attached anew it may ask for another.
    bounded(LIMIT, || {
        for limit in [600, 601] {
            drop(settings().max_crew(limit).attach().expect("it is not attached"));
        }
    });
}

#[test]
fn largest_crew_limit_is_in_force() {
    let path = "attaching::largest_crew_limit_is_in_force";
    let ended = Child::new().run(path, || {
        let on_another = |attach: Attach| bounded(LIMIT, move || attach.attach().map(drop));
        bounded(LIMIT, move || {
            let small = settings().max_crew(8).attach().expect("it can be attached");
            assert_eq!(syslet::stats().crew_limit, 8);
            on_another(settings().max_crew(16)).expect("it can be attached");
            assert_eq!(syslet::stats().crew_limit, 16);
            on_another(settings().max_crew(4)).expect("it can be attached");
            assert_eq!(syslet::stats().crew_limit, 16);
            let refused = on_another(settings().max_crew(32).stack_size(3 << 20));
            assert!(matches!(refused, Err(AttachError::SettingDiffers { .. })), "{refused:?}");
            assert_eq!(syslet::stats().crew_limit, 16, "nothing has changed");
            drop(small);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn require_is_an_error_where_the_pool_would_do() {
    let path = "attaching::require_is_an_error_where_the_pool_would_do";
    let ended = Child::new().var("SYSLET_FORCE_POOL", 1).run(path, || {
        bounded(LIMIT, || {
            let refused = Attach::new().require().attach();
            assert!(
                matches!(refused, Err(AttachError::Unsupported(Unsupported::Forced))),
                "{refused:?}"
            );
            let guard = Attach::new().attach().expect("the pool does");
            assert_eq!(*guard.mode(), Mode::Pool(Unsupported::Forced));
            let nested = Attach::new().require().attach();
            assert!(matches!(nested, Err(AttachError::Unsupported(_))), "{nested:?}");
            assert_eq!(threadlet(|| 1).join(), 1);
            assert_eq!(probe().expect("it can be asked").unsupported, Some(Unsupported::Forced));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn require_is_fulfilled_where_threads_can_be_attached() {
    if way() == Way::Pool {
        return skip("the pool is forced");
    }
    bounded(LIMIT, || drop(settings().require().attach().expect("threads can be attached")));
}

#[test]
fn probe_leaves_the_thread_as_it_was() {
    bounded(LIMIT, || {
        let probe = probe().expect("the thread can be attached");
        assert_eq!(probe.unsupported.is_some(), way() == Way::Pool);
        assert_eq!(probe.cpus, affinity().len());
        assert!(!is_attached());
    });
}

#[test]
fn probe_says_which_calls_are_refused() {
    let path = "attaching::probe_says_which_calls_are_refused";
    let ended = Child::new().run(path, || {
        // Errors that these calls have for nothing else.
        let denied = [
            (libc::SYS_io_setup, libc::EXDEV),
            (libc::SYS_close_range, libc::ENODEV),
            (libc::SYS_pidfd_getfd, libc::EXFULL),
            (libc::SYS_kcmp, libc::ENOTTY),
        ];
        deny(&denied);
        let found = probe().expect("the thread can be looked at").allowances;
        let names: Vec<_> = found.iter().map(|call| call.call).collect();
        assert_eq!(names, ["io_setup", "close_range", "pidfd_getfd", "kcmp"]);
        let refused: Vec<_> = found.iter().map(|call| call.refused).collect();
        assert_eq!(refused, denied.map(|(_, errno)| Some(errno)));
    });
    ended.expect("this is the parent").expect_done();
    bounded(LIMIT, || {
        let found = probe().expect("the thread can be attached").allowances;
        // Allowed in containers; but others may have all there is.
        assert!(matches!(found[0].refused, None | Some(libc::EAGAIN)), "{found:?}");
    });
}

#[test]
fn probe_inside_an_attached_thread() {
    let found = attached(probe);
    match way() {
        // Asks with the default settings, which are not those in force.
        Way::Pinned => {}
        _ => assert!(found.is_ok(), "{found:?}"),
    }
}

#[test]
fn thread_that_ends_attached_goes_home() {
    for _ in 0..100 {
        bounded(LIMIT, || {
            std::mem::forget(attach());
            hand_off();
        });
    }
}

#[test]
fn ending_thread_cannot_be_attached() {
    struct Late(std::sync::mpsc::Sender<bool>);
    impl Drop for Late {
        fn drop(&mut self) {
            let refused = matches!(settings().attach(), Err(AttachError::ThreadEnding));
            let _ = self.0.send(refused);
        }
    }
    thread_local! {
        static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }
    let (send, receive) = std::sync::mpsc::channel();
    bounded(LIMIT, move || {
        LATE.with_borrow_mut(|late| *late = Some(Late(send)));
        // Registered after ours, so destroyed before it.
        drop(attach());
    });
    assert_eq!(receive.recv_timeout(LIMIT), Ok(true));
}

#[test]
fn guard_restricts_the_guest() {
    if scheduling_is_denied() {
        return skip("the sandbox does not let affinity be changed");
    }
    bounded(LIMIT, || {
        let before = affinity();
        let guard = attach();
        let cpu = crate::util::calls::first_cpu();
        guard.set_affinity(&CpuSet::single(cpu)).expect("the CPU is there");
        for _ in 0..20 {
            hand_off();
            assert_eq!(affinity(), [cpu]);
        }
        drop(guard);
        if way() != Way::Pool {
            assert_eq!(affinity(), before, "the home's own");
        }
    });
}

#[test]
fn thousands_of_attachments_from_eight_threads() {
    const EACH: usize = 1250;
    bounded(LIMIT * 2, || {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    for n in 0..EACH {
                        let guard = attach();
                        match n % 4 {
                            0 => hand_off(),
                            1 => assert_eq!(threadlet(move || n).join(), n),
                            _ => {}
                        }
                        drop(guard);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no attachment fails"));
    });
}

#[test]
fn two_hundred_guests_at_once() {
    const COUNT: usize = 200;
    let path = "attaching::two_hundred_guests_at_once";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let all = Arc::new(Barrier::new(COUNT + 1));
            let pipes: Vec<_> = (0..COUNT).map(|_| Pipe::new()).collect();
            let threads: Vec<_> = pipes
                .iter()
                .cloned()
                .map(|pipe| {
                    let all = Arc::clone(&all);
                    thread::spawn(move || {
                        let guard = attach();
                        let first = Landing::leak();
                        let away = pending(go(read_call(pipe.read_end(), first)));
                        all.wait(); // each has a call away
                        assert_eq!(away.wait().raw(), 1);
                        let second = threadlet(move || pipe.get()).join();
                        drop(guard);
                        (first.byte(), second)
                    })
                })
                .collect();
            all.wait();
            for byte in [1, 2] {
                pipes.iter().for_each(|pipe| pipe.put(byte));
            }
            for thread in threads {
                assert_eq!(thread.join().expect("no guest fails"), (1, 2));
            }
        })
    });
    ended.expect("this is the parent").expect_done();
}
