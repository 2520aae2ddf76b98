use std::future::{Future, poll_fn};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use syslet_tokio::{fs, unblock};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::util::{Folder, inline_possible, on_worker, timely};

/// Keeps the CPU for so long.
fn compute(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The future's output, and how many times it was pending.
async fn counted<F: Future>(future: F) -> (F::Output, usize) {
    let (mut future, mut pending) = (pin!(future), 0);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready((output, pending)),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}

#[test]
fn task_yields_by_the_time_that_its_closures_took() {
    if !inline_possible("the budget of inline closures") {
        return;
    }
    on_worker(1, async {
        // 100 closures of 100 us: less than tokio's own 128, and 10 ms in all.
        let closures = async {
            for _ in 0..100 {
                unblock(|| compute(Duration::from_micros(100))).await.expect("it does not panic");
            }
        };
        let ((), pending) = counted(closures).await;
        // A slice is four closures long, or five.
        assert!(pending >= 15, "the task gave its worker back {pending} times only");
    });
}

/// All that one turn polls has one slice, and not one each.
#[test]
fn futures_that_are_joined_share_the_time() {
    if !inline_possible("the budget of inline closures") {
        return;
    }
    on_worker(1, async {
        let (run, futures) = (Arc::new(AtomicUsize::new(0)), 30);
        let one = |_| {
            let run = Arc::clone(&run);
            async move {
                for _ in 0..20 {
                    let run = Arc::clone(&run);
                    let closure = unblock(move || {
                        compute(Duration::from_micros(100));
                        run.fetch_add(1, Ordering::SeqCst);
                    });
                    closure.await.expect("it does not panic");
                }
            }
        };
        let mut all = pin!(futures_util::future::join_all((0..futures).map(one)));
        let mut most = 0;
        poll_fn(|context| {
            let before = run.load(Ordering::SeqCst);
            let polled = all.as_mut().poll(context);
            most = most.max(run.load(Ordering::SeqCst) - before);
            polled.map(drop)
        })
        .await;
        // A slice is four closures long, or five; and each future has begun one.
        assert!(most <= futures + 10, "{most} closures in one turn");
    });
}

#[test]
fn task_that_yields_lets_the_others_and_the_timers_run() {
    if !inline_possible("the budget of inline closures") {
        return;
    }
    on_worker(1, async {
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicUsize::new(0));
        let busy = tokio::spawn({
            let (stop, turns) = (Arc::clone(&stop), Arc::clone(&turns));
            async move {
                // Would go on for ever on its only worker.
                while !stop.load(Ordering::SeqCst) {
                    unblock(|| std::fs::metadata("/").is_ok()).await.expect("it does not panic");
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.store(true, Ordering::SeqCst);
        timely(busy).await.expect("it does not panic");
        assert!(turns.load(Ordering::SeqCst) > 0);
    });
}

/// tokio's future of a seek has no budget of its own.
#[test]
fn seeks_of_a_file_yield_too() {
    if !inline_possible("the budget of inline seeks") {
        return;
    }
    let folder = Folder::new();
    std::fs::write(folder.at("file"), [7; 64]).expect("it can be written");
    on_worker(1, async move {
        let mut file = fs::File::open(folder.at("file")).await.expect("it is there");
        let begun = Instant::now();
        let seeks = async {
            for _ in 0..100_000 {
                file.rewind().await.expect("it can be sought");
            }
        };
        let ((), pending) = counted(seeks).await;
        // They are most of the time, of which 0.4 ms are a turn's. (Some may go away, because the machine is busy.)
        let millis = begun.elapsed().as_millis();
        assert!(pending as u128 >= millis / 2, "pending {pending} times in {millis} ms");
    });
}

/// The lock of the file's state counts too, but each of these takes long.
#[test]
fn truncations_of_a_file_yield_too() {
    if !inline_possible("the budget of inline truncations") {
        return;
    }
    // In memory: none of them sleeps.
    let mut options = std::fs::OpenOptions::new();
    let unnamed = options.write(true).custom_flags(libc::O_TMPFILE).open("/dev/shm");
    let std = unnamed.expect("glibc's own shared memory needs it too");
    let contents = vec![7; 256 << 10];
    on_worker(1, async move {
        let file = fs::File::from_std(std.try_clone().expect("it can be duplicated"));
        let mut spent = Duration::ZERO;
        let truncations = async {
            for _ in 0..100 {
                std.write_all_at(&contents, 0).expect("there is room");
                let begun = Instant::now();
                file.set_len(0).await.expect("it can be truncated");
                spent += begun.elapsed();
            }
        };
        let ((), pending) = counted(truncations).await;
        assert!(spent >= Duration::from_millis(2), "nothing that could be used up: {spent:?}");
        // A turn has 0.4 ms. (Some may go away, because the machine is busy.)
        assert!(
            pending as u128 >= spent.as_micros() / 1000,
            "pending {pending} times in {spent:?}"
        );
    });
}

#[test]
fn reads_of_a_file_yield_too() {
    if !inline_possible("the budget of inline reads") {
        return;
    }
    let folder = Folder::new();
    std::fs::write(folder.at("file"), vec![7; 1 << 20]).expect("it can be written");
    on_worker(1, async move {
        let mut file = fs::File::open(folder.at("file")).await.expect("it is there");
        let mut buf = vec![0; 1 << 20];
        let begun = Instant::now();
        let reads = async {
            for _ in 0..200 {
                file.rewind().await.expect("it can be sought");
                file.read_exact(&mut buf).await.expect("it can be read");
                assert!(buf.iter().step_by(4099).all(|&byte| byte == 7));
            }
        };
        let ((), pending) = counted(reads).await;
        // The kernel copies 200 MiB: some ten milliseconds at the very least.
        assert!(pending >= 10, "pending {pending} times in {:?}", begun.elapsed());
    });
}

#[test]
fn unconstrained_stays_so() {
    if !inline_possible("the budget of inline closures") {
        return;
    }
    on_worker(1, async {
        let away = Arc::new(AtomicUsize::new(0));
        let closures = async {
            for _ in 0..300 {
                let closure = unblock(|| compute(Duration::from_micros(20)));
                away.fetch_add(usize::from(!closure.was_inline()), Ordering::SeqCst);
                closure.await.expect("it does not panic");
            }
        };
        let ((), pending) = counted(tokio::task::unconstrained(closures)).await;
        // Only a closure that was handed off, because the machine is busy, made it wait.
        assert!(pending <= away.load(Ordering::SeqCst), "pending {pending} times: {away:?}");
    });
}
