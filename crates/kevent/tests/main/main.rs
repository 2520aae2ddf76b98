//! The queue through its public API: a module per promise.

/// What closing a descriptor does.
mod closing;
/// Eventfds that are told.
mod eventfds;
/// Flags of sources.
mod flags;
/// Children, completions, directories.
mod others;
/// Readiness of sockets, pipes and others.
mod readiness;
/// Rings in memory.
mod rings;
/// Several sources of one file.
mod sharing;
/// Signals: programs of their own would be needed to block them everywhere, so one test does all.
mod signals;
/// Eight threads.
mod stress;
/// Streams, tokio.
mod tasks;
/// Timers.
mod timers;
mod util;
/// Waiting: minimum, deadline, interruption, handing on.
mod waiting;
