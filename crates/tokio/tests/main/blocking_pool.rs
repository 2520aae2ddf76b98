use std::sync::Arc;

use syslet_tokio::unblock;
use tokio::runtime::Handle;
use tokio::task::{block_in_place, spawn_blocking};

use crate::util::{Gate, inline_possible, multi_thread, on_worker, timely};

#[test]
fn closure_of_the_blocking_pool_is_no_worker() {
    on_worker(1, async {
        let task = spawn_blocking(|| {
            let answer = Handle::current().block_on(unblock(|| 5)).expect("it does not panic");
            assert!(!syslet::is_attached());
            answer
        });
        assert_eq!(timely(task).await.expect("it does not panic"), 5);
    });
}

#[test]
fn worker_made_by_block_in_place_is_one() {
    let runtime = multi_thread(1);
    let (held, free) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    runtime.block_on(async {
        let task = tokio::spawn({
            let (held, free) = (Arc::clone(&held), Arc::clone(&free));
            async move {
                // Its worker's part is taken over by a thread of the blocking pool.
                block_in_place(|| {
                    held.open();
                    free.pass();
                });
                unblock(|| 1).await.expect("it does not panic")
            }
        });
        held.pass();
        let on_new_worker = tokio::spawn(async {
            let answer = unblock(|| 2).await.expect("it does not panic");
            (answer, syslet::is_attached())
        });
        let (answer, attached) = timely(on_new_worker).await.expect("it does not panic");
        assert_eq!(answer, 2);
        assert_eq!(attached, inline_possible("a worker for a while"));
        free.open();
        assert_eq!(timely(task).await.expect("it does not panic"), 1);
    });
    // The thread that was a worker for a while ends as others do.
    drop(runtime);
}

#[test]
fn closures_before_in_and_after_block_in_place() {
    on_worker(2, async {
        for round in 0..200 {
            let away = unblock(move || round);
            let inside = block_in_place(|| {
                Handle::current().block_on(unblock(move || round + 1)).expect("it does not panic")
            });
            let after = unblock(move || round + 2).await.expect("it does not panic");
            assert_eq!(away.await.expect("it does not panic"), round);
            assert_eq!((inside, after), (round + 1, round + 2));
        }
    });
}

#[test]
fn block_in_place_inside_a_closure_is_a_plain_call() {
    on_worker(1, async {
        let answer = unblock(|| block_in_place(|| 9)).await;
        assert_eq!(answer.expect("it does not panic"), 9);
    });
}
