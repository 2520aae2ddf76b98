//! What the drop-in libraries share, and in part the C library. They stand in front of a library that a program was
//! built for, so all of it must do without what only a program could give: no thread of its is attached, no
//! descriptor appears in its table, and pointers may be bad.
//!
//! - [`attach`]: making a program's threads guests, where that is asked for;
//! - [`call`]: system calls whose answer is told, where it comes in, to a function;
//! - [`clock`]: what time it is;
//! - [`disks`]: which files are of local file systems, found out without waiting for those of servers;
//! - [`flags`]: the status flags of descriptors;
//! - [`launch`]: work for a crew thread, where there may be none;
//! - [`life`]: what must be made anew in a forked child;
//! - [`memory`]: reading and writing memory that may not be there;
//! - [`report`]: what went through, counted in a file that outlives the program;
//! - [`signals`]: waiting with other signals blocked;
//! - [`writes`]: which buffered writes are made on the spot.

pub mod attach;
pub mod call;
pub mod clock;
pub mod disks;
pub mod flags;
pub mod launch;
pub mod life;
pub mod memory;
pub mod report;
pub mod signals;
pub mod writes;
