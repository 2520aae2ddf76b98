//! How far a transfer has come: a plain write on a pipe or a stream socket waits until all is written, and a
//! receive with `MSG_WAITALL` until all is there, so what the twin has done is only a part of the answer.

#![allow(unsafe_code, reason = "reads the vectors of a call")]

use syslet_sys::uapi::{MSG_WAITALL, nr};

use super::number::Call;
use super::transfer::{MOST, Vector, total, vectors};

/// What is left of a call that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing: that was its answer.
    Over,
    /// This.
    Rest(Call),
    /// What its vectors name beyond what was written.
    Vectors,
}

impl Progress {
    /// Of `call`, which answered `answer`.
    pub(crate) fn of(call: &Call, answer: isize) -> Self {
        if answer <= 0 {
            return Self::Over;
        }
        let (args, part) = (call.args(), answer as usize);
        match call.nr() {
            // Of what is received only if all of it was asked for.
            nr::WRITE | nr::SENDTO | nr::RECVFROM
                if (call.nr() != nr::RECVFROM || args[3] & MSG_WAITALL != 0)
                    && part < args[2].min(MOST) =>
            {
                let mut rest = *call;
                rest.0[2] += part;
                rest.0[3] = args[2].min(MOST) - part;
                // Who sent it was told with the first part.
                (rest.0[5], rest.0[6]) = (0, 0);
                Self::Rest(rest)
            }
            // A position means a file, where a short write is an answer.
            nr::PWRITEV2 if args[3] as isize != -1 => Self::Over,
            // SAFETY: a call that has just answered: its vectors were readable.
            nr::WRITEV | nr::PWRITEV2 | nr::SENDMSG if part < unsafe { total(call) } => {
                Self::Vectors
            }
            _ => Self::Over,
        }
    }

    /// True if `call` writes or sends.
    pub(crate) fn writes(call: &Call) -> bool {
        matches!(call.nr(), nr::WRITE | nr::SENDTO | nr::WRITEV | nr::PWRITEV2 | nr::SENDMSG)
    }

    /// True if what `call` transfers is named by vectors, of which a part may be left.
    pub(crate) fn has_vectors(call: &Call) -> bool {
        matches!(call.nr(), nr::READV | nr::WRITEV | nr::PREADV2 | nr::PWRITEV2 | nr::SENDMSG)
    }
}

/// A call that transfers what is left after `done` bytes, and the memory that it needs.
#[derive(Debug)]
pub(crate) struct Remainder {
    call: Call,
    _vectors: Vec<Vector>,
    _message: Box<[usize; 7]>,
}

impl Remainder {
    /// Of `call`, which names vectors.
    ///
    /// # Safety
    ///
    /// They are readable.
    pub(crate) unsafe fn of(call: &Call, done: usize) -> Self {
        let (mut skip, mut left) = (done, MOST - done.min(MOST));
        let mut rest = Vec::new();
        // SAFETY: the duty of this function.
        for [at, len] in unsafe { vectors(call) } {
            let here = skip.min(len);
            skip -= here;
            let len = (len - here).min(left);
            left -= len;
            if len > 0 {
                rest.push([at + here, len]);
            }
        }
        let (at, count) = (rest.as_ptr() as usize, rest.len());
        // No name and no control data: those went with the first part.
        let message = Box::new([0, 0, at, count, 0, 0, 0]);
        let mut call = *call;
        if call.nr() == nr::SENDMSG {
            call.0[2] = std::ptr::from_ref(&*message) as usize;
        } else {
            (call.0[2], call.0[3]) = (at, count);
        }
        Self { call, _vectors: rest, _message: message }
    }

    /// The call; to be made while this lives.
    pub(crate) fn call(&self) -> Call {
        self.call
    }
}

#[cfg(test)]
mod tests {
    use super::super::transfer::bytes;
    use super::*;

    const ASKED: usize = 5 << 30;

    #[test]
    fn a_write_that_asks_for_too_much_gets_what_the_kernel_gives() {
        let call = Call::new(nr::WRITE, [1, 0x1000, ASKED]);
        let Progress::Rest(rest) = Progress::of(&call, 100) else { panic!("not over") };
        assert_eq!(rest.args()[..3], [1, 0x1000 + 100, MOST - 100]);
        assert_eq!(Progress::of(&call, MOST as isize), Progress::Over);
        assert_eq!(Progress::of(&rest, (MOST - 100) as isize), Progress::Over);
    }

    #[test]
    fn vectors_that_name_too_much_too() {
        let half = MOST / 2;
        let vectors = [[0x1000, half], [0x2000, 10], [0x3000, isize::MAX as usize], [0x4000, 7]];
        let call = Call::new(nr::WRITEV, [1, vectors.as_ptr() as usize, vectors.len()]);
        assert_eq!(Progress::of(&call, MOST as isize), Progress::Over);
        assert_eq!(Progress::of(&call, 100), Progress::Vectors);
        // SAFETY: they are read while they live.
        assert_eq!(unsafe { bytes(&call) }, MOST);
        // SAFETY: as above.
        let rest = unsafe { Remainder::of(&call, half + 4) };
        assert_eq!(rest._vectors, [[0x2004, 6], [0x3000, MOST - half - 10]]);
    }
}
