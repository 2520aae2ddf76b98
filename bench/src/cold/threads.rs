//! A pool of threads, fed by a queue.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::file::ColdFile;
use super::{BLOCK, Reader};
use crate::error::Trouble;

/// A read that has ended.
type Ended = (usize, Instant, std::io::Result<()>);

/// What is to be read, and whether more may come.
#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<(usize, u64)>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    more: Condvar,
}

/// The threads, which end when this is dropped.
#[derive(Debug)]
pub(super) struct Pool {
    desk: Arc<Desk>,
    ended: Receiver<Ended>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn start(file: &ColdFile, count: usize) -> Result<Self, Trouble> {
        let (tell, ended) = channel();
        let mut pool = Self { desk: Arc::default(), ended, threads: Vec::new() };
        for _ in 0..count {
            let (desk, tell, file) = (Arc::clone(&pool.desk), tell.clone(), file.for_thread()?);
            let thread = thread::Builder::new().name("bench-pool".to_owned());
            let thread = thread.spawn(move || work(&desk, &tell, &file));
            pool.threads.push(thread.map_err(Trouble::io("starting a thread"))?);
        }
        Ok(pool)
    }
}

fn work(desk: &Desk, tell: &Sender<Ended>, file: &File) {
    let mut buffer = vec![0; BLOCK];
    while let Some((slot, offset)) = desk.next() {
        let read = file.read_exact_at(&mut buffer, offset);
        if tell.send((slot, Instant::now(), read)).is_err() {
            return; // nobody asks any more
        }
    }
}

impl Desk {
    fn next(&self) -> Option<(usize, u64)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(request) = queue.requests.pop_front() {
                return Some(request);
            }
            if queue.closed {
                return None;
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, f: impl FnOnce(&mut Queue)) {
        f(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reader for Pool {
    fn hand_over(&mut self, slot: usize, offset: u64) -> Result<bool, Trouble> {
        self.desk.change(|queue| queue.requests.push_back((slot, offset)));
        self.desk.more.notify_one();
        Ok(false)
    }

    fn collect(&mut self, ended: &mut Vec<(usize, Instant)>) -> Result<(), Trouble> {
        let first = self.ended.recv().expect("the threads live as long as the pool");
        for (slot, at, read) in std::iter::once(first).chain(self.ended.try_iter()) {
            read.map_err(|error| Trouble::Work("cold", error))?;
            ended.push((slot, at));
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.desk.change(|queue| queue.closed = true);
        self.desk.more.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a worker's panic was printed when it happened
        }
    }
}
