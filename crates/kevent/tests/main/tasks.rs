use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use syslet_kevent::{Event, Flags, Source};

use crate::util::{drain, one, pair, put, queue};

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn a_stream_ends_its_wait_for_events_from_every_thread() {
    let (queue, (mine, theirs)) = (Arc::new(queue()), pair());
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap(); // told by the keeper
    queue.add(Source::every(7, Duration::from_millis(3))).unwrap(); // by a clock
    let runtime = runtime();
    let waits = Arc::clone(&queue);
    let task = runtime.spawn(async move {
        let mut counts = [0; 3];
        let mut events = waits.events();
        while counts.contains(&0) || counts[0] < 50 {
            match events.next().await.expect("it does not end").kind {
                0 => counts[0] += 1,
                2 => counts[1] += 1,
                _ => counts[2] += 1,
            }
        }
        counts
    });
    let begun = Instant::now();
    while !task.is_finished() && begun.elapsed() < crate::util::LONG {
        put(&theirs);
        drain(&mine);
        queue.post(Event { kind: 9, ..Event::default() }); // by the program
        std::thread::sleep(Duration::from_micros(300));
    }
    assert!(task.is_finished());
    runtime.block_on(task).unwrap();
}

#[test]
fn several_tasks_share_the_events_and_a_dropped_future_loses_none() {
    let queue = Arc::new(queue());
    let runtime = runtime();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let queue = Arc::clone(&queue);
            runtime.spawn(async move {
                let mut ids = Vec::new();
                loop {
                    // The future is dropped again and again.
                    let next = tokio::time::timeout(Duration::from_millis(1), queue.next());
                    match next.await {
                        Ok(Some(event)) if event.id == u64::MAX => return ids,
                        Ok(Some(event)) => ids.push(event.id),
                        Ok(None) => panic!("nobody has closed it"),
                        Err(_) => {}
                    }
                }
            })
        })
        .collect();
    (0..5000).for_each(|id| queue.post(Event { id, ..Event::default() }));
    let end = Event { id: u64::MAX, ..Event::default() };
    (0..4).for_each(|_| queue.post(end));
    let mut ids: Vec<u64> =
        tasks.into_iter().flat_map(|task| runtime.block_on(task).unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..5000).collect::<Vec<_>>());
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("as is tested, without a word"));
    }
}

#[test]
fn a_waker_that_panics_takes_nothing_along() {
    let queue = queue();
    let waker = Waker::from(Arc::new(Panics));
    let mut context = Context::from_waker(&waker);
    for id in 0..3 {
        let mut next = std::pin::pin!(queue.next());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert!(queue.poll_next(&mut context).is_pending());
        // It ends elsewhere, and wakes both there.
        let (tell, told) = std::sync::mpsc::channel::<()>();
        queue.threadlet(id, 0, move || told.recv().map_or(1, |()| 0)).unwrap();
        drop(tell);
        assert_eq!(one(&queue).id, id);
    }
    queue.post(Event::default());
    assert!(queue.poll_next(&mut context).is_ready() && queue.poll_next(&mut context).is_pending());
    queue.close();
}

struct Counts;

impl Wake for Counts {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn futures_and_streams_that_are_dropped_leave_no_waker_behind() {
    let queue = queue();
    let counts = Arc::new(Counts);
    let waker = Waker::from(Arc::clone(&counts));
    for _ in 0..100 {
        let mut context = Context::from_waker(&waker);
        let mut next = std::pin::pin!(queue.next());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert!(next.as_mut().poll(&mut context).is_pending());
        let mut events = queue.events();
        assert!(events.poll_next_unpin(&mut context).is_pending());
        assert_eq!(Arc::strong_count(&counts), 4);
    }
    assert_eq!(Arc::strong_count(&counts), 2);
}

#[test]
fn closing_ends_streams_that_wait() {
    let queue = Arc::new(queue());
    let waits = Arc::clone(&queue);
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = runtime();
        let mut next = std::pin::pin!(waits.next());
        let ended = runtime.block_on(std::future::poll_fn(|context| {
            let polled = next.as_mut().poll(context);
            let _ = tell.send(()); // heard the first time
            polled
        }));
        assert_eq!(ended.map(|event| event.id), None);
    });
    told.recv().unwrap();
    queue.close();
    thread.join().unwrap();
    assert!(runtime().block_on(queue.next()).is_none(), "it is closed");
}
