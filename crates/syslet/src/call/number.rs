//! A system call and its answer.

#![allow(unsafe_code, reason = "reads words one at a time")]

use std::fmt;
use std::io;
use std::ptr;

/// A system call: its number and six arguments, as in syscall(2).
///
/// ```
/// let call = syslet::Call::new(libc::SYS_getppid as usize, []);
/// assert_eq!(call.name(), Some("getppid"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Call(pub(crate) [usize; 7]);

impl Call {
    /// Call number `nr` with up to six arguments; the others are 0.
    pub const fn new<const N: usize>(nr: usize, args: [usize; N]) -> Self {
        const { assert!(N <= 6, "a system call has at most six arguments") };
        let mut words = [0; 7];
        words[0] = nr;
        let mut at = 0;
        while at < N {
            words[at + 1] = args[at];
            at += 1;
        }
        Self(words)
    }

    /// Its number.
    pub const fn nr(&self) -> usize {
        self.0[0]
    }

    /// Its arguments.
    pub fn args(&self) -> &[usize] {
        &self.0[1..]
    }

    /// Its arguments, all of which are known.
    pub(super) fn values(&self) -> [Option<usize>; 6] {
        let [_, args @ ..] = self.0;
        args.map(Some)
    }

    /// A copy that is read word by word: where words were just written one at a time, reading two at once
    /// waits until they have reached the cache.
    #[inline(always)]
    pub(super) fn copied(&self) -> Self {
        // SAFETY: a reference; volatile only so that the compiler does not read two at once.
        Self(self.0.each_ref().map(|word| unsafe { ptr::read_volatile(word) }))
    }

    /// Its name, if the catalogue knows it.
    pub fn name(&self) -> Option<&'static str> {
        Some(syslet_catalog::lookup(u32::try_from(self.nr()).ok()?)?.name)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("nr", &self.nr())
            .field("name", &self.name())
            .field("args", &self.args())
            .finish()
    }
}

/// What the kernel answered: a value, or `-errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Ret(isize);

/// Largest error number: the kernel's MAX_ERRNO.
const MAX_ERRNO: isize = 4095;

impl Ret {
    pub(crate) const fn new(raw: isize) -> Self {
        Self(raw)
    }

    /// The answer as the kernel gave it: `-errno` on failure.
    pub const fn raw(self) -> isize {
        self.0
    }

    /// The error number, if the call failed.
    pub const fn errno(self) -> Option<i32> {
        if self.0 < 0 && self.0 >= -MAX_ERRNO { Some(-self.0 as i32) } else { None }
    }

    /// The value, or the error.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub fn result(self) -> io::Result<usize> {
        match self.errno() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(self.0 as usize),
        }
    }

    /// True if the call was cancelled before it did anything.
    pub const fn is_cancelled(self) -> bool {
        self.0 == -syslet_sys::uapi::ECANCELED
    }
}
