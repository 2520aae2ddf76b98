//! The queue through its public API: a module per promise. `SYSLET_TEST_SANDBOX=docker` runs all of it in a sandbox,
//! see `container`.

/// Files that share an inode with others of their kind: terminals, FIFOs, processes, TUNs; and the ends of pipes.
mod alike;
/// Eventfds, timerfds and epolls, which share one inode.
mod anonymous;
/// Chains whose end comes to a queue.
mod chains;
/// What closing a descriptor does.
mod closing;
/// The filter that Docker puts around a container.
#[allow(dead_code, reason = "shared with other suites")]
#[path = "../../../syslet/tests/container.rs"]
mod container;
/// What waits for sources.
mod engine;
/// Eventfds that are told.
mod eventfds;
/// Flags of sources.
mod flags;
/// Loops of mio.
mod loops;
/// Every kind with every flag.
mod matrix;
/// What had come to a source that is modified.
mod modified;
/// Children, completions, directories.
mod others;
/// Readiness of sockets, pipes and others.
mod readiness;
/// Rings in memory.
mod rings;
/// Where files cannot be taken.
mod sandbox;
/// Several sources of one file.
mod sharing;
/// Signalfds, which are anonymous too.
mod signalfds;
/// Signals: programs of their own would be needed to block them everywhere, so one test does all.
mod signals;
/// Fetching without system calls.
mod silence;
/// Eight threads.
mod stress;
/// Streams, tokio.
mod tasks;
/// Timers.
mod timers;
mod util;
/// Waiting: minimum, deadline, interruption, handing on.
mod waiting;
