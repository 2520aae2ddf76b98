//! The sockets by which files are being sent, and what becomes of their copies in a child.
//!
//! A child that is forked meanwhile has copies of them, which it closes: so each is in a list from when it is made
//! until it is closed. A *gate* keeps forks away while a socket is made or struck off, and who does that away while a
//! child is forked. It keeps nobody away for ever: between our handler before a fork and the fork the program's own
//! handlers run, which may wait for a lock that who sends holds. Then he goes on without, and so does everybody until
//! that fork is done. At worst a child keeps a socket, until it execs.

use std::cell::Cell;
use std::time::{Duration, Instant};

use syslet_sys::uapi::{EBADF, Timespec};
use syslet_sys::{call as kernel, descriptor, futex};

use super::gate::{FORKS, Found, Gate, SENDS};
use super::{errno, new_socket};
use crate::sync::{AtomicU64, Ordering};

/// Sockets by which files are being sent: number and lower half of the inode, which tells whether the number is theirs
/// still. 0: none.
static IN_USE: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static GATE: Gate = Gate::new();

/// How long one waits for the gate. Who changes the list holds it for some system calls; a fork takes a millisecond for
/// each gibibyte or so, without what its handlers wait for.
const PATIENCE: Duration = Duration::from_millis(20);
/// Sockets that are made in a row because the program closes all its descriptors just then.
const ATTEMPTS: usize = 3;

/// Closes the gate, for `SENDS` or `FORKS`. False: it is closed still, and the caller goes on without.
///
/// **Blocking**: until it is open, at most [`PATIENCE`].
fn close_gate(wanted: u32) -> bool {
    let mut until = None;
    loop {
        let word = match GATE.close(wanted) {
            Found::Closed => return true,
            Found::GivenUp => return false,
            Found::Busy(word) => word,
        };
        let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            wake_if(GATE.give_up());
            return false;
        }
        if let Some(word) = GATE.is_to_wait(word) {
            let rest = Timespec::from_nanos(rest.as_nanos() as u64);
            futex::wait(GATE.word(), word, Some(&rest));
        }
    }
}

fn open_gate() {
    wake_if(GATE.open());
}

fn wake_if(waited: bool) {
    if waited {
        futex::wake(GATE.word(), i32::MAX as u32);
    }
}

/// Does `act` while no child is forked, if that can be waited for.
fn without_forks<T>(act: impl FnOnce() -> T) -> T {
    let closed = close_gate(SENDS);
    let done = act();
    if closed {
        open_gate();
    }
    done
}

/// A socket that is closed when it has served.
pub(super) struct InUse(u64);

impl InUse {
    /// A new socket, in use, and its number; or `-errno`.
    pub(super) fn new() -> Result<(i32, Self), isize> {
        let make = || match new_socket() {
            socket if socket < 0 => Some(Err(errno())),
            socket => Self::note(socket).map(|used| Ok((socket, used))),
        };
        without_forks(|| (0..ATTEMPTS).find_map(|_| make()))
            .unwrap_or(Err(-(libc::EMFILE as isize)))
    }

    /// `None`: the program has closed it already, with everything else.
    fn note(socket: i32) -> Option<Self> {
        let inode = match descriptor::stat(socket) {
            Err(error) if error == -EBADF => return None,
            // 0: it cannot be told from others.
            found => found.map_or(0, |stat| stat.ino as u32),
        };
        let word = (socket as u64) << 32 | u64::from(inode);
        // If all places are taken a child may keep it.
        let _ = IN_USE.iter().find(|place| change(place, 0, word));
        Some(Self(word))
    }

    pub(super) fn close(self) {
        close_if_still(self.0);
        // Not while a child is forked: it gets its descriptors before it gets its memory.
        let _ = without_forks(|| IN_USE.iter().find(|place| change(place, self.0, 0)));
    }
}

fn change(place: &AtomicU64, from: u64, to: u64) -> bool {
    place.load(Ordering::Relaxed) == from
        && place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// If the program has closed the socket meanwhile, with everything else, its number may be another file's.
fn close_if_still(word: u64) {
    let (socket, inode) = ((word >> 32) as i32, word as u32);
    if inode == 0 || descriptor::stat(socket).is_ok_and(|stat| stat.ino as u32 == inode) {
        kernel::close(socket);
    }
}

thread_local! {
    /// The thread forks, and has closed the gate for it.
    static CLOSED: Cell<bool> = const { Cell::new(false) };
}

/// Before a fork. If a signal handler forks that has interrupted who opens a socket, it goes on without, after a while.
pub(crate) fn before_fork() {
    if !CLOSED.get() {
        CLOSED.set(close_gate(FORKS));
    }
}

/// After a fork, in the parent.
pub(crate) fn after_fork() {
    if CLOSED.replace(false) {
        open_gate();
    }
}

/// In a child: closes the copies of sockets by which threads of the parent's were sending. The forking thread was not,
/// or finds it closed.
pub(crate) fn forked() {
    for place in &IN_USE {
        match place.swap(0, Ordering::Relaxed) {
            0 => {}
            word => close_if_still(word),
        }
    }
    CLOSED.set(false);
    // Whoever had closed it: the child has no other thread.
    open_gate();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that no other test has: they take the lowest that is free.
    fn remote(socket: i32) -> i32 {
        // SAFETY: no memory.
        let number = unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 900) };
        assert!(number >= 900, "{}", errno());
        kernel::close(socket);
        number
    }

    #[test]
    fn a_socket_that_the_program_has_closed_is_not_in_use() {
        let number = remote(new_socket());
        kernel::close(number);
        assert!(InUse::note(number).is_none());
    }

    #[test]
    fn a_number_that_is_another_files_by_now_is_left_alone() {
        let number = remote(new_socket());
        let used = InUse::note(number).expect("it is open");
        let other = new_socket();
        // SAFETY: numbers of this test.
        assert_eq!(unsafe { libc::dup2(other, number) }, number);
        used.close();
        assert!(descriptor::stat(number).is_ok());
        [number, other].into_iter().for_each(kernel::close);
    }
}
