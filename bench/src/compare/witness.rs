//! What the kernel knows of how a way does its works: the requests that its rings have taken, the CPU time of its
//! threads.
//!
//! Asked by the thread that measures, before and after a batch: it costs the batch nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::cost::thread_time;
use crate::options::{CompareWay, Passage};

/// Bytes of a thread's name (`TASK_COMM_LEN`, without the zero).
const NAME: usize = 15;
/// What the link of a ring's descriptor says.
const RING: &str = "anon_inode:[io_uring]";

/// Who does the works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) process: u32,
    /// The thread that has them done, as the kernel numbers it.
    pub(super) thread: i32,
}

impl Server {
    /// The calling thread.
    pub(super) fn here() -> Self {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        Self { process: std::process::id(), thread }
    }

    /// The main thread of another process.
    pub(super) fn of(process: u32) -> Self {
        Self { process, thread: process as i32 }
    }
}

/// The name of the threads of a way, so that they are told from others.
pub(super) fn name(way: CompareWay, depth: usize) -> String {
    // The C library's threads have the name of who asked first, whatever the depth.
    let number = if way == CompareWay::GlibcAio { String::new() } else { format!("-{depth}") };
    let mut name = way.name().to_owned();
    name.truncate(NAME - number.len());
    name + &number
}

/// Whom to ask.
#[derive(Debug)]
pub(super) enum Witness {
    /// The way itself tells, or there is nothing to be told.
    Way,
    /// Rings of a process: all that it has, or these descriptors.
    Rings { process: u32, only: Option<Vec<u32>> },
    /// The threads of this process with a name, without the one that has the works done.
    Threads { name: String, server: i32 },
}

/// What was known at a time: by descriptor of a ring, or by thread.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<u32, u64>);

impl Witness {
    /// For a way that has started; `before` are the rings that this process had before.
    pub(super) fn of(way: CompareWay, depth: usize, server: Server, before: &[u32]) -> Self {
        match way.passage() {
            Passage::Ring if way == CompareWay::KernelAio => Self::Way,
            Passage::Ring if server.process != std::process::id() => {
                Self::Rings { process: server.process, only: None }
            }
            Passage::Ring => {
                let mut rings = rings(server.process);
                rings.retain(|ring| !before.contains(ring));
                Self::Rings { process: server.process, only: Some(rings) }
            }
            Passage::Threads if server.process == std::process::id() => {
                let server = server.thread;
                Self::Threads { name: name(way, depth), server }
            }
            _ => Self::Way,
        }
    }

    /// True if there should be rings, and are none: a runtime may do without where io_uring is forbidden.
    pub(super) fn has_no_ring(&self) -> bool {
        match self {
            Self::Rings { process, only: None } => rings(*process).is_empty(),
            Self::Rings { only: Some(rings), .. } => rings.is_empty(),
            Self::Way | Self::Threads { .. } => false,
        }
    }

    /// What there is to be known now.
    pub(super) fn now(&self) -> io::Result<Notes> {
        match self {
            Self::Way => Ok(Notes::default()),
            Self::Rings { process, only } => {
                let all = only.clone().unwrap_or_else(|| rings(*process));
                let taken = |ring: u32| Ok((ring, taken(*process, ring)?));
                all.into_iter().map(taken).collect::<io::Result<_>>().map(Notes)
            }
            Self::Threads { name, server } => Ok(Notes(times(name, *server))),
        }
    }
}

impl Notes {
    /// What has come since `before`: requests, or nanoseconds.
    pub(super) fn since(&self, before: &Self) -> u64 {
        let grown =
            |(key, now): (&u32, &u64)| now.saturating_sub(before.0.get(key).copied().unwrap_or(0));
        self.0.iter().map(grown).sum()
    }
}

/// Descriptors of the rings that a process has; none if that cannot be seen.
pub(super) fn rings(process: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let ring = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let is_ring = fs::read_link(&path).is_ok_and(|link| link.as_os_str() == RING);
        is_ring.then(|| path.file_name()?.to_str()?.parse().ok())?
    };
    all.filter_map(ring).collect()
}

/// Requests that a ring has taken so far: `SqHead` of its fdinfo, which only the kernel moves.
pub(crate) fn taken(process: u32, ring: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/fdinfo/{ring}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("SqHead:")?.trim().parse().ok());
    value.ok_or_else(|| io::Error::other("the kernel does not say what a ring has taken"))
}

/// CPU time of the threads with that name.
pub(crate) fn times(name: &str, but: i32) -> BTreeMap<u32, u64> {
    let Ok(all) = fs::read_dir("/proc/self/task") else { return BTreeMap::new() };
    let time = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let thread: i32 = entry.file_name().to_str()?.parse().ok()?;
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        // It may end in between.
        (thread != but && comm.trim_end() == name).then_some((thread as u32, thread_time(thread)?))
    };
    all.filter_map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::{NAME, Notes, Server, Witness, name, rings, times};
    use crate::options::CompareWay;

    use std::thread;

    #[test]
    fn a_ring_is_seen_to_take_requests() {
        let server = Server::here();
        let before = rings(server.process);
        let Ok(mut ring) = io_uring::IoUring::new(4) else {
            return syslet_testfs::skip("there is no io_uring here");
        };
        let witness = Witness::of(CompareWay::IoUring, 1, server, &before);
        let notes = witness.now().expect("it is our own process");
        for _ in 0..3 {
            let nothing = io_uring::opcode::Nop::new().build();
            push(&mut ring, &nothing);
            ring.submit_and_wait(1).expect("nothing is done");
        }
        assert_eq!(witness.now().expect("as before").since(&notes), 3);
    }

    #[allow(unsafe_code, reason = "an entry of the submission queue")]
    fn push(ring: &mut io_uring::IoUring, entry: &io_uring::squeue::Entry) {
        // SAFETY: it refers to nothing.
        unsafe { ring.submission().push(entry) }.expect("there is room");
    }

    #[test]
    fn threads_of_a_name_are_seen_to_work_and_the_server_is_not() {
        let spin = || {
            let worker = Server::here().thread;
            (0..100_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
            let seen = |but| times("witness-1", but).contains_key(&(worker as u32));
            (seen(0), seen(worker), times("witness-1", 0)[&(worker as u32)])
        };
        let named = thread::Builder::new().name("witness-1".to_owned()).spawn(spin);
        let (seen, but, nanos) = named.expect("a thread").join().expect("it ends");
        assert!(seen && !but && nanos > 1000, "{seen} {but} {nanos}");
    }

    #[test]
    fn names_fit_and_tell_the_depths_apart() {
        let names = [1, 32].map(|depth| name(CompareWay::SpawnBlocking, depth));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= NAME), "{names:?}");
    }

    #[test]
    fn what_is_new_counts_whole_and_what_has_gone_does_not() {
        let before = Notes([(1, 5), (2, 7)].into());
        assert_eq!(Notes([(2, 9), (3, 4)].into()).since(&before), 6);
    }
}
