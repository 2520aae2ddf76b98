use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

use syslet::{Attach, Placement};
use syslet_tokio::{on_thread_start, unblock};
use tokio::runtime::Builder;

use crate::util::{PATIENCE, current_thread, inline_possible, multi_thread, on_worker, timely};

/// The kernel's record of the running thread.
fn own_record() -> PathBuf {
    let link = std::fs::read_link("/proc/thread-self").expect("/proc is there");
    PathBuf::from("/proc").join(link)
}

#[test]
fn worker_is_attached_by_its_first_closure_and_not_before() {
    if !inline_possible("attaching") {
        return;
    }
    on_worker(1, async {
        assert!(!syslet::is_attached());
        tokio::fs::metadata("/").await.expect("it is there");
        assert!(!syslet::is_attached());
        unblock(|| assert!(!syslet::is_attached())).await.expect("a closure is no guest");
        assert!(syslet::is_attached());
        assert_eq!(std::thread::current().name(), Some("tokio-rt-worker"));
    });
}

#[test]
fn worker_is_detached_when_its_thread_ends() {
    let homes = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..20 {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start({
                let homes = Arc::clone(&homes);
                move || homes.lock().expect("nobody panics with it").push(own_record())
            })
            .build()
            .expect("a runtime can be built");
        let tasks: Vec<_> = (0..8).map(|at| runtime.spawn(unblock_once(at))).collect();
        for (at, task) in tasks.into_iter().enumerate() {
            assert_eq!(runtime.block_on(task).expect("it does not panic"), at);
        }
        // Joins the workers: a home that were still waiting for its guest would hang here.
        drop(runtime);
        for home in std::mem::take(&mut *homes.lock().expect("nobody panics with it")) {
            // A joiner is told a moment before the kernel's record goes.
            let end = Instant::now() + PATIENCE;
            while home.exists() {
                assert!(Instant::now() < end, "a worker's home has outlived the runtime: {home:?}");
                std::thread::yield_now();
            }
        }
    }
}

async fn unblock_once(at: usize) -> usize {
    unblock(move || at).await.expect("it does not panic")
}

#[test]
fn threads_of_the_program_are_not_attached_behind_its_back() {
    let uses = || async {
        unblock(|| ()).await.expect("it does not panic");
        assert!(!syslet::is_attached());
    };
    current_thread().block_on(uses());
    multi_thread(1).block_on(uses());
    let local = tokio::task::LocalSet::new();
    local.block_on(&current_thread(), uses());
}

#[test]
fn hook_attaches_workers_only_and_calls_the_users() {
    if !inline_possible("attaching") {
        return;
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(on_thread_start(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }))
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        // Both workers have started when they meet; before, a thread of the pool may overtake one.
        let both = Arc::new(Barrier::new(2));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let both = Arc::clone(&both);
                tokio::spawn(async move {
                    both.wait();
                    syslet::is_attached()
                })
            })
            .collect();
        for worker in workers {
            assert!(worker.await.expect("it does not panic"), "not attached at its start");
        }
        let pool = tokio::task::spawn_blocking(syslet::is_attached);
        assert!(!pool.await.expect("it does not panic"), "a thread of the blocking pool is not");
    });
    drop(runtime);
    assert_eq!(calls.load(Ordering::SeqCst), 3, "the user's hook runs once on each thread");
}

#[test]
fn what_the_program_has_attached_is_used_as_it_is() {
    if !inline_possible("attaching") {
        return;
    }
    // The program asks for pinned workers.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(on_thread_start(|| {
            let pinned = Attach::new().placement(Placement::Pinned(0)).attach();
            std::mem::forget(pinned.expect("it can be attached")); // until the thread ends
        }))
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let task = tokio::spawn(async {
            unblock(|| ()).await.expect("it does not panic");
            syslet::attach().map(drop).expect_err("another placement")
        });
        let error = timely(task).await.expect("it does not panic");
        assert!(error.to_string().contains("placement"), "{error}");
    });
}
