//! Waiting for several descriptors: `poll` and `ppoll` of more than one, `select` and `pselect6`.

#![allow(unsafe_code, reason = "reads and writes the sets of a call")]

use syslet_sys::arch;
use syslet_sys::memory::is_writable;
use syslet_sys::uapi::{POLLIN, POLLOUT, POLLPRI, Timeval, nr};

use super::number::Call;
use super::twin::Attempt;

/// Most descriptors that are waited for without a thread: `FD_SETSIZE`.
const MOST: usize = 1024;
const WORDS: usize = MOST / 64;

/// True if `call` is a `select` or a `pselect6`.
pub(super) fn is_select(call: &Call) -> bool {
    matches!(call.nr(), nr::SELECT | nr::PSELECT6)
}

/// True if `call` waits for so many descriptors that a thread had better do it.
pub(super) fn is_too_large(call: &Call) -> bool {
    let args = call.args();
    let count = if is_select(call) { args[0] } else { args[1] };
    count > MOST
}

/// True if the sets of `call`, which is not too large, can be read and written, or it has none. If not, the
/// kernel is to find it.
pub(super) fn sets_are_there(call: &Call) -> bool {
    let is_there = |at| at == 0 || is_writable(at, Sets::empty(call).bytes);
    !is_select(call) || Sets::addresses(call).into_iter().all(is_there)
}

/// Copies of the three sets of a `select`.
#[derive(Debug)]
struct Sets {
    words: [[u64; WORDS]; 3],
    /// Bytes of each that the call uses.
    bytes: usize,
}

impl Sets {
    /// The addresses of the caller's sets; 0 for none.
    fn addresses(call: &Call) -> [usize; 3] {
        let args = call.args();
        [args[1], args[2], args[3]]
    }

    /// Sets of the size of those of `call`, which is not too large, with nothing in them.
    fn empty(call: &Call) -> Self {
        Self { words: [[0; WORDS]; 3], bytes: call.args()[0].div_ceil(64) * 8 }
    }

    /// # Safety
    ///
    /// The sets of `call`, which is not too large, are readable.
    unsafe fn of(call: &Call) -> Self {
        let mut sets = Self::empty(call);
        for (words, from) in sets.words.iter_mut().zip(Self::addresses(call)) {
            if from != 0 {
                // SAFETY: the duty of this function; there are words enough.
                unsafe { std::ptr::copy(from as *const u8, words.as_mut_ptr().cast(), sets.bytes) };
            }
        }
        sets
    }

    /// Writes them over the caller's.
    ///
    /// # Safety
    ///
    /// The sets of `call` are writable.
    unsafe fn store(&self, call: &Call) {
        for (words, to) in self.words.iter().zip(Self::addresses(call)) {
            if to != 0 {
                // SAFETY: the duty of this function; `of` has read as many.
                unsafe { std::ptr::copy(words.as_ptr().cast(), to as *mut u8, self.bytes) };
            }
        }
    }
}

/// Asks what is ready, without waiting. If nothing is, and the answer is 0, the sets of a `select` are
/// left as they are.
///
/// # Safety
///
/// The call may be made, and is not too large.
pub(crate) unsafe fn ask(call: &Call) -> isize {
    if !is_select(call) {
        let Some(attempt) = Attempt::zero(call) else { return 0 };
        // SAFETY: the duty of this function.
        return unsafe { attempt.make() };
    }
    // SAFETY: as above.
    let mut sets = unsafe { Sets::of(call) };
    let mut at = [0; 3];
    for ((at, words), given) in at.iter_mut().zip(&mut sets.words).zip(Sets::addresses(call)) {
        *at = if given == 0 { 0 } else { words.as_mut_ptr() as usize };
    }
    let zero = Timeval::default();
    let time = &raw const zero as usize;
    // SAFETY: copies and a time of this function's.
    let answer =
        unsafe { arch::syscall(nr::SELECT, [call.args()[0], at[0], at[1], at[2], time, 0]) };
    if answer > 0 {
        // SAFETY: the duty of this function.
        unsafe { sets.store(call) };
    }
    answer
}

/// The time of `call` is over: nothing is ready.
///
/// # Safety
///
/// As [`ask`].
pub(crate) unsafe fn store_nothing(call: &Call) {
    if is_select(call) {
        // SAFETY: the duty of this function.
        unsafe { Sets::empty(call).store(call) };
    }
}

/// The descriptors that `call` waits for, each once, with the events of epoll.
///
/// # Safety
///
/// As [`ask`].
pub(crate) unsafe fn interests(call: &Call) -> Vec<(i32, u32)> {
    let mut found: Vec<(i32, u32)> = Vec::new();
    let args = call.args();
    if is_select(call) {
        // SAFETY: the duty of this function.
        let sets = unsafe { Sets::of(call) };
        for number in 0..args[0] {
            let is_in = |set: usize| sets.words[set][number / 64] & (1 << (number % 64)) != 0;
            let wanted = [POLLIN, POLLOUT, POLLPRI];
            let events = (0..3).filter(|set| is_in(*set)).map(|set| wanted[set]).sum();
            if events != 0 {
                found.push((number as i32, events));
            }
        }
        return found;
    }
    for at in 0..args[1] {
        let entry = (args[0] as *const (i32, u16, u16)).wrapping_add(at); // struct pollfd
        // SAFETY: as above.
        let (number, events, _) = unsafe { entry.read_unaligned() };
        if number >= 0 {
            found.push((number, u32::from(events)));
        }
    }
    found.sort_unstable();
    found.dedup_by(|next, one| {
        let same = next.0 == one.0;
        if same {
            one.1 |= next.1;
        }
        same
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_is_named_once() {
        let entries = [(5i32, 1u16, 0u16), (-1, 1, 0), (3, 4, 0), (5, 4, 0)];
        let call = Call::new(nr::POLL, [entries.as_ptr() as usize, entries.len(), 0]);
        // SAFETY: they live.
        assert_eq!(unsafe { interests(&call) }, [(3, 4), (5, 5)]);
    }

    #[test]
    fn sets_are_read_as_far_as_they_go() {
        let (reads, writes) = ([1u64 << 2, 1 << 6 | 1 << 7], [1u64 << 2, 0]);
        let args = [71, reads.as_ptr() as usize, writes.as_ptr() as usize, 0, 0];
        let call = Call::new(nr::SELECT, args);
        // SAFETY: they live.
        assert_eq!(unsafe { interests(&call) }, [(2, POLLIN | POLLOUT), (70, POLLIN)]);
    }
}
