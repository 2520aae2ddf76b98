//! Cold reads: 4 KiB at random places of a file that is not in the page cache, so many at once.
//!
//! A guest's cold reads go to a ring of io_uring that the library has, if they may; if not, each keeps a crew
//! thread. Both are compared with a pool of threads and with a ring of the bench's own. Every way hands reads
//! over from one thread, because a program does; segments of the ways take turns, each with the cache emptied
//! before it. What really came from the disk is counted by the kernel, and a segment that was served from the
//! cache is a fault. Ratios are of reads in a second, to those of the guest.

mod file;
mod guest;
mod threads;
mod uring;

use std::time::Instant;

use syslet::{Limits, Placement};

pub(crate) use self::file::bytes_read_by;
use self::file::{Buffers, ColdFile};
use self::threads::Pool;
use self::uring::{Handing, Ring};
use crate::cost::Sentinels;
use crate::error::Trouble;
use crate::guest::{Path, on_guest, on_thread};
use crate::options::ColdOptions;
use crate::report::{Row, rounded};
use crate::samples::Samples;

/// Bytes of a read.
pub(crate) const BLOCK: usize = 4096;

/// Measures every depth that is asked for.
pub(crate) fn run(options: &ColdOptions) -> Result<Vec<Row>, Trouble> {
    let file = ColdFile::make(&options.common.dir(), options.bytes())?;
    let mut rows = Vec::new();
    for &depth in &options.depths() {
        rows.extend(Bench::new(options, &file, depth)?.run()?);
    }
    Ok(rows)
}

/// One way to have reads made.
trait Reader {
    /// Hands over a read at `offset`, with buffer number `slot`. True: it is done already.
    fn hand_over(&mut self, slot: usize, offset: u64) -> Result<bool, Trouble>;

    /// Waits until a read has ended, and says of each that has which it is, and when that was.
    fn collect(&mut self, ended: &mut Vec<(usize, Instant)>) -> Result<(), Trouble>;
}

/// What became of some reads.
#[derive(Debug, Default)]
struct Reads {
    /// From handing over to the end, in nanoseconds.
    latency: Vec<f64>,
    /// Done at once.
    inline: u64,
}

/// Makes the reads, up to `depth` at once.
fn make(reader: &mut dyn Reader, offsets: &[u64], depth: usize) -> Result<Reads, Trouble> {
    let mut reads = Reads::default();
    let mut begun = vec![Instant::now(); depth];
    let mut free: Vec<usize> = (0..depth).collect();
    let mut ended = Vec::new();
    let mut next = offsets.iter();
    loop {
        while let Some(&slot) = free.last() {
            let Some(&offset) = next.next() else { break };
            begun[slot] = Instant::now();
            if reader.hand_over(slot, offset)? {
                reads.latency.push(begun[slot].elapsed().as_nanos() as f64);
                reads.inline += 1;
            } else {
                free.pop();
            }
        }
        if free.len() == depth {
            return Ok(reads);
        }
        reader.collect(&mut ended)?;
        for (slot, at) in ended.drain(..) {
            reads.latency.push(at.duration_since(begun[slot]).as_nanos() as f64);
            free.push(slot);
        }
    }
}

/// The ways.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A pool of that many threads, fed by a queue.
    Threads(usize),
    /// A guest submits them, and the library's ring makes them.
    Guest,
    /// A guest submits them, and crew threads sleep in them.
    Crew,
    /// An inline attempt, and io_uring for what it found cold.
    Ring(Handing),
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Threads(count) => format!("threads-{count}"),
            Self::Guest => "syslet".to_owned(),
            Self::Crew => "syslet-crew".to_owned(),
            Self::Ring(Handing::Together) => "io_uring-together".to_owned(),
            Self::Ring(Handing::OneByOne) => "io_uring-one-by-one".to_owned(),
        }
    }
}

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    latency: Samples,
    /// Reads in a second, for each segment.
    rate: Samples,
    /// CPU time of a read, for each segment.
    cpu: Samples,
    path: Path,
    inline: u64,
    /// Bytes that the kernel has read from the disk.
    read: u64,
}

/// The measures of one depth.
struct Bench<'a> {
    options: &'a ColdOptions,
    file: &'a ColdFile,
    depth: usize,
    buffers: Buffers,
    /// The library may use io_uring here.
    ring_is_there: bool,
}

impl<'a> Bench<'a> {
    fn new(options: &'a ColdOptions, file: &'a ColdFile, depth: usize) -> Result<Self, Trouble> {
        let ring_is_there = syslet::probe()?.no_ring.is_none();
        Ok(Self { options, file, depth, buffers: Buffers::leak(depth), ring_is_there })
    }

    fn run(&self) -> Result<Vec<Row>, Trouble> {
        let mut ways = vec![Way::Guest, Way::Crew, Way::Threads(self.best_count()?)];
        match Ring::new(self.file, self.buffers, self.depth, Handing::Together) {
            Ok(_) => ways.extend(Handing::BOTH.map(Way::Ring)),
            Err(error) => eprintln!("bench: io_uring is left out: {error}"),
        }
        let mut tallies: Vec<_> = ways.iter().map(|_| Tally::default()).collect();
        for round in 0..self.options.rounds() {
            for turn in 0..ways.len() {
                let at = (round + turn) % ways.len();
                self.segment(ways[at], self.options.reads(self.depth), &mut tallies[at])?;
            }
        }
        let rows = ways.iter().zip(&tallies);
        Ok(rows.map(|(way, tally)| self.row(*way, tally, &tallies[0])).collect())
    }

    /// How many threads make the most reads in a second here.
    fn best_count(&self) -> Result<usize, Trouble> {
        let reads = self.options.reads(self.depth) / 4;
        let mut best = (0.0, 1);
        for count in [1, 4, 8, 16, 32, 64, 128, 256].into_iter().filter(|&n| n <= self.depth) {
            let mut tally = Tally::default();
            self.segment(Way::Threads(count), reads, &mut tally)?;
            if tally.rate.median() > best.0 {
                best = (tally.rate.median(), count);
            }
        }
        Ok(best.1)
    }

    /// One segment of a way, on a thread of its own.
    fn segment(&self, way: Way, reads: usize, tally: &mut Tally) -> Result<(), Trouble> {
        let (file, buffers, depth) = (self.file, self.buffers, self.depth);
        match way {
            Way::Threads(count) => on_thread("bench-cold", || {
                let mut pool = Pool::start(file, count)?;
                self.timed(&mut pool, &Sentinels::none(), reads, tally)
            }),
            Way::Ring(handing) => on_thread("bench-cold", || {
                let mut ring = Ring::new(file, buffers, depth, handing)
                    .map_err(Trouble::io("making a ring"))?;
                self.timed(&mut ring, &Sentinels::none(), reads, tally)
            }),
            Way::Guest | Way::Crew => on_guest(Placement::Follow, || {
                let most = if matches!(way, Way::Crew) { 0 } else { usize::MAX };
                syslet::set_limits(Limits::new().ring_reads(most));
                let mut guest = guest::Guest::new(file, buffers, depth);
                syslet::threadlet(|| ()).join();
                self.timed(&mut guest, &Sentinels::find()?, reads, tally)
            }),
        }
    }

    /// Warms everything up but the cache, and measures.
    fn timed(
        &self,
        reader: &mut dyn Reader,
        sentinels: &Sentinels,
        reads: usize,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        make(reader, &self.file.some_offsets(self.depth), self.depth)?;
        let offsets = self.file.some_offsets(reads);
        self.file.leave_cache()?;
        let (read, path) = (file::bytes_read()?, Path::now());
        let begun = Instant::now();
        let (spent, made) = sentinels.spent_in(|| make(reader, &offsets, self.depth))?;
        let seconds = begun.elapsed().as_secs_f64();
        tally.path.add_since(path);
        tally.read += file::bytes_read()?.saturating_sub(read);
        tally.rate.push(reads as f64 / seconds);
        tally.cpu.push(spent.total() / reads as f64);
        tally.inline += made.inline;
        made.latency.into_iter().for_each(|nanos| tally.latency.push(nanos));
        Ok(())
    }

    fn row(&self, way: Way, tally: &Tally, guest: &Tally) -> Row {
        let mut row = Row::new("cold", format!("{}-at-{}", way.name(), self.depth), &tally.latency);
        let reads = tally.latency.len() as u64;
        row.more.depth = Some(self.depth);
        row.more.per_second = Some(tally.rate.median().round());
        row.more.cpu_ns_per_call = Some(rounded(tally.cpu.median()));
        row.more.inline = Some(tally.inline);
        let needed = reads * BLOCK as u64;
        if tally.read < needed / 10 * 9 {
            row.fault = Some(format!("{} of {needed} bytes came from the disk", tally.read));
        }
        if matches!(way, Way::Guest | Way::Crew) {
            row.more.handed_off = Some(tally.path.handed_off);
            row.more.rescued = Some(tally.path.rescued);
            row.more.by_ring = Some(tally.path.by_ring);
            let strays = if matches!(way, Way::Crew) {
                tally.path.by_ring
            } else {
                (reads - tally.inline).saturating_sub(tally.path.by_ring)
            };
            if self.ring_is_there && strays > reads / 10 {
                row.fault = Some(format!("{strays} of {reads} reads went another way"));
            }
        }
        if !matches!(way, Way::Guest) {
            let ratio = tally.rate.paired(&guest.rate, |ours, theirs| ours / theirs).median();
            row.more.ratio_median = Some((ratio * 1000.0).round() / 1000.0);
        }
        row
    }
}
