//! The library's promises, through its public interface. The same suite runs for each way of
//! working: `SYSLET_TEST_MODE=follow` (the default), `pinned`, or `pool` (with
//! `SYSLET_FORCE_POOL=1`). `SYSLET_TEST_SANDBOX=docker`, or `docker-nosched` for the pool, runs it in a
//! sandbox, see `container`. What cannot be tested is said on standard error and counted.

/// What a call names in memory may stand at any address.
mod alignment;
/// The inline path does not allocate.
mod allocation;
/// Attaching: settings, nesting, many threads, many times.
mod attaching;
/// A cancelled call ends, or was too late, and nothing in between.
mod cancelling;
/// Chains that are cancelled or interrupted end between two steps.
mod chain_cancel;
/// What a chain has opened is closed if nobody takes it over.
mod chain_descriptors;
/// Any chain does what its calls do one by one.
mod chain_property;
/// Calls that feed each other are submitted as one.
mod chains;
/// Reads that have to be fetched from a disk, by io_uring.
mod cold_reads;
/// The filter that Docker puts around a container.
#[path = "../container.rs"]
mod container;
/// What belongs to the guest stays with it over a handoff.
mod context;
/// A descriptor that nobody wants is closed.
mod descriptors;
/// What is away can be waited for before the program ends.
mod draining;
/// The examples do what they say.
mod examples;
/// What file systems can do is found out and remembered.
mod file_systems;
/// What goes on beside the guest needs nothing on the guest's stack.
mod frames;
/// Many calls wait for one descriptor.
mod herds;
/// Busy CPUs do not hold a guest up.
mod hogs;
/// Away calls do not answer EINTR that nobody asked for.
mod interruption;
/// Where crew threads run out, work queues, or is handed back, and nothing hangs.
mod limits;
/// A socket whose last close waits holds nobody up but who closes it.
mod lingering;
/// Threadlets and calls inside threadlets.
mod nesting;
/// A number that was a file's names something else by now.
mod numbers;
/// What closures print is not lost.
mod output;
/// A stack overflow is reported and ends the process.
mod overflow;
/// Panics of closures, of results and of payloads.
mod panics;
/// A parked call goes on with the file that it named.
mod parked_files;
/// Each kind of what is waited for without a thread.
mod parked_kinds;
/// Bounds on parked calls.
mod parked_limits;
/// Connections and messages that wait are parked.
mod parked_sockets;
/// Who waits for a call of its own runs no code of those who wait for others.
mod parked_wakers;
/// Where there is no kernel AIO left, the keeper does it.
mod parked_without_aio;
/// Calls that wait without a thread.
mod parking;
/// Any interleaving of submit, cancel, complete and drop.
mod property;
/// The answers of many operations come to one queue, once each.
mod queue;
/// What is asked for in a queue: a cancel, of one, of some, of what uses a descriptor.
mod queue_cancel;
/// Descriptors that nobody pops are closed with the queue.
mod queue_descriptors;
/// Any interleaving of what can be done with a queue.
mod queue_property;
/// Threads, tasks and an eventfd are told of what comes into a queue.
mod queue_waiting;
/// What waits for a crew thread needs none to be cancelled or waited for.
mod queued;
/// Calls that belong to a kernel thread are refused.
mod refusals;
/// Every shape of an answer.
mod results;
/// The sandbox that the suite runs in.
mod sandboxes;
/// The suite's errors are found by AddressSanitizer.
#[cfg(asan)]
mod sanitizer;
/// Scopes wait for closures.
mod scopes;
/// Files whose server does not answer.
mod servers;
/// Waiting for several descriptors.
mod several;
/// Alternate signal stacks, handlers, pending signals.
mod signals;
/// Closures and results of every size and alignment.
mod sizes;
/// Reads of a disk that holds its answers, fails, or ends in the middle of them.
mod slow_reads;
/// The counters count.
mod statistics;
/// The handle of a threadlet.
mod threadlets;
/// Many times are waited for at once.
mod timers;
/// Backtraces end.
mod traces;
/// Files and directories are those of std.
mod typed_fs;
/// Sockets.
mod typed_net;
/// Children.
mod typed_process;
/// Sleeping.
mod typed_time;
mod util;
/// Locks, queues, semaphores and futexes.
mod waiting_for_others;
/// Writers of one file are bounded.
mod writers;
