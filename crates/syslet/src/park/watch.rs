//! Watches that stay: what the keeper tells sources (`source.rs`) of, without end.
//!
//! A call holds its file while it waits. A source must not: when the program closes a socket the other side is to
//! see that. So the keeper takes the file only to put it into its epoll, which forgets it when the program
//! closes it; and each watch is edge-triggered, so that an event costs nothing but itself.
//!
//! An epoll knows what it watches by file *and* number. All files go in by one number of the keeper's, the
//! *desk*, so that they can be named again: the file is taken again, put on the desk, and changed or taken
//! out. Another file on the desk is another watch. A file that is watched twice goes in by a second desk, which is
//! made when it is needed, but for sockets: these have one watch with several *readers*, so that an event can be given
//! to one of them.
//!
//! A watch whose number was closed before it could be taken out stays in the epoll for as long as the file is open
//! elsewhere, and keeps a desk from that file. Nobody listens to it, so the next watch of the file on this desk takes
//! its place; other files of its inode keep away from that desk, see `leftovers`.

mod desks;
mod identity;
mod inodes;
mod leftovers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Entries;
use std::hash::Hash;
use std::sync::Arc;

use syslet_sys::uapi::{
    EBADF, EEXIST, EPERM, EPOLLET, EpollEvent, POLLERR, POLLHUP, POLLIN, SIGNALFD_SIGINFO,
};
use syslet_sys::{call as kernel, descriptor};

use self::desks::Desks;
use self::leftovers::Leftovers;
use super::closing;
use super::mail::Inbox;
use super::source::{Ended, File, Order, Sort, Told, WatchId, Watched};

/// In the data of an event: it is of a watch.
const WATCH: u64 = 1 << 63;
/// It is the inotify, the signalfd, or the inbox.
const INODES: u64 = 1 << 62;
const SIGNALS: u64 = INODES | 1;
const MAIL: u64 = INODES | 2;
/// Free desks that are looked at for one where nothing was left behind; if there may be something on all of these the
/// epoll is asked. So the search does not grow with the desks.
const CHOICE: usize = 32;

/// Device and inode.
type Id = (u64, u64);

#[derive(Debug)]
struct Reader {
    serial: u64,
    who: Arc<dyn Watched>,
    /// The program's number for it: not all need be the same.
    number: i32,
    events: u32,
    wake_all: bool,
    /// It was just added: what is ready now is its first answer.
    first: Option<u32>,
}

/// One file in the epoll.
#[derive(Debug, Default)]
struct Entry {
    generation: u32,
    /// The program's number, by which it was begun.
    number: i32,
    desk: i32,
    events: u32,
    file: Option<File>,
    readers: Vec<Reader>,
}

/// Those of one inode in the inotify.
#[derive(Debug, Default)]
struct InodeReaders(Vec<(u64, Arc<dyn Watched>, u32)>);

/// Where a file of the program's is to be had.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// At a number of the program's.
    Number(i32),
    /// It was sent: a descriptor of the keeper's, or `-errno`.
    Sent(i32),
}

impl From {
    /// The file is not needed.
    pub(super) fn let_go(self) {
        match self {
            Self::Sent(sent) if sent >= 0 => closing::close_strangers(vec![sent]),
            _ => {}
        }
    }
}

/// What only the keeper's thread touches.
#[derive(Debug)]
pub(super) struct Watches {
    epoll: i32,
    /// The process, as a descriptor.
    process: i32,
    /// Where files are sent to, if they cannot be taken.
    pub(super) inbox: Option<Inbox>,
    desks: Desks,
    entries: Vec<Entry>,
    free: Vec<u32>,
    sockets: HashMap<Id, u32>,
    /// How many of these entries go by this number of the program's.
    numbers: HashMap<(Id, i32, i32), u32>,
    leftovers: Leftovers,
    inotify: i32,
    inodes: HashMap<i32, InodeReaders>,
    /// Since [`was_quiet`](Self::was_quiet) was asked: somebody was told, and somebody had waited for it.
    told: bool,
    awaited: bool,
    signals: i32,
    told_signals: Option<fn(u32)>,
    serial: u64,
}

impl Watches {
    pub(super) fn new(epoll: i32, process: i32, inbox: Option<Inbox>) -> Self {
        let watches = Self {
            epoll,
            process,
            inbox,
            desks: Desks::new(epoll),
            entries: Vec::new(),
            free: Vec::new(),
            sockets: HashMap::new(),
            numbers: HashMap::new(),
            leftovers: Leftovers::default(),
            inotify: -1,
            inodes: HashMap::new(),
            told: false,
            awaited: false,
            signals: -1,
            told_signals: None,
            serial: 0,
        };
        if let Some(inbox) = &watches.inbox {
            watches.watch_own(inbox.socket, MAIL);
        }
        watches
    }

    /// Where the files of `numbers` are to be had that were sent with this ticket, if they were.
    pub(super) fn sent(&mut self, ticket: u64, numbers: &[i32]) -> Vec<From> {
        match &mut self.inbox {
            Some(inbox) if ticket != 0 => {
                inbox.claim(ticket, numbers.len()).into_iter().map(From::Sent).collect()
            }
            _ => numbers.iter().copied().map(From::Number).collect(),
        }
    }

    /// Does something to the watch of a taken file, which is closed.
    fn at_desk(&mut self, taken: i32, desk: usize, act: impl FnOnce(i32, i32) -> isize) -> isize {
        match self.desks.put(taken, desk) {
            Ok(number) => act(self.epoll, number),
            Err(error) => error,
        }
    }

    /// Lets go of every file that lies on a desk.
    pub(super) fn tidy(&mut self) {
        self.desks.tidy();
    }

    /// Begins a watch. What is ready at once is asked for by [`first`](Self::first).
    pub(super) fn begin(&mut self, order: Order, from: From) -> Result<WatchId, isize> {
        // The keeper would wait for that program, and all who wait for the keeper with it.
        if order.file.sort == Sort::Other && order.file.is_served() {
            from.let_go();
            return Err(-EPERM);
        }
        let taken = self.take(from, order.file)?;
        let known = if order.file.is_socket() { self.sockets.get(&order.file.id) } else { None };
        let joined = known.copied().and_then(|index| self.join(taken, index, &order));
        let index = match joined {
            Some(index) => Ok(index),
            None => self.add(taken, &order),
        };
        kernel::close(taken);
        let index = index?;
        self.serial += 1;
        let entry = &mut self.entries[index as usize];
        let Order { number, events, wake_all, who, .. } = order;
        let serial = self.serial;
        entry.readers.push(Reader { serial, who, number, events, wake_all, first: Some(0) });
        Ok(WatchId { index, generation: entry.generation, serial })
    }

    fn event(index: u32, entry: &Entry) -> EpollEvent {
        let data = WATCH | u64::from(entry.generation & 0x3fff_ffff) << 32 | u64::from(index);
        EpollEvent { events: entry.events | EPOLLET, data }
    }

    /// Adds to the watch of a socket. `None`: that is gone, and another socket has its inode.
    fn join(&mut self, taken: i32, index: u32, order: &Order) -> Option<u32> {
        let entry = &mut self.entries[index as usize];
        let desk = entry.desk as usize;
        entry.events |= order.events;
        let event = Self::event(index, entry);
        let changed =
            self.at_desk(taken, desk, |epoll, at| descriptor::watch(epoll, at, event, true));
        if changed == 0 {
            return Some(index);
        }
        for reader in self.drop_entry(index) {
            reader.who.broken(EBADF as i32);
        }
        None
    }

    /// A desk on which no file of this inode lies, and one that nobody listens to only if there is no other.
    fn own_desk(&mut self, file: &File) -> Option<usize> {
        let clean = |watches: &Self, most: usize| {
            let mut desks = watches.desks.free(file).take(most);
            desks.find(|desk| !watches.leftovers.may_lie(file.id, *desk))
        };
        let free = self.desks.free(file).next()?;
        // What is noted then is there, or it was not found out: so many are not left behind that all desks have some.
        let found = clean(self, CHOICE).or_else(|| {
            self.look_for_leftovers();
            clean(self, usize::MAX)
        });
        Some(found.unwrap_or(free))
    }

    fn add(&mut self, taken: i32, order: &Order) -> Result<u32, isize> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            self.entries.len() as u32 - 1
        });
        let (file, number, events) = (order.file, order.number, order.events);
        let (id, is_socket) = (file.id, file.is_socket());
        self.take_out_leftover(taken, id);
        let generation = self.entries[index as usize].generation;
        // Else one that it shares.
        let own = self.own_desk(&file);
        let mut desk = own.filter(|desk| self.desks.ensure(*desk) == 0).unwrap_or(0);
        let answer = loop {
            let made = self.desks.ensure(desk);
            if made < 0 {
                break made;
            }
            let desk_number = desk as i32;
            // See `identity`.
            if self.numbers.contains_key(&(id, number, desk_number)) {
                desk += 1;
                continue;
            }
            let (readers, file) = (Vec::new(), Some(file));
            let entry = Entry { generation, number, desk: desk_number, events, file, readers };
            let event = Self::event(index, &entry);
            self.entries[index as usize] = entry;
            let add = |epoll, at| descriptor::watch(epoll, at, event, false);
            let mut answer = self.at_desk(taken, desk, add);
            if answer == -EEXIST && !self.desks.is_occupied(id, desk) {
                // A watch without readers, of a number that was closed before it was taken back.
                let change = |epoll, at| descriptor::watch(epoll, at, event, true);
                answer = self.at_desk(taken, desk, change);
                self.leftovers.strike(id, desk);
            }
            if answer != -EEXIST {
                break answer;
            }
            desk += 1;
        };
        if answer < 0 {
            self.free.push(index);
            return Err(answer);
        }
        if is_socket {
            self.sockets.insert(id, index);
        } else {
            self.desks.occupy(id, desk);
            *self.numbers.entry((id, number, desk as i32)).or_default() += 1;
        }
        Ok(index)
    }

    /// What was ready at once for a watch that was just begun. From here on it is told.
    pub(super) fn first(&mut self, watch: WatchId) -> u32 {
        let Some(entry) = self.find(watch) else { return 0 };
        let reader = entry.readers.iter_mut().find(|reader| reader.serial == watch.serial);
        reader.and_then(|reader| reader.first.take()).unwrap_or(0)
    }

    fn find(&mut self, watch: WatchId) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(watch.index as usize)?;
        (entry.generation == watch.generation).then_some(entry)
    }

    fn drop_entry(&mut self, index: u32) -> Vec<Reader> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let file = entry.file.take();
        let readers = std::mem::take(&mut entry.readers);
        let (desk, number) = (entry.desk, entry.number);
        match file {
            Some(file) if file.is_socket() => drop(self.sockets.remove(&file.id)),
            Some(file) => {
                self.desks.vacate(file.id, desk as usize);
                strike(&mut self.numbers, (file.id, number, desk));
            }
            None => {}
        }
        self.free.push(index);
        readers
    }

    /// Ends a watch.
    pub(super) fn leave(&mut self, ended: Ended, from: From) {
        if !self.try_leave(ended, from) {
            from.let_go();
        }
    }

    /// As [`leave`](Self::leave); false if the file was not needed.
    fn try_leave(&mut self, ended: Ended, from: From) -> bool {
        let Ended { watch, unsaid, .. } = ended;
        let Some(entry) = self.find(watch) else { return false };
        let at = entry.readers.iter().position(|reader| reader.serial == watch.serial);
        let Some(at) = at else { return false };
        entry.readers.remove(at);
        let (desk, file) = (entry.desk as usize, entry.file);
        if !entry.readers.is_empty() {
            if unsaid != 0 {
                self.tell_again(watch.index, from, unsaid);
            }
            return unsaid != 0;
        }
        self.drop_entry(watch.index);
        let Some(file) = file else { return false };
        let is_out = self.take_again(from, file).is_ok_and(|taken| {
            let out = self.at_desk(taken, desk, descriptor::forget);
            kernel::close(taken);
            out == 0
        });
        if !is_out {
            // The epoll forgets it when its file is closed, and nobody listens till then.
            self.leave_behind(file, desk);
        }
        true
    }

    /// Has those that are left told of what is ready now: changing a watch does that. If nobody's number is the file's
    /// they are told of `unsaid`, so that nothing is lost.
    fn tell_again(&mut self, index: u32, from: From, unsaid: u32) {
        let entry = &mut self.entries[index as usize];
        entry.events = entry.readers.iter().fold(0, |events, reader| events | reader.events);
        let (desk, file, event) = (entry.desk as usize, entry.file, Self::event(index, entry));
        let numbers = entry.readers.iter().map(|reader| From::Number(reader.number));
        let places: Vec<_> = std::iter::once(from).chain(numbers).collect();
        let Some(file) = file else { return };
        // Who has left may have been closed, and the others not.
        if let Some(taken) = places.into_iter().find_map(|from| self.take_again(from, file).ok()) {
            self.at_desk(taken, desk, |epoll, at| descriptor::watch(epoll, at, event, true));
            kernel::close(taken);
        } else {
            self.ready(event.data, unsaid);
        }
    }

    /// An event of the epoll; false if it is not one of these.
    pub(super) fn told(&mut self, data: u64, events: u32) -> bool {
        match data {
            INODES => self.read_inodes(),
            SIGNALS => self.read_signals(),
            MAIL => self.inbox.iter_mut().for_each(Inbox::empty),
            _ if data & WATCH != 0 => self.ready(data, events),
            _ => return false,
        }
        true
    }

    /// Events were told of since this was asked last, and nobody was waiting for any.
    pub(super) fn was_quiet(&mut self) -> bool {
        let told = std::mem::take(&mut self.told);
        !std::mem::take(&mut self.awaited) && told
    }

    /// Whether it is the data of a watch that has not ended.
    fn is_listened_to(&self, data: u64) -> bool {
        let (index, generation) = (data as u32, (data >> 32) as u32 & 0x3fff_ffff);
        let entry = self.entries.get(index as usize);
        entry.is_some_and(|entry| entry.generation & 0x3fff_ffff == generation)
    }

    fn ready(&mut self, data: u64, events: u32) {
        if !self.is_listened_to(data) {
            return;
        }
        let Some(entry) = self.entries.get_mut(data as u32 as usize) else { return };
        // Each interest is answered once, but for those who want to be told whoever else is.
        let mut given = 0;
        for reader in &mut entry.readers {
            let over = events & (POLLERR | POLLHUP);
            if let Some(first) = &mut reader.first {
                *first |= events & reader.events | over;
                continue;
            }
            let left = if reader.wake_all { reader.events } else { reader.events & !given };
            let found = events & left | over;
            if found == 0 || (left == 0 && reader.events != 0) {
                continue;
            }
            let told = Arc::clone(&reader.who).ready(found);
            self.told = true;
            self.awaited |= told == Told::Awaited;
            if told != Told::Gone && !reader.wake_all {
                // Errors and the end answer whatever was asked.
                given |= if over == 0 { found } else { left };
            }
        }
    }

    fn watch_own(&self, number: i32, data: u64) {
        descriptor::watch(self.epoll, number, EpollEvent { events: POLLIN, data }, false);
    }

    /// See `source::take_signals`.
    pub(super) fn take_signals(&mut self, mask: u64, each: fn(u32)) {
        self.told_signals = Some(each);
        let made = descriptor::signals(self.signals, mask) as i32;
        if self.signals < 0 && made >= 0 {
            self.signals = made;
            self.watch_own(made, SIGNALS);
        }
    }

    fn read_signals(&mut self) {
        let mut bytes = [0; 16 * SIGNALFD_SIGINFO];
        let count = descriptor::read(self.signals, &mut bytes).max(0) as usize;
        for info in bytes[..count].as_chunks::<SIGNALFD_SIGINFO>().0 {
            let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            if let Some(told) = self.told_signals {
                told(number);
            }
        }
    }
}

/// One less.
fn strike<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Entries::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
