//! How sources come into a queue.
//!
//! A source is put into the state first, so that its key is taken, and has things told then; if that fails it is
//! taken out again. Between the two another thread may remove it, hand its event out, or put another of its key in:
//! so what is done afterwards is done to this source, never to its key.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use syslet::source::{self, File, Order, Watched};

use crate::core::On;
use crate::event::{BROKEN, DONE, Event, Flags, Happened};
use crate::inode;
use crate::level;
use crate::node::Node;
use crate::queue::{Changed, Queue, error};
use crate::source::{Source, What};
use crate::state::Item;
use crate::{child, signals, sweep};

impl Queue {
    /// Puts a source into the queue, without having anything told yet.
    fn insert(&self, source: Source, again: bool) -> io::Result<Arc<Node>> {
        let (node, tells) = self.put_in(source, again)?;
        if tells {
            self.core.rouse();
        }
        Ok(node)
    }

    /// As [`insert`](Self::insert), but nobody is woken; says whether there is something to wake for.
    fn put_in(&self, source: Source, again: bool) -> io::Result<(Arc<Node>, bool)> {
        let file = match file_of(&source) {
            Ok(file) => file,
            // What it was to be instead of the one there is cannot be.
            Err(_) if again && self.core.with(|state| state.remove(source.key)).is_none() => {
                self.living()?;
                return Err(error(libc::ENOENT));
            }
            Err(number) => return Err(error(number)),
        };
        // Asked without the lock.
        let strange = if again { None } else { self.stranger_of(&source, file) };
        let node = Arc::new(Node::new(self.core.this(), source, file));
        let mut tells = false;
        self.core.with(|state| {
            self.living()?;
            if again {
                tells = state.replace(&node).ok_or_else(|| error(libc::ENOENT))?;
                return Ok(());
            }
            match state.sources.get(&source.key) {
                Some(old) if strange.is_none_or(|strange| !Arc::ptr_eq(old, &strange)) => {
                    return Err(error(libc::EEXIST));
                }
                Some(old) => {
                    let mut event = old.blank();
                    event.state = BROKEN | DONE;
                    event.data[1] = (-libc::EBADF) as u32;
                    old.error.store(libc::EBADF, Ordering::Relaxed);
                    state.remove(source.key);
                    state.ready.push_back(Item::Event(event));
                    state.live += 1;
                    tells = true;
                }
                None => {}
            }
            state.insert(Arc::clone(&node));
            Ok(())
        })?;
        Ok((node, tells))
    }

    /// The source that has the key of this one, if its number was closed, and means `file` now, which is another.
    fn stranger_of(&self, source: &Source, file: Option<File>) -> Option<Arc<Node>> {
        let old = || self.core.lock().sources.get(&source.key).cloned();
        match source.what {
            What::Ready(..) => old().filter(|old| !level::is_same(old)),
            // A directory is its inode, by whichever descriptor.
            What::Inode(_) => old().filter(|old| old.file != file),
            _ => None, // by their number they mean the same
        }
    }

    /// A source that was put in cannot be one.
    fn fail(&self, node: &Node, number: i32) -> io::Error {
        self.core.with(|state| state.remove_this(node));
        error(number)
    }

    /// Adds a source that needs no other thread.
    pub(crate) fn enter(&self, source: Source, again: bool) -> Changed {
        self.living()?;
        // While one takes the place of another nothing is done that would be done without them.
        let _held = match source.what {
            What::Signal(number, _) if again => signals::hold(number),
            _ => None,
        };
        let node = self.insert(source, again)?;
        let at_once = match source.what {
            What::Timer(clock, first, _) => {
                let due = source.flags.contains(Flags::ONESHOT) && first <= clock.now();
                if !due && source::set_alarm(clock, first, Arc::clone(&node) as _).is_err() {
                    return Err(self.fail(&node, libc::EAGAIN));
                }
                if node.is_gone() {
                    source::clear_alarm(clock, &*node);
                }
                u32::from(due)
            }
            What::Signal(number, only) => {
                if let Err(number) = signals::enter(number, only, &node) {
                    return Err(self.fail(&node, number));
                }
                0
            }
            What::Child(pid) => match child::enter(&self.core, &node, pid) {
                Ok(ended) => u32::from(ended),
                Err(number) => return Err(self.fail(&node, number)),
            },
            What::Ready(..) | What::Inode(_) | What::User => 0,
        };
        Ok(self.entered(&node, at_once, again))
    }

    /// A source was added that was ready at once for `events`.
    fn entered(&self, node: &Arc<Node>, events: u32, again: bool) -> Option<Event> {
        if node.is(Flags::READY) {
            let happened = node.source.asked | node.in_its_words(events);
            self.core.say(node, happened, On::Program);
            return None;
        }
        if events == 0 {
            return None;
        }
        if again || node.is(Flags::ALWAYS_QUEUE) {
            let _ = node.tell(events, 1, On::Program);
            return None;
        }
        self.core.with(|state| {
            if node.is_gone() {
                return None; // handed out or removed by another thread, whose key may be a new source's
            }
            node.note(events, 1);
            if node.queued.load(Ordering::Relaxed) {
                return None; // it was told more meanwhile, and that goes along with it
            }
            let event = node.event();
            if node.is(Flags::ONESHOT) {
                state.remove_this(node);
            } else if node.readiness().is_some() && !node.is(Flags::ET) {
                state.look_again(node);
            }
            Some(event)
        })
    }

    pub(crate) fn enter_all(&self, sources: &[Source], again: bool) -> Vec<Changed> {
        if self.is_dead() {
            return sources.iter().map(|_| Err(error(libc::EBADF))).collect();
        }
        let mut answers: Vec<Changed> = Vec::with_capacity(sources.len());
        let (mut ready, mut inodes) = (Vec::new(), Vec::new());
        for (at, source) in sources.iter().enumerate() {
            answers.push(match source.what {
                What::Ready(..) => self.insert(*source, again).map(|node| {
                    ready.push((at, node));
                    None
                }),
                What::Inode(_) => {
                    inodes.push((at, *source));
                    Ok(None)
                }
                _ => self.enter(*source, again),
            });
        }
        if !ready.is_empty() {
            for ((at, node), begun) in ready.iter().zip(self.watch(&ready, source::watch)) {
                answers[*at] = begun.map(|events| self.entered(node, events?, again));
            }
            sweep::begin(&self.core);
        }
        if !inodes.is_empty() {
            self.enter_inodes(&inodes, again, &mut answers);
        }
        answers
    }

    /// Adds sources of directories.
    fn enter_inodes(&self, sources: &[(usize, Source)], again: bool, answers: &mut [Changed]) {
        let held = self.core.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut nodes, mut tells) = (Vec::new(), false);
        for (at, source) in sources {
            match self.put_in(*source, again) {
                Ok((node, has_to_tell)) => {
                    tells |= has_to_tell;
                    nodes.push((*at, node));
                }
                Err(error) => answers[*at] = Err(error),
            }
        }
        let begun = self.watch(&nodes, source::watch_inodes);
        drop(held);
        if tells {
            self.core.rouse();
        }
        for ((at, node), begun) in nodes.iter().zip(begun) {
            answers[*at] = begun.map(|events| self.entered(node, events?, again));
        }
    }

    /// Has the engine tell these sources; says for which events each is ready at once. `None`: it is none any more.
    fn watch(
        &self,
        nodes: &[(usize, Arc<Node>)],
        begin: fn(Vec<Order>) -> Vec<source::Begun>,
    ) -> Vec<io::Result<Option<u32>>> {
        if nodes.is_empty() {
            return Vec::new();
        }
        let begun = begin(nodes.iter().map(|(_, node)| order(node)).collect());
        nodes.iter().zip(begun).map(|((_, node), begun)| self.watched(node, begun)).collect()
    }

    /// What became of the order of a source.
    fn watched(&self, node: &Node, begun: source::Begun) -> io::Result<Option<u32>> {
        let (watch, events) = begun.map_err(|number| {
            if let Some(old) = node.instead_of.get() {
                source::unwatch_inode(*old);
            }
            self.fail(node, -number as i32)
        })?;
        let gone = self.core.with(|_| {
            let _ = node.watch.set(watch);
            node.is_gone()
        });
        match node.readiness() {
            _ if !gone => return Ok(Some(events)),
            Some((number, _)) => {
                // What it was told at once is for others of its file.
                let unsaid = events | node.unsaid(); // also what came before the watch was noted
                source::unwatch(vec![node.ended(watch, number, unsaid)]);
            }
            None => source::unwatch_inode(watch),
        }
        Ok(None)
    }
}

/// The file that a source is about, if it is about one; an errno if there can be no such source.
fn file_of(source: &Source) -> Result<Option<File>, i32> {
    match source.what {
        // The kernel adds nothing to what is there, and says that all is right.
        What::Inode(_) if inode::events(source.asked) == 0 => Err(libc::EINVAL),
        What::Ready(number, _) | What::Inode(number) => {
            File::of(number).map(Some).map_err(|number| -number as i32)
        }
        What::Signal(number, _) if !signals::may_be_told(number) => Err(libc::EINVAL),
        _ => Ok(None),
    }
}

fn order(node: &Arc<Node>) -> Order {
    let (number, events) = match node.source.what {
        What::Inode(number) => (number, inode::events(node.source.asked)),
        _ => node.readiness().unwrap_or((-1, 0)),
    };
    let file = node.file.unwrap_or_default();
    let (wake_all, who) = (node.is(Flags::WAKEUP_ALL), Arc::clone(node) as Arc<dyn Watched>);
    Order { number, file, events, wake_all, who, instead_of: node.instead_of.get().copied() }
}

const _: () = assert!(Happened::FIRED == 1 && Happened::EXITED == 1);

#[cfg(test)]
mod tests {
    use syslet::source::Told;

    use super::*;

    /// Another thread was faster: what it has put in its place is left alone.
    #[test]
    fn a_source_that_is_gone_takes_no_newer_one_of_its_key_along() {
        let queue = Queue::new().unwrap();
        let source = Source::user(5).with(Flags::ONESHOT);
        let old = queue.insert(source, false).unwrap();
        queue.remove(source.key()).unwrap();
        let newer = queue.insert(source, false).unwrap();
        assert_eq!(queue.entered(&old, 1, false), None);
        assert!(!newer.is_gone() && queue.sources() == 1);
    }

    /// The keeper, which knows the one that was there.
    #[test]
    fn what_ends_a_source_ends_the_one_that_has_taken_its_place() {
        let queue = Queue::new().unwrap();
        let old = queue.insert(Source::user(5), false).unwrap();
        queue.insert(Source::user(5).user_data(2), true).unwrap();
        old.breaks(libc::ENOENT, On::Keeper);
        let told = queue.get_events(0, 8, None).unwrap();
        assert_eq!(told.iter().map(|event| event.user_data).collect::<Vec<_>>(), [2]);
        assert!(told[0].error().is_some() && queue.sources() == 0);
    }

    /// Its number means another directory by now.
    #[test]
    #[allow(unsafe_code, reason = "dup2(2)")]
    fn what_ends_a_source_leaves_one_of_another_file_alone() {
        use std::os::fd::AsRawFd;
        let queue = Queue::new().unwrap();
        let [number, other] = ["/", "/proc"].map(|path| std::fs::File::open(path).unwrap());
        let source = Source::directory(&number, Happened::CREATE | Happened::REMOVE);
        let old = queue.insert(source, false).unwrap();
        // SAFETY: the number is this test's.
        assert!(unsafe { libc::dup2(other.as_raw_fd(), number.as_raw_fd()) } >= 0);
        queue.insert(source, true).unwrap();
        let _ = old.tell(libc::IN_DELETE_SELF, 1, On::Keeper);
        old.breaks(libc::ENOENT, On::Keeper);
        assert_eq!((queue.get_events(0, 8, None).unwrap(), queue.sources()), (vec![], 1));
    }

    /// It was found before another took its place.
    #[test]
    fn a_source_that_is_made_ready_says_of_its_successor_what_that_asks_for() {
        let queue = Queue::new().unwrap();
        let both = Source::user(5);
        let old = queue.insert(both, false).unwrap();
        queue.insert(both.named(both.key(), 1), true).unwrap();
        queue.core.say(&old, both.asked, On::Program);
        assert_eq!(queue.get_events(0, 8, None).unwrap()[0].happened(), 1);
    }

    #[test]
    fn of_what_is_looked_at_last_only_that_is_told_which_still_holds() {
        let (mine, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let queue = Queue::new().unwrap();
        let both =
            Source::socket(std::os::fd::AsRawFd::as_raw_fd(&mine), Happened::RECV | Happened::SEND);
        let node = queue.insert(both.with(Flags::ET | Flags::LAST_CHECK), false).unwrap();
        let [reads, writes] = [libc::POLLIN, libc::POLLOUT].map(|event| event as u32);
        for (told, is_left) in [(reads, false), (writes, true), (reads | writes, true)] {
            let _ = node.tell(told, 1, On::Program);
            let all = queue.get_events(0, 8, None).unwrap();
            let expected: &[_] = if is_left { &[Happened::SEND] } else { &[] };
            assert_eq!(all.iter().map(Event::happened).collect::<Vec<_>>(), expected);
        }
        assert!(queue.make_ready(both.key()));
        assert_eq!(queue.get_events(0, 8, None).unwrap()[0].happened(), Happened::SEND);
    }

    /// It was told more before it was answered: that is one event, and none without anything in it.
    #[test]
    fn what_comes_while_a_source_is_added_is_told_once() {
        let queue = Queue::new().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let node = queue.insert(Source::recv(&socket).with(Flags::ET), false).unwrap();
        let events = u32::from(libc::POLLIN.cast_unsigned());
        assert_eq!(node.tell(events, 1, On::Keeper), Told::Kept);
        let answered = queue.entered(&node, events, false);
        let queued = queue.get_events(0, 8, None).unwrap();
        let all: Vec<_> = answered.iter().chain(&queued).map(Event::happened).collect();
        assert_eq!(all, [Happened::RECV]);
    }
}
