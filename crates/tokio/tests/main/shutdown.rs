use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syslet_tokio::{fs, unblock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::util::{Gate, PATIENCE, current_thread, multi_thread, timely};

/// More than a pipe holds.
const MUCH: usize = 1 << 20;

fn file(writer: PipeWriter) -> fs::File {
    fs::File::from(OwnedFd::from(writer))
}

/// Reads what comes until the end, in a thread that begins when the gate is opened.
fn drain(mut reader: PipeReader, gate: Arc<Gate>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        gate.pass();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("a pipe can be read");
        all
    })
}

/// Where a task runs.
#[derive(Debug, Clone, Copy)]
enum On {
    Worker,
    /// The thread that drives the runtime.
    Driver,
    /// The same, as a guest.
    AttachedDriver,
}

/// A write that is acknowledged and cannot be made before the gate is opened; then the runtime is dropped,
/// after the file or before it.
fn acknowledged_write_is_waited_for(runtime: Runtime, on: On, keep: bool) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    let gate = Arc::new(Gate::new());
    let read = drain(reader, Arc::clone(&gate));
    let write = async move {
        let mut file = file(writer);
        assert_eq!(file.write(&vec![5; MUCH]).await.expect("it is acknowledged"), MUCH);
        keep.then_some(file) // not flushed
    };
    let kept = match on {
        On::Worker => runtime.block_on(async { timely(tokio::spawn(write)).await.unwrap() }),
        On::Driver => runtime.block_on(timely(write)),
        On::AttachedDriver => {
            syslet_tokio::block_on(&runtime, timely(write)).expect("it can be attached")
        }
    };
    let ended = Arc::new(AtomicBool::new(false));
    let end = std::thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            drop(runtime);
            ended.store(true, Ordering::SeqCst);
        }
    });
    // The write cannot have been made: a shutdown that is over has not waited for it. (One that
    // comes later than this look would not be found; it is not needed for the bytes below.)
    std::thread::sleep(Duration::from_millis(20));
    assert!(!ended.load(Ordering::SeqCst), "the runtime ended before an acknowledged write");
    gate.open();
    end.join().expect("the runtime can be dropped");
    drop(kept);
    assert_eq!(read.join().expect("it does not panic"), vec![5; MUCH]);
}

#[test]
fn acknowledged_writes_are_waited_for() {
    for keep in [false, true] {
        acknowledged_write_is_waited_for(multi_thread(1), On::Worker, keep);
        for on in [On::Driver, On::AttachedDriver] {
            acknowledged_write_is_waited_for(multi_thread(1), on, keep);
            acknowledged_write_is_waited_for(current_thread(), on, keep);
        }
    }
}

#[test]
fn closures_that_nobody_waits_for_are_waited_for() {
    for (runtime, on_worker) in
        [(multi_thread(1), true), (multi_thread(1), false), (current_thread(), false)]
    {
        let (gate, done) = (Arc::new(Gate::new()), Arc::new(AtomicBool::new(false)));
        let leave = {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            async move {
                drop(unblock(move || {
                    gate.pass();
                    std::thread::sleep(Duration::from_millis(5)); // while the runtime ends
                    done.store(true, Ordering::SeqCst);
                }));
            }
        };
        match on_worker {
            true => runtime.block_on(async { timely(tokio::spawn(leave)).await.unwrap() }),
            false => runtime.block_on(timely(leave)),
        }
        gate.open();
        drop(runtime);
        assert!(done.load(Ordering::SeqCst), "the runtime ended before a closure");
    }
}

#[test]
fn tasks_that_wait_for_closures_are_dropped_and_the_closures_waited_for() {
    let runtime = multi_thread(1);
    let (begun, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let done = Arc::new(AtomicBool::new(false));
    runtime.spawn({
        let (begun, gate, done) = (Arc::clone(&begun), Arc::clone(&gate), Arc::clone(&done));
        async move {
            let closure = unblock(move || {
                gate.pass();
                done.store(true, Ordering::SeqCst);
            });
            begun.open();
            closure.await.expect("it does not panic");
            unreachable!("the task was dropped before");
        }
    });
    begun.pass();
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10)); // while the runtime waits
        gate.open();
    });
    drop(runtime);
    assert!(done.load(Ordering::SeqCst), "the runtime ended before a closure");
    opener.join().expect("it does not panic");
}

/// Drops the runtime, which must not take for ever.
fn ends(runtime: Runtime) {
    let (tell, told) = std::sync::mpsc::channel();
    let end = std::thread::spawn(move || {
        drop(runtime);
        tell.send(()).expect("somebody waits");
    });
    told.recv_timeout(PATIENCE).expect("the runtime ends");
    end.join().expect("it does not panic");
}

/// A task's locals are dropped one by one: the closure's future first, and then what the closure waits for.
#[test]
fn closure_may_wait_for_what_its_task_drops_after_it() {
    let runtime = multi_thread(1);
    let (begun, begins) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let writer = unblock(move || {
            begun.send(()).expect("the test waits");
            receiver.iter().count()
        });
        std::future::pending::<()>().await;
        drop((writer, sender));
    });
    begins.recv_timeout(PATIENCE).expect("the closure begins");
    ends(runtime);
}

#[test]
fn closure_may_wait_for_what_another_task_drops() {
    let runtime = multi_thread(1);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = std::sync::mpsc::channel();
    runtime.spawn(async move { unblock(move || receiver.iter().count()).await });
    runtime.spawn(async move {
        begun.send(()).expect("the test waits");
        std::future::pending::<()>().await;
        drop(sender);
    });
    begins.recv_timeout(PATIENCE).expect("the task begins");
    ends(runtime);
}

#[test]
fn read_may_wait_for_a_writer_that_its_task_drops_after_it() {
    let runtime = multi_thread(1);
    let (begun, begins) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut file = fs::File::from(OwnedFd::from(reader));
        let mut bytes = [0; 8];
        let mut read = std::pin::pin!(file.read(&mut bytes));
        std::future::poll_fn(|context| {
            assert!(read.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        begun.send(()).expect("the test waits");
        let _ = read.await;
        drop(writer);
    });
    begins.recv_timeout(PATIENCE).expect("the read begins");
    ends(runtime);
}

/// Also if its future is not in a task.
#[test]
fn closures_whose_future_outlives_the_runtime_are_waited_for() {
    for runtime in [multi_thread(1), current_thread()] {
        let (gate, done) = (Arc::new(Gate::new()), Arc::new(AtomicBool::new(false)));
        let closure = {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            move || {
                gate.pass();
                std::thread::sleep(Duration::from_millis(5)); // while the runtime ends
                done.store(true, Ordering::SeqCst);
            }
        };
        let future = {
            let _context = runtime.enter();
            unblock(closure)
        };
        gate.open();
        ends(runtime);
        assert!(done.load(Ordering::SeqCst), "the runtime ended before a closure");
        current_thread().block_on(async { timely(future).await.expect("it does not panic") });
    }
}

/// Closures that are away have one thread of the blocking pool together, and give it back.
#[test]
fn closures_away_leave_the_blocking_pool_to_others() {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(2).build().expect("it can be built");
    let gate = Arc::new(Gate::new());
    runtime.block_on(async {
        let pass = || {
            let gate = Arc::clone(&gate);
            unblock(move || gate.pass())
        };
        let away: Vec<_> = (0..8).map(|_| pass()).collect();
        timely(tokio::task::spawn_blocking(|| ())).await.expect("it runs");
        gate.open();
        for closure in away {
            timely(closure).await.expect("it does not panic");
        }
        let meet = Arc::new(std::sync::Barrier::new(2));
        let two = [Arc::clone(&meet), meet].map(|meet| {
            tokio::task::spawn_blocking(move || {
                meet.wait();
            })
        });
        for one in two {
            timely(one).await.expect("both run at once");
        }
    });
}

/// Also if they wait for what has no other thread.
#[test]
fn closure_away_may_wait_for_one_of_a_pool_with_one_thread() {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build().expect("it can be built");
    runtime.block_on(async {
        let gate = Arc::new(Gate::new());
        let passes = Arc::clone(&gate);
        let away = unblock(move || passes.pass());
        timely(tokio::task::spawn_blocking(move || gate.open())).await.expect("it runs");
        timely(away).await.expect("it does not panic");
    });
}

/// The wait for closures that never end is bounded as for tokio's own.
#[test]
fn shutdown_with_a_limit_does_not_wait_for_ever() {
    let never = Arc::new(Gate::new());
    let left = |runtime: &Runtime| {
        let waits = [Arc::clone(&never), Arc::clone(&never)];
        let [dropped, awaited] = waits;
        let begun = Arc::new(Gate::new());
        let begins = Arc::clone(&begun);
        drop(runtime.spawn(async move {
            drop(unblock(move || dropped.pass()));
            let closure = unblock(move || awaited.pass());
            begins.open();
            let _ = closure.await;
        }));
        runtime.block_on(async { timely(tokio::task::spawn_blocking(move || begun.pass())).await })
    };
    let began = Instant::now();
    for make in [|| multi_thread(1), || current_thread()] {
        let runtime = make();
        left(&runtime).expect("it does not panic");
        runtime.shutdown_timeout(Duration::from_millis(10));
        let runtime = make();
        left(&runtime).expect("it does not panic");
        runtime.shutdown_background();
    }
    assert!(began.elapsed() < Duration::from_secs(30), "a bounded shutdown waited");
    never.open();
}

#[test]
fn runtime_ends_with_many_closures_away() {
    for _ in 0..5 {
        let runtime = multi_thread(4);
        let gate = Arc::new(Gate::new());
        for _ in 0..50 {
            let gate = Arc::clone(&gate);
            runtime.spawn(async move { unblock(move || gate.pass()).await });
        }
        gate.open();
        drop(runtime);
    }
}

#[test]
fn file_can_outlive_its_runtime() {
    let (reader, writer) = pipe().expect("a pipe can be made");
    let gate = Arc::new(Gate::new());
    let read = drain(reader, Arc::clone(&gate));
    let runtime = multi_thread(1);
    let mut left = runtime.block_on(async move {
        let mut file = file(writer);
        assert_eq!(file.write(&[6; MUCH]).await.expect("it is acknowledged"), MUCH);
        file
    });
    gate.open();
    drop(runtime);
    drop(current_thread().block_on(async {
        left.flush().await.expect("the write was made");
        left.into_std().await
    }));
    assert_eq!(read.join().expect("it does not panic").len(), MUCH);
}
