//! Calls and closures whose answers come to the queue.
//!
//! They go through a completion queue of their own, which has all it takes to send, to cancel and never to lose an
//! answer. The *pump* is the task that waits for it: whoever completes something wakes it, and it moves what is
//! there.

#![allow(unsafe_code, reason = "passes calls on")]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use syslet::source::Made;
use syslet::{Call, Completion, CompletionQueue, Queued};

use crate::Queue;
use crate::chains::Sent;
use crate::core::{Core, On};
use crate::event::{DONE, Event, Happened, Kind};
use crate::node::Node;

/// Places of the ring in between, which is emptied at once.
const PLACES: usize = 64;

/// What an answer belongs to.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// The program's call, with its id and number.
    Own(u64, u64),
    /// A child, which is told of here.
    Child(Arc<Node>, Box<[u64; 16]>),
    /// The program's chain.
    Chain(Arc<Sent>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Completions {
    pub(crate) queue: CompletionQueue,
    under_way: Mutex<(u64, HashMap<u64, Purpose>)>,
}

impl Completions {
    pub(crate) fn under_way(&self) -> MutexGuard<'_, (u64, HashMap<u64, Purpose>)> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is sent; its number in between.
    pub(crate) fn note(&self, purpose: Purpose) -> u64 {
        let mut under_way = self.under_way();
        under_way.0 += 1;
        let number = under_way.0;
        under_way.1.insert(number, purpose);
        number
    }

    pub(crate) fn strike(&self, number: u64) -> Option<Purpose> {
        self.under_way().1.remove(&number)
    }
}

impl Completions {
    /// The queue is dropped: so is what was for answers that have not come.
    pub(crate) fn abandon(&self) {
        let under_way = std::mem::take(&mut self.under_way().1);
        for purpose in under_way.into_values() {
            if let Purpose::Child(_, info) = purpose {
                // Its wait was told to end, and may not have yet: then it writes here.
                Box::leak(info);
            }
        }
    }
}

struct Pump(Weak<Core>);

impl Wake for Pump {
    fn wake(self: Arc<Self>) {
        let Some(core) = self.0.upgrade() else { return };
        let Some(completions) = core.completions.get() else { return };
        let waker = Waker::from(self);
        let mut context = Context::from_waker(&waker);
        while let Poll::Ready((completion, made)) = completions.queue.poll_pop_made(&mut context) {
            core.completed(completions, completion, made);
        }
    }
}

impl Core {
    pub(crate) fn completions(&self) -> io::Result<&Completions> {
        if let Some(completions) = self.completions.get() {
            return Ok(completions);
        }
        let queue = CompletionQueue::new(PLACES)?;
        if self.completions.set(Completions { queue, under_way: Mutex::default() }).is_ok() {
            Arc::new(Pump(self.this())).wake();
        }
        Ok(self.completions.get().expect("it was set by one or the other"))
    }

    fn completed(&self, completions: &Completions, completion: Completion, made: Made) {
        match completions.strike(completion.user_data) {
            Some(Purpose::Own(id, user_data)) => {
                self.post_made(event_of(id, user_data, completion.res), made);
            }
            Some(Purpose::Child(node, info)) => {
                crate::child::ended(&node, &info, completion.res, On::Program);
            }
            Some(Purpose::Chain(sent)) => self.chain_is_over(sent),
            None => made.close(), // the queue is dropped
        }
    }
}

pub(crate) fn event_of(id: u64, user_data: u64, answer: isize) -> Event {
    let (kind, state) = (Kind::Completion as u32, DONE);
    let mut event = Event { id, kind, asked: Happened::DONE, state, user_data, ..Event::default() };
    event.set_result(answer as i64);
    event
}

impl Queue {
    /// Submits a system call whose answer comes as an event with this id and number, always, whether it slept or not.
    /// Cancel it by [`cancel`](Self::cancel). Descriptors that it has made (`openat`, `accept4` ...) are closed if the
    /// queue is closed or dropped before the event was handed out, or was put into a ring.
    ///
    /// # Errors
    ///
    /// If the call is refused, with what [`syslet::submit`] says, and `EBADF` if the queue was closed or is that of
    /// a parent process: nothing was run.
    ///
    /// # Safety
    ///
    /// As [`syslet::submit`].
    ///
    /// # Blocking
    ///
    /// As [`syslet::submit`]: not on an attached thread.
    pub unsafe fn submit(&self, id: u64, user_data: u64, call: Call) -> io::Result<()> {
        self.living()?;
        let completions = self.core.completions()?;
        let number = completions.note(Purpose::Own(id, user_data));
        // SAFETY: the duty of this function.
        match unsafe { completions.queue.submit(number, call) } {
            Ok(Queued::Done(ret)) => {
                // SAFETY: the duty of this function: the program does not know yet that it has ended.
                let made = unsafe { Made::by(&call, ret.raw()) };
                if let Some(Purpose::Own(id, user_data)) = completions.strike(number) {
                    self.core.post_made(event_of(id, user_data, ret.raw()), made);
                }
            }
            Ok(_) => {}
            Err(refused) => {
                completions.strike(number);
                return Err(io::Error::other(refused.to_string()));
            }
        }
        Ok(())
    }

    /// Runs a closure as a threadlet; what it returns comes as an event with this id and number.
    ///
    /// # Errors
    ///
    /// If there can be no threads. `EBADF`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// Never on an attached thread, unless the closure computes.
    pub fn threadlet(
        &self,
        id: u64,
        user_data: u64,
        f: impl FnOnce() -> isize + Send + 'static,
    ) -> io::Result<()> {
        self.living()?;
        let completions = self.core.completions()?;
        let number = completions.note(Purpose::Own(id, user_data));
        if let Queued::Done(ret) = completions.queue.threadlet(number, f)
            && let Some(Purpose::Own(id, user_data)) = completions.strike(number)
        {
            self.core.post(std::iter::once(event_of(id, user_data, ret.raw())), false);
        }
        Ok(())
    }

    /// Cancels the calls, chains and closures that were submitted with this id. Each has its event all the same:
    /// `-ECANCELED`, or its answer if that was too late; of a chain, what its closure makes of the answers. Says how
    /// many were told in time.
    ///
    /// # Blocking
    ///
    /// As [`CompletionQueue::cancel_all`](syslet::CompletionQueue::cancel_all).
    pub fn cancel(&self, id: u64) -> usize {
        if self.is_dead() {
            return 0;
        }
        let Some(completions) = self.core.completions.get() else { return 0 };
        let (mut numbers, mut chains) = (Vec::new(), Vec::new());
        for (number, purpose) in &completions.under_way().1 {
            match purpose {
                Purpose::Own(of, _) if *of == id => numbers.push(*number),
                Purpose::Chain(sent) if sent.id == id => chains.push(Arc::clone(sent)),
                _ => {}
            }
        }
        let cancelled: usize =
            numbers.into_iter().map(|number| completions.queue.cancel_all(number)).sum();
        cancelled + self.cancel_chains(chains)
    }
}
