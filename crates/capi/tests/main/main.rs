//! The C library as C programs have it: installed, compiled against, linked statically and shared, in each
//! way of working.

/// What compiled programs rely on.
mod abi;
/// The examples do what they say.
mod examples;
/// Headers: C and C++ compile them, and they say what the library does.
mod headers;
/// What is said to be tested is.
mod history;
/// What is installed.
mod installed;
/// The historic headers say what the library does.
mod layouts;
/// C programs, each in all ways.
mod programs;
mod util;
