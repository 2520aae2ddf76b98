use std::sync::Arc;
use std::time::Duration;

use syslet_tokio::unblock;
use tokio::runtime::Handle;

use crate::util::{Gate, current_thread, inline_possible, multi_thread, on_worker, timely};

/// What a closure does with the runtime, after it has slept if there is a gate.
fn use_runtime(gate: Option<Arc<Gate>>) -> (tokio::runtime::Id, u8) {
    let before = Handle::current().id();
    if let Some(gate) = gate {
        gate.pass();
    }
    // The same after the sleep, when the worker has gone on elsewhere.
    let handle = Handle::current();
    assert_eq!(handle.id(), before);
    let task = tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        1
    });
    (handle.id(), handle.block_on(task).expect("it does not panic") + 1)
}

async fn in_every_way() {
    let own = Handle::current().id();
    let short = timely(unblock(|| use_runtime(None))).await.expect("it does not panic");
    assert_eq!(short, (own, 2));
    let gate = Arc::new(Gate::new());
    let waits = Arc::clone(&gate);
    let away = unblock(move || use_runtime(Some(waits)));
    // What the worker has of the runtime is its own, while the closure has it too.
    assert_eq!(Handle::current().id(), own);
    tokio::spawn(async move { gate.open() }).await.expect("it does not panic");
    assert_eq!(timely(away).await.expect("it does not panic"), (own, 2));
    assert_eq!(Handle::current().id(), own);
}

#[test]
fn closure_has_the_runtime_on_a_worker() {
    on_worker(1, in_every_way());
    on_worker(4, in_every_way());
}

#[test]
fn closure_has_the_runtime_on_the_programs_thread() {
    multi_thread(1).block_on(in_every_way());
    current_thread().block_on(in_every_way());
    syslet_tokio::block_on(&current_thread(), in_every_way()).expect("it can be attached");
}

#[test]
fn closures_of_two_runtimes_do_not_mix() {
    let other = multi_thread(1);
    let other_id = other.handle().id();
    let handle = other.handle().clone();
    on_worker(1, async move {
        let own = Handle::current().id();
        assert_ne!(own, other_id);
        let id = || Handle::current().id();
        for _ in 0..100 {
            assert_eq!(unblock(id).await.expect("it does not panic"), own);
            let entered = {
                let _context = handle.enter();
                unblock(id)
            };
            assert_eq!(entered.await.expect("it does not panic"), other_id);
        }
    });
}

#[test]
fn a_runtime_can_be_driven_in_a_closure() {
    on_worker(1, async {
        let answer = unblock(|| {
            current_thread().block_on(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                unblock(|| 3).await.expect("it does not panic")
            })
        });
        assert_eq!(timely(answer).await.expect("it does not panic"), 3);
    });
}

#[test]
fn thread_locals_of_a_task_are_untouched_by_its_closures() {
    if !inline_possible("closures on the worker") {
        return;
    }
    std::thread_local!(static MARK: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    on_worker(1, async {
        // One worker, and no await between: the same thread-locals before and after.
        let task = tokio::task::id();
        MARK.set(1);
        let gate = Arc::new(Gate::new());
        let waits = Arc::clone(&gate);
        let away = unblock(move || {
            waits.pass();
            assert!(tokio::task::try_id().is_none(), "a closure is no task");
            MARK.replace(2)
        });
        assert_eq!((MARK.get(), tokio::task::id()), (1, task));
        assert!(tokio::runtime::worker_index().is_some());
        gate.open();
        assert_ne!(timely(away).await.expect("it does not panic"), 1);
        assert_eq!((MARK.get(), tokio::task::id()), (1, task));
    });
}
