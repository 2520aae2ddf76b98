//! The crate's promises, through its public interface. Where calls cannot run inline on this machine, or
//! with `SYSLET_FORCE_POOL=1`, the same holds but for what is said of inline; that is skipped, and said.

/// A worker that is made by `block_in_place`, and the blocking pool.
mod blocking_pool;
/// A task yields when its closures have used their time.
mod budget;
/// The runtime's context in a closure, wherever it runs.
mod context;
/// The examples do what they say.
mod examples;
/// Other executors drive the library's own futures.
mod executors;
/// Files do what tokio's do, in any order of operations.
mod file_property;
/// Files whose operations wait.
mod files;
/// Many tasks that mix what waits and what does not.
mod mixed;
/// Names are looked up; children are waited for.
mod net_and_process;
/// What is done to paths.
mod paths;
/// The end of a runtime with work away.
mod shutdown;
/// Closures: inline, away, queued, panicking, aborted, dropped.
mod unblocking;
mod util;
/// Which threads are attached, and until when.
mod workers;
