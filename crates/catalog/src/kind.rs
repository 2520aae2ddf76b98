//! What an argument of a system call is: a value, or a pointer with a direction and a length.
//!
//! A pointer may be null where the call's man page says so; that is not recorded.

/// One argument: its name in the kernel's prototype (or close to it) and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name, unique within the call.
    pub name: &'static str,
    /// What the argument is.
    pub kind: Kind,
}

/// What an argument is. Indices count arguments from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that is none of the below.
    Int,
    /// A descriptor that must be open.
    Fd,
    /// A directory's descriptor or `AT_FDCWD`; with an empty path, any descriptor.
    DirFd,
    /// A set of bits.
    Flags,
    /// A command that decides what the call does, often also what other arguments mean.
    Op,
    /// A number of bytes.
    Len,
    /// A number of items.
    Count,
    /// A file offset in bytes, or one half of it (`preadv` and its kin).
    Offset,
    /// A process, thread or process group.
    Pid,
    /// A user, group, key, queue, timer, context: a number that names a kernel object other than a
    /// descriptor or a process.
    Id,
    /// Permission bits, with the file type for `mknod`.
    Mode,
    /// A signal number.
    Signal,
    /// An address that is a place, not data: of a mapping, a stack, a futex waiter's other word.
    Addr,
    /// A number or a pointer, as the call's [`Kind::Op`] says: the third argument of `ioctl`.
    Opaque,
    /// A time in milliseconds; negative is for ever.
    Millis,
    /// A time in seconds.
    Seconds,
    /// A file name: a NUL-terminated string that the kernel reads.
    Path,
    /// Another NUL-terminated string that the kernel reads.
    Str,
    /// A NULL-terminated array of such strings: `argv`.
    Strs,
    /// Memory without a fixed layout or without a fixed size.
    Buf {
        /// Who reads and who writes it.
        dir: Dir,
        /// Where its length is found.
        len: Length,
    },
    /// One object of a known type.
    Struct {
        /// Who reads and who writes it, with what it points to.
        dir: Dir,
        /// Its type.
        of: CType,
    },
    /// As many objects of a known type as another argument says.
    Array {
        /// Who reads and who writes them, with what they point to.
        dir: Dir,
        /// The type of one.
        of: CType,
        /// The argument that holds their number.
        count: u8,
    },
    /// An array of `struct iovec`. The array itself is only read.
    Iovec {
        /// Who reads and who writes the memory that it names.
        dir: Dir,
        /// The argument that holds the number of entries.
        count: u8,
    },
    /// One `struct timespec`, in the kernel's 64-bit form.
    Timespec(Dir),
    /// One `struct timeval`, in the kernel's 64-bit form.
    Timeval(Dir),
}

impl Kind {
    /// Who reads and who writes the memory that the argument points to; `None` for a value, and for
    /// [`Kind::Opaque`], where only the operation knows.
    pub const fn dir(self) -> Option<Dir> {
        match self {
            Self::Path | Self::Str | Self::Strs => Some(Dir::In),
            Self::Buf { dir, .. }
            | Self::Struct { dir, .. }
            | Self::Array { dir, .. }
            | Self::Iovec { dir, .. }
            | Self::Timespec(dir)
            | Self::Timeval(dir) => Some(dir),
            _ => None,
        }
    }
}

/// Who reads and who writes the memory that an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// The kernel reads it.
    In,
    /// The kernel writes it.
    Out,
    /// The kernel reads it and may write it.
    InOut,
}

/// Where the length of a [`Kind::Buf`] is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// In this argument, in bytes.
    Arg(u8),
    /// In this argument, in bytes, after one `long` that is not counted: a message with its type.
    AfterLong(u8),
    /// In the 32-bit number that this argument points to, in bytes; the kernel updates it.
    At(u8),
    /// In this argument, in bits, rounded up to whole 64-bit words.
    Bits(u8),
    /// One byte for every page, also a begun one, of as many bytes as this argument says.
    Pages(u8),
    /// In the memory itself, which states its own size near its beginning.
    Header,
    /// The call's [`Kind::Op`] or flags say.
    ByOp,
}

/// A C type that the kernel's interface fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CType {
    /// The type as C writes it.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: u16,
    /// Whether it holds pointers of its own, so that a copy of `size` bytes is not the whole of it.
    pub deep: bool,
}
