//! Kernel structures and values that are this architecture's own.

use crate::uapi::{S_IFMT, SignalStack, Statx};

/// The head of `ucontext_t`: up to the general registers and the signal mask.
#[repr(C)]
#[derive(Debug)]
pub struct UContext {
    /// Flags.
    pub flags: u64,
    /// Link.
    pub link: usize,
    /// Signal stack of the interrupted code.
    pub stack: SignalStack,
    /// r8 .. r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags, segments, err, trapno,
    /// oldmask, cr2 (`struct sigcontext`).
    pub registers: [u64; 23],
    /// Where the vector registers are, and the rest of `struct sigcontext`.
    _rest: [u64; 9],
    /// Signals blocked when the interrupted code goes on.
    pub signal_mask: u64,
}

/// Index of the instruction pointer in [`UContext::registers`].
pub const REG_RIP: usize = 16;

/// `struct epoll_event`, which is packed on x86-64.
#[repr(C, packed)]
#[derive(Debug, Clone, Copy, Default)]
pub struct EpollEvent {
    /// EPOLL* bits.
    pub events: u32,
    /// Comes back as it is.
    pub data: u64,
}

/// `struct stat`, of which the beginning is named.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Links.
    pub nlink: u64,
    /// Type and permissions.
    pub mode: u32,
    _owner: [u32; 3],
    /// What a device file stands for.
    pub rdev: u64,
    _rest: [u64; 12],
}

impl Stat {
    /// True for what has no type of its own: eventfds, timerfds, signalfds, epolls and their kin.
    pub fn is_anonymous(&self) -> bool {
        self.mode & S_IFMT == 0
    }

    /// The major number of what a device file stands for.
    pub fn major(&self) -> u32 {
        (self.rdev >> 8) as u32 & 0xfff
    }

    /// The minor number of what a device file stands for.
    pub fn minor(&self) -> u32 {
        (self.rdev & 0xff) as u32 | ((self.rdev >> 12) as u32 & !0xff)
    }
}

impl From<Statx> for Stat {
    fn from(found: Statx) -> Self {
        let number = |major: u32, minor: u32| {
            let (major, minor) = (u64::from(major), u64::from(minor));
            // The kernel's new_encode_dev, which fstat(2) answers.
            (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
        };
        let dev = number(found.dev_major, found.dev_minor);
        let rdev = number(found.rdev_major, found.rdev_minor);
        let (nlink, mode) = (u64::from(found.nlink), u32::from(found.mode));
        Self { dev, ino: found.ino, nlink, mode, _owner: [0; 3], rdev, _rest: [0; 12] }
    }
}

// The layouts are the kernel's.
const _: () = {
    assert!(core::mem::offset_of!(UContext, registers) == 40);
    assert!(core::mem::offset_of!(UContext, signal_mask) == 296);
    assert!(size_of::<EpollEvent>() == 12);
    assert!(size_of::<Stat>() == 144);
    assert!(core::mem::offset_of!(Stat, mode) == 24);
};
