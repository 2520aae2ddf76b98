//! The requests that are outstanding, by descriptor and in the order in which they were asked for; and which of
//! them wait for others.
//!
//! Two kinds wait. An `aio_fsync` waits for all that was asked for before it on its descriptor: it may begin
//! when it is the oldest, and then does the work of all that come right behind it. And what takes effect in order
//! waits for its lane: writes that append, and reads and writes of what has no position, one at a time. Reads and
//! writes of a file wait for nobody.
//!
//! A descriptor is known by its number. A program that closes it meanwhile, and opens another file that gets the
//! number, has what it asks for there ordered with what is still under way, which costs time only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use syslet_dropin::call::lock;
use syslet_dropin::life::PerLife;

use crate::begin::OUTSTANDING;
use crate::block::Block;
use crate::fork;
use crate::request::{Request, What};

/// Parts of the desk, each with its lock.
const SHARDS: usize = 64;
/// Descriptors that are counted apart; others share their places.
const NUMBERS: usize = 4096;

/// What takes effect in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Reads,
    Writes,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    shards: [Mutex<Shard>; SHARDS],
    /// Requests that are outstanding, by lane: all writes, and reads of what has no position.
    counts: [Box<[AtomicU32]>; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    descriptors: HashMap<c_int, Descriptor>,
    /// The number of the request that came last.
    last: u64,
}

/// What is outstanding on one descriptor.
#[derive(Debug, Default)]
struct Descriptor {
    /// By number, so the first is the oldest.
    live: BTreeMap<u64, Arc<Request>>,
    lanes: [Queue; 2],
    /// The last sync that has begun, or that one which has does the work of.
    syncing: u64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Under way.
    running: u32,
    waiting: VecDeque<Arc<Request>>,
}

static DESK: PerLife<Desk> = PerLife::new();

impl Default for Desk {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            counts: [(); 2].map(|()| (0..NUMBERS).map(|_| AtomicU32::new(0)).collect()),
        }
    }
}

impl Desk {
    pub(crate) fn shards(&self) -> &[Mutex<Shard>] {
        &self.shards
    }

    fn shard(&self, descriptor: c_int) -> MutexGuard<'_, Shard> {
        lock(&self.shards[descriptor as usize % SHARDS])
    }

    fn count(&self, lane: Lane, descriptor: c_int) -> &AtomicU32 {
        &self.counts[lane as usize][descriptor as usize % NUMBERS]
    }
}

impl Shard {
    /// All that is outstanding.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &Arc<Request>> {
        self.descriptors.values().flat_map(|descriptor| descriptor.live.values())
    }

    fn put(&mut self, request: &Arc<Request>) -> &mut Descriptor {
        self.last += 1;
        request.number.store(self.last, Ordering::Relaxed);
        let descriptor = self.descriptors.entry(request.descriptor()).or_default();
        descriptor.live.insert(self.last, Arc::clone(request));
        descriptor
    }
}

impl Descriptor {
    /// Has it begin, or wait for its turn. True: it begins.
    fn queue(&mut self, lane: Lane, request: &Arc<Request>) -> bool {
        let queue = &mut self.lanes[lane as usize];
        let free = queue.running == 0 && queue.waiting.is_empty();
        if free {
            queue.running += 1;
        } else {
            queue.waiting.push_back(Arc::clone(request));
        }
        free
    }

    /// Takes a request that had begun off its lane. What may begin then.
    fn leave_lane(&mut self, lane: Lane) -> Option<Arc<Request>> {
        let queue = &mut self.lanes[lane as usize];
        queue.running -= 1;
        if queue.running > 0 {
            return None;
        }
        let next = queue.waiting.pop_front()?;
        queue.running += 1;
        Some(next)
    }

    /// The oldest request, if it is a sync that has not begun. It begins, and does the work of those right behind it.
    fn next_sync(&mut self) -> Option<Arc<Request>> {
        let (number, request) = self.live.first_key_value()?;
        let What::Sync(sync) = request.what else { return None };
        if *number <= self.syncing {
            return None;
        }
        let joins = |other: &Arc<Request>| match other.what {
            What::Sync(other) => sync.does(other),
            What::Read | What::Write => false,
        };
        let joined = self.live.iter().take_while(|(_, other)| joins(other));
        self.syncing = joined.last().map_or(*number, |(last, _)| *last);
        Some(Arc::clone(request))
    }
}

/// True if a lane of the descriptor is in use; or of another one that shares its place.
#[inline]
pub(crate) fn is_used(lane: Lane, descriptor: c_int) -> bool {
    OUTSTANDING.load(Ordering::Relaxed) > 0
        && DESK.get().count(lane, descriptor).load(Ordering::Relaxed) > 0
}

/// True if a request is outstanding.
pub(crate) fn any_outstanding() -> bool {
    OUTSTANDING.load(Ordering::SeqCst) > 0
}

fn count(request: &Request) -> &'static Desk {
    fork::install();
    OUTSTANDING.fetch_add(1, Ordering::Relaxed);
    let desk = DESK.get();
    if let Some(lane) = request.lane() {
        desk.count(lane, request.descriptor()).fetch_add(1, Ordering::Relaxed);
    }
    desk
}

/// A request whose call the engine has, and that waits for nobody.
pub(crate) fn enter(request: &Arc<Request>) {
    let mut shard = count(request).shard(request.descriptor());
    let descriptor = shard.put(request);
    if let Some(lane) = request.lane() {
        descriptor.lanes[lane as usize].running += 1;
    }
}

/// A request that takes effect in order. True: it begins now; else when its turn has come.
pub(crate) fn enter_in_order(request: &Arc<Request>) -> bool {
    let lane = request.lane().expect("what takes effect in order has a lane");
    let mut shard = count(request).shard(request.descriptor());
    shard.put(request).queue(lane, request)
}

/// A sync. True: it begins now; else after all that is outstanding.
pub(crate) fn enter_behind(request: &Arc<Request>) -> bool {
    let mut shard = count(request).shard(request.descriptor());
    shard.put(request).next_sync().is_some()
}

/// A request is over. What waited for it may begin now.
pub(crate) fn leave(request: &Arc<Request>) -> Vec<Arc<Request>> {
    let desk = DESK.get();
    let number = request.number.load(Ordering::Relaxed);
    let key = request.descriptor();
    let mut next = Vec::new();
    let mut shard = desk.shard(key);
    if let Some(descriptor) = shard.descriptors.get_mut(&key) {
        // If not: it was withdrawn.
        if descriptor.live.remove(&number).is_some() {
            OUTSTANDING.fetch_sub(1, Ordering::Relaxed);
            if let Some(lane) = request.lane() {
                desk.count(lane, key).fetch_sub(1, Ordering::Relaxed);
                next.extend(descriptor.leave_lane(lane));
            }
        }
        next.extend(descriptor.next_sync());
        if descriptor.live.is_empty() {
            shard.descriptors.remove(&key);
        }
    }
    next
}

/// The syncs that a sync which has begun does the work of, oldest first. If it was `cancelled` it does not: none.
pub(crate) fn joined(sync: &Request, cancelled: bool) -> Vec<Arc<Request>> {
    let mut shard = DESK.get().shard(sync.descriptor());
    let number = sync.number.load(Ordering::Relaxed);
    let Some(descriptor) = shard.descriptors.get_mut(&sync.descriptor()) else { return Vec::new() };
    if number >= descriptor.syncing {
        return Vec::new(); // withdrawn, or alone
    }
    if cancelled {
        descriptor.syncing = number;
        return Vec::new();
    }
    let joined = descriptor.live.range(number + 1..=descriptor.syncing);
    joined.map(|(_, other)| Arc::clone(other)).collect()
}

/// The requests outstanding on a descriptor, oldest first; or the one of a block, if it is.
pub(crate) fn outstanding(descriptor: c_int, block: Option<Block>) -> Vec<Arc<Request>> {
    let shard = DESK.get().shard(descriptor);
    let Some(descriptor) = shard.descriptors.get(&descriptor) else { return Vec::new() };
    let wanted = |request: &&Arc<Request>| {
        !request.is_over() && block.is_none_or(|block| block == request.block)
    };
    descriptor.live.values().filter(wanted).cloned().collect()
}

/// True if it waits for others: it is decided then, and never begins.
pub(crate) fn withdraw(request: &Arc<Request>) -> bool {
    let desk = DESK.get();
    let mut shard = desk.shard(request.descriptor());
    let number = request.number.load(Ordering::Relaxed);
    let Some(descriptor) = shard.descriptors.get_mut(&request.descriptor()) else { return false };
    let waits = match (request.what, request.lane()) {
        (What::Sync(_), _) => number > descriptor.syncing,
        (_, Some(lane)) => {
            let waiting = &descriptor.lanes[lane as usize].waiting;
            waiting.iter().any(|waiting| waiting.number.load(Ordering::Relaxed) == number)
        }
        (_, None) => false,
    };
    if !waits || !request.decide() {
        return false;
    }
    // Under the same lock: nobody finds it any more to begin it. What waited for it is begun when it leaves.
    descriptor.live.remove(&number);
    OUTSTANDING.fetch_sub(1, Ordering::Relaxed);
    if let Some(lane) = request.lane() {
        desk.count(lane, request.descriptor()).fetch_sub(1, Ordering::Relaxed);
        let waiting = &mut descriptor.lanes[lane as usize].waiting;
        waiting.retain(|waiting| waiting.number.load(Ordering::Relaxed) != number);
    }
    true
}

/// The desk of this process.
pub(crate) fn desk() -> &'static Desk {
    DESK.get()
}
