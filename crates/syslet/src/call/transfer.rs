//! Transfers on a descriptor, `read` and `write` and their kin: in which direction, from or to where in memory and
//! in the file, and how much.

#![allow(unsafe_code, reason = "reads the vectors of a call")]

use syslet_sys::uapi::{RWF_NOWAIT, nr};

use super::number::Call;

/// Most bytes of one transfer, whatever it asks for: the kernel's MAX_RW_COUNT, on pages of 4 KiB.
pub(super) const MOST: usize = 0x7fff_f000;

/// `struct iovec`.
pub(super) type Vector = [usize; 2];

/// Where in the file a transfer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Where the file's own position is, which it moves.
    Own,
    /// Here.
    At(usize),
    /// Nowhere: the call itself must find the error.
    Unsound,
}

/// The form of a transfer: `read`, `write`, and those with `p` for a position, `v` for vectors, 2 for flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transfer {
    /// It reads; else it writes.
    pub(super) reads: bool,
    /// Vectors name its memory; else address and length do.
    pub(super) has_vectors: bool,
    pub(super) position: Position,
    /// The flags of `preadv2` and `pwritev2`; 0 of others.
    pub(super) flags: usize,
}

impl Transfer {
    /// That of `call`, if it is one.
    #[inline(always)]
    pub(super) fn of(call: &Call) -> Option<Self> {
        let (reads, has_vectors, form) = match call.nr() {
            nr::READ => (true, false, Form::Plain),
            nr::WRITE => (false, false, Form::Plain),
            nr::READV => (true, true, Form::Plain),
            nr::WRITEV => (false, true, Form::Plain),
            nr::PREAD64 => (true, false, Form::Positioned),
            nr::PWRITE64 => (false, false, Form::Positioned),
            nr::PREADV => (true, true, Form::Positioned),
            nr::PWRITEV => (false, true, Form::Positioned),
            nr::PREADV2 => (true, true, Form::Flagged),
            nr::PWRITEV2 => (false, true, Form::Flagged),
            _ => return None,
        };
        let args = call.args();
        let position = match (form, args[3]) {
            (Form::Plain, _) => Position::Own,
            (Form::Flagged, usize::MAX) => Position::Own, // -1
            (_, at) if (at as isize) < 0 => Position::Unsound,
            (_, at) => Position::At(at),
        };
        let flags = if form == Form::Flagged { args[5] } else { 0 };
        Some(Self { reads, has_vectors, position, flags })
    }

    /// True if it names a sound position.
    #[inline(always)]
    pub(super) fn has_position(&self) -> bool {
        matches!(self.position, Position::At(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Positioned,
    Flagged,
}

/// True if `call` reads at a position, and may wait for it: io_uring can make it.
#[inline(always)]
pub(super) fn is_read_at(call: &Call) -> bool {
    Transfer::of(call).is_some_and(|transfer| {
        transfer.reads && transfer.has_position() && transfer.flags & RWF_NOWAIT == 0
    })
}

/// Bytes that a transfer or a message asks for, as far as it may have them.
///
/// # Safety
///
/// Its vectors, if it has any, are readable.
pub(super) unsafe fn bytes(call: &Call) -> usize {
    if Transfer::of(call).is_some_and(|transfer| transfer.has_vectors) {
        // SAFETY: the duty of this function.
        return unsafe { total(call) };
    }
    call.args()[2].min(MOST)
}

/// The vectors of a call that has some, wherever they stand.
///
/// # Safety
///
/// They are readable for as long as they are asked for.
pub(super) unsafe fn vectors(call: &Call) -> impl Iterator<Item = Vector> {
    let args = call.args();
    let (at, count) = if call.nr() == nr::SENDMSG {
        let message = args[1] as *const [usize; 7]; // struct msghdr
        // SAFETY: the duty of this function.
        let message = unsafe { message.read_unaligned() };
        (message[2], message[3])
    } else {
        (args[1], args[2])
    };
    let vectors = at as *const Vector;
    // SAFETY: the duty of this function.
    (0..count).map(move |index| unsafe { vectors.wrapping_add(index).read_unaligned() })
}

/// Bytes that they name, as far as one transfer may have them.
///
/// # Safety
///
/// As [`vectors`].
pub(super) unsafe fn total(call: &Call) -> usize {
    // SAFETY: the duty of this function.
    let vectors = unsafe { vectors(call) };
    vectors.fold(0, |sum, vector| vector[1].saturating_add(sum).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_apart() {
        let position = |nr, at: isize| Transfer::of(&Call::new(nr, [3, 0, 0, at as usize]));
        let position = |nr, at| position(nr, at).map(|transfer| transfer.position);
        assert_eq!(position(nr::READ, 7), Some(Position::Own));
        assert_eq!(position(nr::PREAD64, 7), Some(Position::At(7)));
        assert_eq!(position(nr::PREAD64, -1), Some(Position::Unsound));
        assert_eq!(position(nr::PWRITEV2, -1), Some(Position::Own));
        assert_eq!(position(nr::PWRITEV2, -2), Some(Position::Unsound));
        assert_eq!(position(nr::RECVFROM, 7), None);
    }

    #[test]
    fn reads_that_must_not_wait_are_not_for_io_uring() {
        let read = |flags| Call::new(nr::PREADV2, [3, 0, 0, 7, 0, flags]);
        assert!(is_read_at(&read(0)) && !is_read_at(&read(RWF_NOWAIT)));
        assert!(!is_read_at(&Call::new(nr::PWRITE64, [3, 0, 0, 7])));
    }

    #[test]
    fn transfers_are_the_calls_that_the_catalogue_says() {
        for entry in syslet_catalog::ENTRIES {
            let transfer = Transfer::of(&Call::new(entry.nr as usize, []));
            let named = matches!(entry.twin, Some(syslet_catalog::Twin::RwfNowait));
            assert_eq!(transfer.is_some(), named, "{}", entry.name);
            let Some(transfer) = transfer else { continue };
            assert_eq!(transfer.reads, entry.name.contains("read"), "{}", entry.name);
            assert_eq!(transfer.has_vectors, entry.name.contains('v'), "{}", entry.name);
        }
    }
}
