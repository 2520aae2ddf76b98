//! What who sends must know: a number of 128 bits, drawn for each box. A filter on the box has the kernel throw away
//! what does not begin with it, where it is sent: it takes no place in the box, and if closing its files takes long, it
//! is the sender who waits.

use std::fmt;

use syslet_sys::descriptor;
use syslet_sys::uapi::{BPF_JUMP_EQUAL, BPF_LOAD, BPF_LOAD_LENGTH, BPF_RETURN, SockFilter};

/// Bytes of it.
const LEN: usize = 16;
/// Bytes of a message: the secret and the ticket.
pub(super) const MESSAGE: usize = LEN + size_of::<u64>();

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; LEN]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one, without which nothing comes through `socket`. Where there are no filters, or no random numbers yet,
    /// everything does.
    pub(super) fn guarding(socket: i32) -> Self {
        let mut bytes = [0; LEN];
        // SAFETY: clause *live*.
        let drawn = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), LEN, libc::GRND_NONBLOCK) };
        let secret = Self(bytes);
        if drawn == LEN as isize {
            let _ = descriptor::attach_filter(socket, &secret.filter());
        }
        secret
    }

    /// Lets whole messages through that begin with it.
    fn filter(self) -> [SockFilter; 12] {
        const THROW_AWAY: u8 = 11;
        let step = |code, jt, jf, k| SockFilter { code, jt, jf, k };
        let unless = |at: u8, k| step(BPF_JUMP_EQUAL, 0, THROW_AWAY - at - 1, k);
        let load = |at| step(BPF_LOAD, 0, 0, at);
        // The kernel loads words in the order of the net.
        let word = |at: usize| {
            u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
        };
        [
            step(BPF_LOAD_LENGTH, 0, 0, 0),
            unless(1, MESSAGE as u32),
            load(0),
            unless(3, word(0)),
            load(4),
            unless(5, word(4)),
            load(8),
            unless(7, word(8)),
            load(12),
            unless(9, word(12)),
            step(BPF_RETURN, 0, 0, u32::MAX),
            step(BPF_RETURN, 0, 0, 0),
        ]
    }

    /// A message.
    pub(super) fn message(self, ticket: u64) -> [u8; MESSAGE] {
        let mut bytes = [0; MESSAGE];
        bytes[..LEN].copy_from_slice(&self.0);
        bytes[LEN..].copy_from_slice(&ticket.to_ne_bytes());
        bytes
    }

    /// The ticket of a message that begins with it.
    pub(super) fn ticket(self, message: &[u8]) -> Option<u64> {
        let (secret, ticket) = message.split_at_checked(LEN)?;
        (secret == self.0).then(|| ticket.try_into().ok().map(u64::from_ne_bytes)).flatten()
    }
}
