//! Every system call of the x86-64 kernel table: how it waits, what its arguments are, where it may
//! run.
//!
//! One [`Entry`] per call, from `read` to the newest of Linux 6.19; the x32 numbers are not included.
//! Everything that has to know something about a call derives it from here: the library asks
//! [`class()`] on its hot path and [`lookup()`] off it, the command prints the rows. The columns are
//! explained at the types and, for whoever edits a row, at the top of `table/mod.rs`.
//!
//! # Examples
//!
//! ```
//! use syslet_catalog::{Events, Runs, Waits, by_name, class, lookup};
//!
//! let read = lookup(0).unwrap();
//! assert_eq!(read.name, "read");
//! assert_eq!(read.waits, Waits::Readiness { fd: 0, events: Events::In });
//! assert!(class(0).movable() && class(0).may_wait());
//!
//! let Runs::Refused(reason) = by_name("vfork").unwrap().runs else { panic!() };
//! println!("vfork: {reason}");
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod class;
mod entry;
mod kind;
mod lookup;
mod table;

pub use class::{Class, class};
pub use entry::{Cancel, Entry, Events, Makes, Runs, Timeout, Twin, Waits};
pub use kind::{Arg, CType, Dir, Kind, Length};
pub use lookup::{ENTRIES, by_name, lookup};
