//! What `aio_fsync` asks for.

use syslet::Call;
use syslet_dropin::report::Kind;

/// How much is to be on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `O_SYNC`: fsync(2).
    All,
    /// `O_DSYNC`: fdatasync(2).
    Data,
}

impl Sync {
    pub(crate) fn call(self, descriptor: i32) -> Call {
        let nr = match self {
            Self::All => libc::SYS_fsync,
            Self::Data => libc::SYS_fdatasync,
        };
        Call::new(nr as usize, [descriptor as usize])
    }

    /// True if this does all that the other does.
    pub(crate) fn does(self, other: Self) -> bool {
        self == Self::All || other == Self::Data
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::All => Kind::Fsync,
            Self::Data => Kind::Fdsync,
        }
    }
}
