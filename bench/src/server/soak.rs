//! A soak: requests of all kinds, of files that are slow, fail and end early, from clients that hang up.
//!
//! Every byte that is answered is compared. An error or a response that is cut off is right for the files that
//! fail, and wrong for the files beside them. Before and after, when nobody is connected any more and threads
//! that are not needed have had the time to end, the server must have the same descriptors and threads, and
//! no file of the file system may be open.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use file_server::Files;
use syslet_testfs::{Chances, File, TestFs, mismatch};
use tokio::task::JoinSet;

use super::child::{Child, Held};
use super::load::{Connection, Load};
use super::name;
use super::places::contents;
use crate::dice::Dice;
use crate::error::Trouble;
use crate::options::ServerOptions;
use crate::report::{Row, rounded};
use crate::samples::Samples;
use crate::scratch::Scratch;

/// Connections that ask.
const CLIENTS: usize = 32;

/// Connections that ask before that. A crew thread that has carried a worker stays as long as the worker does, so
/// the number of threads is that of the closures that were away at once, at most: this comes first.
const CLIENTS_BEFORE: usize = 4 * CLIENTS;

/// Sizes of the files, of both kinds: around a page, around what the server reads at a time, and more.
const SIZES: [u64; 10] = [0, 1, 4095, 4096, 70_000, 262_143, 262_144, 262_145, 600_000, 1_500_000];

/// First number of the contents of the files that do not fail.
const SOUND: usize = 100;

/// How long a server may take to come to rest: threads of tokio's pool and of the crew end after ten idle
/// seconds, one after the other.
const REST: Duration = Duration::from_secs(60);
/// A server is at rest when nothing has changed for so long.
const STILL: Duration = Duration::from_secs(15);

/// A soak lasts at most so many times as long as it is to, on a machine so slow that it has not seen every
/// kind of trouble by then.
const MOST_LONGER: u32 = 30;

/// Threads by which two rests may differ: one that is about to end.
const SLACK: usize = 2;

/// Lets every way soak for so long, one after the other. They come to rest together, which takes longer than a short
/// soak.
pub(super) fn run(options: &ServerOptions, time: Duration) -> Result<Vec<Row>, Trouble> {
    let mut soaks = Vec::new();
    for way in options.ways() {
        match Soak::start(options, way)? {
            Ok(soak) => soaks.push(soak),
            Err(error) => eprintln!("bench: skipped: the soak: FUSE cannot be used here: {error}"),
        }
    }
    let warm = time.min(Duration::from_secs(20));
    let warm = each(&soaks, |soak| soak.soak(warm, CLIENTS_BEFORE, 1))?;
    let before = rest(&soaks)?;
    let seen = each(&soaks, |soak| soak.soak(time, CLIENTS, 2))?;
    let after = rest(&soaks)?;
    let seen = warm.into_iter().zip(seen).zip(before.into_iter().zip(after));
    soaks.into_iter().zip(seen).map(|(soak, (seen, held))| soak.row(seen, held)).collect()
}

fn each<T>(soaks: &[Soak], f: impl FnMut(&Soak) -> Result<T, Trouble>) -> Result<Vec<T>, Trouble> {
    soaks.iter().map(f).collect()
}

/// What the servers have when they have come to rest.
fn rest(soaks: &[Soak]) -> Result<Vec<Held>, Trouble> {
    let held = || each(soaks, |soak| soak.child.held());
    let same = |one: &[Held], other: &[Held]| {
        one.iter().zip(other).all(|(one, other)| {
            (one.threads, one.descriptors) == (other.threads, other.descriptors)
        })
    };
    let (start, mut since) = (Instant::now(), Instant::now());
    let mut last = held()?;
    while since.elapsed() < STILL && start.elapsed() < REST {
        thread::sleep(Duration::from_millis(100)); // looks again now and then
        let now = held()?;
        if !same(&last, &now) {
            since = Instant::now();
        }
        last = now;
    }
    Ok(last)
}

struct Soak {
    way: Files,
    child: Child,
    /// Unmounted when the server has gone.
    mounted: TestFs,
    load: Load,
    _scratch: Scratch,
}

impl Soak {
    /// The inner error: the file system cannot be mounted here.
    fn start(options: &ServerOptions, way: Files) -> Result<io::Result<Self>, Trouble> {
        let scratch = Scratch::make(&options.common.dir(), &format!("server-{}", name(way)))?;
        let make = || {
            for name in ["failing", "sound"] {
                fs::create_dir(scratch.path().join(name))?;
            }
            for (at, &size) in SIZES.iter().enumerate() {
                let path = scratch.path().join(format!("sound/{at}"));
                fs::write(path, contents(SOUND + at, size))?;
            }
            Ok(())
        };
        make().map_err(Trouble::io("making the files"))?;
        let mounted = match mount(&scratch.path().join("failing")) {
            Ok(mounted) => mounted,
            Err(error) => return Ok(Err(error)),
        };
        let child = Child::start(way, scratch.path(), options)?;
        Ok(Ok(Self { way, child, mounted, load: Load::new()?, _scratch: scratch }))
    }

    /// Of what was seen first and then, and of what the server had between and after.
    fn row(
        mut self,
        (warm, seen): (Seen, Seen),
        (before, after): (Held, Held),
    ) -> Result<Row, Trouble> {
        let mut row = Row::new("soak", name(self.way), &seen.latency);
        row.more.p999_ns = Some(rounded(seen.latency.quantile(0.999)));
        row.more.threads = Some(after.threads);
        let counts = self.mounted.counts();
        let outstanding = self.child.counts()?.outstanding;
        row.more.remark = Some(format!(
            "{} whole, {} parts, {} unchanged, {} heads, {} errors, {} cut off, {} hung up, {} bytes; \
             {} reads failed, {} too short, {} openings and reads slow; threads {} -> {}, \
             descriptors {} -> {}, {} -> {} KiB",
            seen.whole,
            seen.parts,
            seen.unchanged,
            seen.heads,
            seen.errors,
            seen.cut,
            seen.hung_up,
            seen.bytes,
            counts.failed,
            counts.shorter,
            counts.delayed,
            before.threads,
            after.threads,
            before.descriptors,
            after.descriptors,
            before.memory,
            after.memory,
        ));
        let left = || leak(before, after, counts.open, outstanding);
        row.fault = warm.fault.or(seen.fault).or_else(left);
        self.child.end()?;
        drop(self.mounted);
        Ok(row)
    }

    /// Makes requests for a while; longer, if something of what is to go wrong has not yet.
    fn soak(&self, time: Duration, clients: usize, seed: u64) -> Result<Seen, Trouble> {
        let server = self.child.address;
        self.load.run(async {
            let seen = Rc::new(RefCell::new(Seen::default()));
            let now = Instant::now();
            let end = (now + time, now + MOST_LONGER * time);
            let mut tasks = JoinSet::new();
            for at in 0..clients {
                let seen = Rc::clone(&seen);
                let dice = Dice(seed * 1000 + at as u64);
                tasks.spawn_local(Client { server, dice, seen, tag: Default::default() }.run(end));
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok(seen.take())
        })
    }
}

/// What a server has kept of the requests, if anything.
fn leak(before: Held, after: Held, open: u64, outstanding: u64) -> Option<String> {
    if before.descriptors != after.descriptors {
        Some("descriptors are left".to_owned())
    } else if open > 0 {
        Some(format!("{open} files are left open"))
    } else if outstanding > 0 {
        Some(format!("{outstanding} closures are away"))
    } else if after.threads > before.threads + SLACK {
        Some("threads are left".to_owned())
    } else {
        None
    }
}

/// Mounts the files that fail.
fn mount(at: &Path) -> io::Result<TestFs> {
    let file = |(at, &size): (usize, &u64)| File { name: at.to_string(), size };
    let chances = Chances {
        delayed: 200,
        failed: 20,
        shorter: 20,
        delay: Duration::from_micros(100)..=Duration::from_millis(100),
        state: AtomicU64::new(1),
    };
    let files = SIZES.iter().enumerate().map(file).collect();
    TestFs::mount(at, files, move |request| chances.answer(request))
}

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    latency: Samples,
    whole: u64,
    parts: u64,
    unchanged: u64,
    heads: u64,
    errors: u64,
    cut: u64,
    hung_up: u64,
    bytes: u64,
    /// The first thing that was wrong.
    fault: Option<String>,
}

impl Seen {
    /// True if each kind of trouble has come up.
    fn has_everything(&self) -> bool {
        self.errors > 0 && self.cut > 0 && self.hung_up > 0
    }
}

/// One client: one request after the other.
struct Client {
    server: SocketAddr,
    dice: Dice,
    seen: Rc<RefCell<Seen>>,
    /// The last tag of each sound file.
    tag: [Option<String>; SIZES.len()],
}

/// A request, and what is right for it.
struct Wanted {
    request: String,
    fails: bool,
    number: usize,
    /// Where the bytes begin, how many there are, and the status with which they come.
    offset: u64,
    length: u64,
    status: u16,
    kind: Kind,
    hang_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Part,
    Head,
    Unchanged,
}

impl Client {
    /// Until the first time, or if not everything has been seen by then, until it has or the second.
    async fn run(mut self, end: (Instant, Instant)) -> io::Result<()> {
        let mut connection = None;
        let is_over = |seen: &Seen| {
            let now = Instant::now();
            now >= end.0 && (now >= end.1 || seen.has_everything())
        };
        while !is_over(&self.seen.borrow()) {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(self.server).await?,
            };
            let wanted = self.wanted();
            let start = Instant::now();
            let goes_on = self.ask(&mut open, &wanted).await;
            self.seen.borrow_mut().latency.push(start.elapsed().as_nanos() as f64);
            match goes_on {
                Ok(true) => connection = Some(open),
                Ok(false) => {}
                Err(error) => self.wrong(&wanted, &error.to_string()),
            }
        }
        Ok(())
    }

    fn wanted(&mut self) -> Wanted {
        let dice = &mut self.dice;
        let fails = dice.below(10) < 7;
        let at = dice.below(SIZES.len() as u64) as usize;
        let size = SIZES[at];
        let (method, mut headers) = ("GET", String::new());
        let (mut method, mut kind, mut offset, mut length, mut status) =
            (method, Kind::Whole, 0, size, 200);
        match dice.below(10) {
            0..4 if size > 0 => {
                offset = dice.below(size);
                let last = offset + dice.below(size - offset);
                length = last - offset + 1;
                headers = format!("Range: bytes={offset}-{last}\r\n");
                (kind, status) = (Kind::Part, 206);
            }
            4 => (method, kind) = ("HEAD", Kind::Head),
            5 => {
                if let Some(tag) = self.tag[at].as_ref().filter(|_| !fails) {
                    headers = format!("If-None-Match: {tag}\r\n");
                    (kind, status, length) = (Kind::Unchanged, 304, 0);
                }
            }
            _ => {}
        }
        let folder = if fails { "failing" } else { "sound" };
        let request = format!("{method} /{folder}/{at} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n");
        let number = if fails { at } else { SOUND + at };
        let hang_up = dice.below(20) == 0;
        Wanted { request, fails, number, offset, length, status, kind, hang_up }
    }

    /// Makes the request. True if the connection can be used again; an error says what was wrong.
    async fn ask(&mut self, open: &mut Connection, wanted: &Wanted) -> io::Result<bool> {
        let head = match open.ask_all(wanted.request.as_bytes()).await {
            Ok(head) => head,
            // The body may fail before the server has sent the head.
            Err(_) if wanted.fails => {
                self.seen.borrow_mut().cut += 1;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if head.status == 500 && wanted.fails {
            self.seen.borrow_mut().errors += 1;
            if wanted.kind != Kind::Head {
                self.skip(open, head.length).await?;
            }
            return Ok(true);
        }
        if head.status != wanted.status || head.length != wanted.length {
            return Err(io::Error::other(format!("{} with {} bytes", head.status, head.length)));
        }
        if wanted.number >= SOUND {
            self.tag[wanted.number - SOUND] = head.tag;
        }
        if matches!(wanted.kind, Kind::Head | Kind::Unchanged) {
            let mut seen = self.seen.borrow_mut();
            *(if wanted.kind == Kind::Head { &mut seen.heads } else { &mut seen.unchanged }) += 1;
            return Ok(true);
        }
        let mut done = 0;
        while done < wanted.length {
            let bytes = match open.some(wanted.length - done).await {
                Ok(bytes) => bytes,
                Err(_) if wanted.fails => {
                    self.seen.borrow_mut().cut += 1;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            if let Some(at) = mismatch(wanted.number, wanted.offset + done, &bytes) {
                return Err(io::Error::other(format!("a wrong byte at {}", done + at as u64)));
            }
            done += bytes.len() as u64;
            let mut seen = self.seen.borrow_mut();
            seen.bytes += bytes.len() as u64;
            if wanted.hang_up && done * 2 >= wanted.length {
                seen.hung_up += 1;
                return Ok(false);
            }
        }
        let mut seen = self.seen.borrow_mut();
        *(if wanted.kind == Kind::Part { &mut seen.parts } else { &mut seen.whole }) += 1;
        Ok(true)
    }

    /// Reads a body that does not matter.
    async fn skip(&self, open: &mut Connection, mut left: u64) -> io::Result<()> {
        while left > 0 {
            left -= open.some(left).await?.len() as u64;
        }
        Ok(())
    }

    fn wrong(&self, wanted: &Wanted, what: &str) {
        let line = wanted.request.lines().next().unwrap_or_default();
        let range = format!("{} bytes from {}", wanted.length, wanted.offset);
        let mut seen = self.seen.borrow_mut();
        seen.fault.get_or_insert_with(|| format!("{line}, {range}: {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syslet_testfs::fill;

    #[test]
    fn whatever_is_left_is_a_leak() {
        let held = Held { threads: 11, descriptors: 12, memory: 1 };
        let more = |threads, descriptors| Held { threads, descriptors, memory: 2 };
        let leak = |after, open, away| leak(held, after, open, away);
        assert_eq!(leak(more(11 + SLACK, 12), 0, 0), None);
        assert_eq!(leak(more(5, 12), 0, 0), None, "of threads more may end");
        for (after, open, away) in [
            (more(11, 13), 0, 0),
            (more(11, 11), 0, 0),
            (more(12 + SLACK, 12), 0, 0),
            (held, 1, 0),
            (held, 0, 1),
        ] {
            assert!(leak(after, open, away).is_some(), "{after:?} {open} {away}");
        }
    }

    #[test]
    fn contents_of_all_files_differ() {
        let mut first = [0; 64];
        fill(0, 0, &mut first);
        for at in (1..SIZES.len()).chain(SOUND..SOUND + SIZES.len()) {
            assert!(mismatch(at, 0, &first).is_some(), "{at}");
        }
    }
}
