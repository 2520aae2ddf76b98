//! Turns: so many may be away at a place; who finds no room waits in a line, first come, first served.
//!
//! # The protocol
//!
//! Each place has two counts: how many are *away* there, and how many *wait*. The lines are under one lock. Who comes
//! enters if nobody waits and there is room; if not he counts himself among those who wait, gets into the line, and
//! *starts* it: takes from its front as long as there is room, and enters for each. Who leaves, or raises the limit,
//! starts the line too, if anybody waits.
//!
//! Nobody is left in a line at which there is room: who waits has counted himself before he looks whether there is
//! room, who leaves has left before he looks whether anybody waits, and a SeqCst fence stands between the two on both
//! sides. So one of them sees the other; if both do, the lock has one of them find an empty line.
//!
//! Who waits may be withdrawn. He lies in the line still and counts, until he comes to its front, or many lie there.
//! That is while all places are taken: whoever leaves takes him out.

use std::collections::{HashMap, VecDeque};

use crate::sync::{AtomicU32, Mutex, Ordering, fence, lock};

/// Who waits for a turn.
pub(crate) trait Waits {
    /// False: it was withdrawn.
    fn is_wanted(&self) -> bool;
    /// Its turn has come; false: it was withdrawn.
    fn begin_turn(&self) -> bool;
}

/// Where in its line one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Back,
    Front,
}

#[derive(Debug, Default)]
struct Count {
    /// Less than nothing, as an `i32`, where one has left before it was counted.
    away: AtomicU32,
    /// Those too that were withdrawn and lie there still.
    waiting: AtomicU32,
}

/// See the module.
#[derive(Debug)]
#[repr(align(128))] // what each write reads is changed by few
pub(crate) struct Turns<J> {
    counts: Box<[Count]>,
    limit: AtomicU32,
    lines: Mutex<Lines<J>>,
}

impl<J: Waits> Turns<J> {
    pub(crate) fn new(places: usize, limit: u32) -> Self {
        Self {
            counts: (0..places).map(|_| Count::default()).collect(),
            limit: AtomicU32::new(limit),
            lines: Mutex::new(Lines::new()),
        }
    }

    fn count(&self, place: u32) -> &Count {
        &self.counts[place as usize]
    }

    /// True if as many are away as may be.
    #[inline(always)]
    pub(crate) fn full(&self, place: u32) -> bool {
        let away = self.count(place).away.load(Ordering::Relaxed);
        away as i32 >= self.limit.load(Ordering::Relaxed) as i32
    }

    /// One has gone away, whether there is room or not.
    pub(crate) fn enter(&self, place: u32) {
        self.count(place).away.fetch_add(1, Ordering::SeqCst);
    }

    /// One goes away, if there is room and nobody waits.
    pub(crate) fn try_enter(&self, place: u32) -> bool {
        !self.is_waited_for(place) && self.enter_first(place)
    }

    /// One goes away, if there is room, whoever waits.
    fn enter_first(&self, place: u32) -> bool {
        let limit = self.limit.load(Ordering::SeqCst) as i32;
        let one_more = |away: u32| ((away as i32) < limit).then(|| away.wrapping_add(1));
        self.count(place).away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    /// One is back. Who calls starts the line.
    pub(crate) fn leave(&self, place: u32) {
        self.count(place).away.fetch_sub(1, Ordering::SeqCst);
        fence(Ordering::SeqCst); // pairs with that of `queue`
    }

    /// Somebody waits there, or was withdrawn and lies there still.
    pub(crate) fn is_waited_for(&self, place: u32) -> bool {
        self.count(place).waiting.load(Ordering::SeqCst) > 0
    }

    /// Has `job` wait. Who calls starts the line.
    pub(crate) fn queue(&self, place: u32, job: J, end: End) {
        self.count(place).waiting.fetch_add(1, Ordering::SeqCst);
        lock(&self.lines).push(place, job, end);
        fence(Ordering::SeqCst); // pairs with those of `leave` and `set_limit`
    }

    /// The next one that waits, if there is room for it: it has entered. Who calls starts the line calls this until
    /// there is none.
    pub(crate) fn next(&self, place: u32) -> Option<J> {
        let mut dead = Vec::new(); // dropped without the lock
        let mut lines = lock(&self.lines);
        if !lines.lines.contains_key(&place) || !self.enter_first(place) {
            return None;
        }
        while let Some(job) = lines.pop(place) {
            self.count(place).waiting.fetch_sub(1, Ordering::SeqCst);
            if job.begin_turn() {
                return Some(job);
            }
            lines.dead = lines.dead.saturating_sub(1);
            dead.push(job);
        }
        self.leave(place);
        None
    }

    /// One of those that wait was withdrawn.
    pub(crate) fn withdrawn(&self) {
        let dead = {
            let mut lines = lock(&self.lines);
            lines.dead += 1;
            lines.sweep()
        };
        for (place, _) in &dead {
            self.count(*place).waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// So many may be away at a place from now on. Who calls starts the lines of these places.
    pub(crate) fn set_limit(&self, limit: u32) -> Vec<u32> {
        self.limit.store(limit, Ordering::SeqCst);
        fence(Ordering::SeqCst); // pairs with that of `queue`
        lock(&self.lines).lines.keys().copied().collect()
    }
}

/// Those that wait, by their places.
#[derive(Debug)]
#[repr(align(128))]
struct Lines<J> {
    /// None of them is empty.
    lines: HashMap<u32, VecDeque<J>>,
    /// How many lie there in all, and how many of these were withdrawn, about.
    all: usize,
    dead: usize,
}

/// So few that were withdrawn are left where they are.
const FEW_DEAD: usize = 32;

impl<J: Waits> Lines<J> {
    fn new() -> Self {
        Self { lines: HashMap::new(), all: 0, dead: 0 }
    }

    fn push(&mut self, place: u32, job: J, end: End) {
        let line = self.lines.entry(place).or_default();
        match end {
            End::Back => line.push_back(job),
            End::Front => line.push_front(job),
        }
        self.all += 1;
    }

    fn pop(&mut self, place: u32) -> Option<J> {
        let line = self.lines.get_mut(&place)?;
        let job = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&place);
        }
        self.all -= 1;
        Some(job)
    }

    /// Takes out those that were withdrawn, if they are many; and where they were.
    fn sweep(&mut self) -> Vec<(u32, J)> {
        let mut dead = Vec::new();
        if self.dead > FEW_DEAD.max(self.all / 2) {
            for (place, line) in &mut self.lines {
                let all = std::mem::take(line).into_iter();
                let (wanted, gone): (VecDeque<_>, VecDeque<_>) = all.partition(J::is_wanted);
                *line = wanted;
                dead.extend(gone.into_iter().map(|job| (*place, job)));
            }
            self.lines.retain(|_, line| !line.is_empty());
            self.all -= dead.len();
            self.dead = 0;
        }
        dead
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Withdrawn if the cell says so.
    struct Waiter(Rc<Cell<bool>>, u32);

    impl Waits for Waiter {
        fn is_wanted(&self) -> bool {
            self.0.get()
        }
        fn begin_turn(&self) -> bool {
            self.0.get()
        }
    }

    #[test]
    fn those_that_were_withdrawn_are_taken_out_and_the_others_keep_their_order() {
        let turns = Turns::new(2, 1);
        assert!(turns.try_enter(1) && !turns.try_enter(1));
        let wanted: Vec<_> = (0..100).map(|_| Rc::new(Cell::new(true))).collect();
        for (number, wanted) in wanted.iter().enumerate() {
            turns.queue(1, Waiter(Rc::clone(wanted), number as u32), End::Back);
        }
        for cell in wanted.iter().rev().step_by(3).chain(wanted.iter().rev().skip(1).step_by(3)) {
            cell.set(false);
            turns.withdrawn();
        }
        // Most were swept: their places in the line are free.
        let lying = wanted.iter().filter(|wanted| Rc::strong_count(wanted) > 1).count();
        assert!(lying < 70, "{lying} of 34 that are wanted");
        turns.queue(1, Waiter(Rc::new(Cell::new(true)), 1000), End::Front);
        let mut order = Vec::new();
        while turns.is_waited_for(1) {
            turns.leave(1);
            order.extend(turns.next(1).map(|some| some.1));
        }
        let left = (0..100).filter(|at| wanted[*at].get()).map(|at| at as u32);
        assert_eq!(order, [1000].into_iter().chain(left).collect::<Vec<_>>());
        turns.leave(1);
        assert!(turns.try_enter(1) && turns.full(1) && !turns.full(0));
    }
}

/// The models of the promises, run by loom: nobody is left in a line at which there is room; each is begun or was
/// withdrawn, and not both; the counts are right in the end.
#[cfg(all(loom, test))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::{End, Turns, Waits};
    use crate::sync::{AtomicU32, Ordering, bounded};

    const WAITS: u32 = 0;
    const BEGUN: u32 = 1;
    const WITHDRAWN: u32 = 2;

    struct Waiter(Arc<AtomicU32>);

    impl Waits for Waiter {
        fn is_wanted(&self) -> bool {
            self.0.load(Ordering::SeqCst) == WAITS
        }
        fn begin_turn(&self) -> bool {
            change(&self.0, BEGUN)
        }
    }

    fn change(state: &AtomicU32, to: u32) -> bool {
        state.compare_exchange(WAITS, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn start(turns: &Turns<Waiter>) {
        while turns.is_waited_for(0) && turns.next(0).is_some() {}
    }

    /// Comes: goes away at once, or waits.
    fn come(turns: &Turns<Waiter>, state: &Arc<AtomicU32>) {
        if turns.try_enter(0) {
            assert!(change(state, BEGUN));
        } else {
            turns.queue(0, Waiter(Arc::clone(state)), End::Back);
            start(turns);
        }
    }

    fn leave(turns: &Turns<Waiter>) {
        turns.leave(0);
        start(turns);
    }

    /// One place, and one that is away.
    fn taken() -> Arc<Turns<Waiter>> {
        let turns = Arc::new(Turns::new(1, 1));
        assert!(turns.try_enter(0));
        turns
    }

    fn is_free(turns: &Turns<Waiter>) -> bool {
        !turns.is_waited_for(0) && turns.try_enter(0) && turns.full(0)
    }

    #[test]
    fn nobody_waits_where_there_is_room() {
        loom::model(|| {
            let turns = taken();
            let other = Arc::clone(&turns);
            let leaver = thread::spawn(move || leave(&other));
            let state = Arc::new(AtomicU32::new(WAITS));
            come(&turns, &state);
            leaver.join().unwrap();
            assert_eq!(state.load(Ordering::SeqCst), BEGUN);
            leave(&turns);
            assert!(is_free(&turns));
        });
    }

    #[test]
    fn who_is_withdrawn_while_his_turn_comes_is_begun_or_not() {
        loom::model(|| {
            let turns = taken();
            let state = Arc::new(AtomicU32::new(WAITS));
            come(&turns, &state);
            let other = Arc::clone(&turns);
            let leaver = thread::spawn(move || leave(&other));
            if change(&state, WITHDRAWN) {
                turns.withdrawn();
            }
            leaver.join().unwrap();
            if state.load(Ordering::SeqCst) == BEGUN {
                leave(&turns);
            }
            assert!(is_free(&turns));
        });
    }

    #[test]
    fn a_limit_that_is_raised_lets_in_who_waits() {
        loom::model(|| {
            let turns = taken();
            let other = Arc::clone(&turns);
            let raiser = thread::spawn(move || {
                if !other.set_limit(2).is_empty() {
                    start(&other);
                }
            });
            let state = Arc::new(AtomicU32::new(WAITS));
            come(&turns, &state);
            raiser.join().unwrap();
            assert_eq!(state.load(Ordering::SeqCst), BEGUN);
        });
    }

    #[test]
    fn of_two_that_come_while_one_leaves_each_has_a_turn() {
        bounded(|| {
            let turns = taken();
            let states = [(); 2].map(|()| Arc::new(AtomicU32::new(WAITS)));
            let (other, state) = (Arc::clone(&turns), Arc::clone(&states[0]));
            let comer = thread::spawn(move || come(&other, &state));
            let other = Arc::clone(&turns);
            let leaver = thread::spawn(move || leave(&other));
            come(&turns, &states[1]);
            comer.join().unwrap();
            leaver.join().unwrap();
            let begun = || states.iter().filter(|s| s.load(Ordering::SeqCst) == BEGUN).count();
            assert_eq!(begun(), 1);
            leave(&turns);
            assert_eq!(begun(), 2);
            leave(&turns);
            assert!(is_free(&turns));
        });
    }
}
