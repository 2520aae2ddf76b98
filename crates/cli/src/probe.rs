//! `syslet probe`: what this machine and sandbox allow, and how fast it is.

use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::{read, write};
use rustix::pipe::pipe;
use serde::Serialize;

use crate::args::ProbePlan;
use crate::exit::{Exit, Trouble, print, print_json};

/// Calls of one timing: long enough for the clock, short enough to be over between two ticks of the
/// scheduler.
const CALLS: u32 = 1_000;
/// Timings, of which the fastest counts: the others were disturbed.
const TIMINGS: u32 = 50;
/// Blocking reads to time the handoff with: enough for a p99.
const BLOCKS: usize = 500;
/// How long each stays blocked at least, so that the sentinel has gone to rest in between.
const PAUSE: Duration = Duration::from_micros(200);

#[derive(Debug, Serialize)]
struct Findings {
    /// `attached` or `pool`.
    mechanism: &'static str,
    /// Why it is the pool.
    reason: Option<String>,
    kernel: String,
    architecture: String,
    cpus: usize,
    membarrier: bool,
    protection_keys: bool,
    /// `io_uring` or `crew`.
    cold_reads: &'static str,
    /// Why not io_uring.
    no_ring: Option<String>,
    /// What parking uses, and whether it is allowed.
    calls: Vec<Allowed>,
    inline: Option<Inline>,
    handoff: Option<Handoff>,
}

/// A call that may be refused.
#[derive(Debug, Serialize)]
struct Allowed {
    call: &'static str,
    /// What happens: with it, or without.
    then: &'static str,
    /// Why it is refused, if it is.
    refused: Option<String>,
}

impl From<&syslet::Allowance> for Allowed {
    fn from(of: &syslet::Allowance) -> Self {
        let refused = of.refused.map(|errno| std::io::Error::from_raw_os_error(errno).to_string());
        let then = if refused.is_none() { of.purpose } else { of.otherwise };
        Self { call: of.call, then, refused }
    }
}

/// Nanoseconds per call.
#[derive(Debug, Serialize)]
struct Inline {
    /// An empty closure as a threadlet.
    threadlet_ns: f64,
    /// `statx` of the root directory, called plainly.
    statx_ns: f64,
    /// The same in a threadlet.
    statx_threadlet_ns: f64,
}

/// From the call of a threadlet that reads an empty pipe until the caller goes on.
#[derive(Debug, Serialize)]
struct Handoff {
    count: usize,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
}

/// Looks, measures and prints.
pub(crate) fn run(plan: ProbePlan) -> Result<Exit, Trouble> {
    let probe = syslet::probe().map_err(Trouble::at("attaching the thread"))?;
    let attached = probe.unsupported.is_none();
    let system = rustix::system::uname();
    let measured = syslet::with_attached(|| -> Result<_, Trouble> {
        // Through the pool every closure changes threads: there is nothing inline to measure.
        Ok((attached.then(Inline::measure).transpose()?, Handoff::measure()?))
    });
    let (inline, handoff) = measured.map_err(Trouble::at("attaching the thread"))??;
    let findings = Findings {
        mechanism: if attached { "attached" } else { "pool" },
        reason: probe.unsupported.map(|why| why.to_string()),
        kernel: system.release().to_string_lossy().into_owned(),
        architecture: system.machine().to_string_lossy().into_owned(),
        cpus: probe.cpus,
        membarrier: probe.membarrier,
        protection_keys: probe.protection_keys,
        cold_reads: if probe.no_ring.is_none() { "io_uring" } else { "crew" },
        no_ring: probe.no_ring.map(|why| why.to_string()),
        calls: probe.allowances.iter().map(Allowed::from).collect(),
        inline,
        handoff: attached.then_some(handoff),
    };
    if plan.json {
        print_json(&findings)?
    } else {
        print(&findings.text())?
    }
    Ok(Exit::Done)
}

impl Inline {
    fn measure() -> Result<Self, Trouble> {
        let plain =
            || statx(CWD, c"/", AtFlags::empty(), StatxFlags::BASIC_STATS).map(|s| s.stx_mode);
        plain().map_err(Trouble::at("statx of /"))?;
        Ok(Self {
            threadlet_ns: per_call(|| syslet::threadlet(|| black_box(())).join()),
            statx_ns: per_call(plain),
            statx_threadlet_ns: per_call(|| syslet::threadlet(plain).join()),
        })
    }
}

/// Nanoseconds of one `call`, in the best of several timings.
fn per_call<T>(call: impl Fn() -> T) -> f64 {
    let timing = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        start.elapsed()
    };
    let best = (0..TIMINGS).map(timing).min().unwrap_or_default();
    best.as_nanos() as f64 / f64::from(CALLS)
}

impl Handoff {
    fn measure() -> Result<Self, Trouble> {
        let (reader, writer) = pipe().map_err(Trouble::at("making a pipe"))?;
        let reader = std::sync::Arc::new(reader);
        let mut times = Vec::with_capacity(BLOCKS);
        for _ in 0..BLOCKS {
            let reader = std::sync::Arc::clone(&reader);
            let start = Instant::now();
            let blocked = syslet::threadlet(move || read(&*reader, &mut [0_u8]));
            times.push(start.elapsed().as_nanos() as u64);
            thread::sleep(PAUSE);
            write(&writer, &[0]).map_err(Trouble::at("writing to the pipe"))?;
            blocked.join().map_err(Trouble::at("reading from the pipe"))?;
        }
        times.sort_unstable();
        let at = |percent: usize| times[(BLOCKS * percent / 100).min(BLOCKS - 1)];
        Ok(Self { count: BLOCKS, p50_ns: at(50), p90_ns: at(90), p99_ns: at(99) })
    }
}

impl Findings {
    fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write_to(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn write_to(&self, to: &mut impl Write) -> std::io::Result<()> {
        let yes = |b: bool| if b { "yes" } else { "no" };
        match &self.reason {
            None => {
                writeln!(to, "mechanism        attached: calls run inline, and are handed off")?
            }
            Some(why) => writeln!(to, "mechanism        pool, because {why}")?,
        }
        writeln!(to, "kernel           Linux {} {}", self.kernel, self.architecture)?;
        writeln!(to, "CPUs             {}", self.cpus)?;
        writeln!(to, "membarrier       {}", yes(self.membarrier))?;
        writeln!(to, "protection keys  {}", yes(self.protection_keys))?;
        match &self.no_ring {
            None => writeln!(to, "cold reads       by io_uring")?,
            Some(why) => writeln!(to, "cold reads       by crew threads, because {why}")?,
        }
        for Allowed { call, then, refused } in &self.calls {
            match refused {
                None => writeln!(to, "{call:<16} allowed: {then}")?,
                Some(why) => writeln!(to, "{call:<16} refused ({why}): {then}")?,
            }
        }
        if let Some(Inline { threadlet_ns, statx_ns, statx_threadlet_ns }) = &self.inline {
            let more = statx_threadlet_ns - statx_ns;
            writeln!(to, "empty threadlet  {threadlet_ns:.0} ns")?;
            writeln!(to, "statx            {statx_ns:.0} ns plain, {more:+.0} ns in a threadlet")?;
        }
        if let Some(Handoff { count, p50_ns, p90_ns, p99_ns }) = self.handoff {
            let micros = |ns: u64| ns as f64 / 1e3;
            let (p50, p90, p99) = (micros(p50_ns), micros(p90_ns), micros(p99_ns));
            writeln!(to, "handoff          p50 {p50:.1} us, p90 {p90:.1} us, p99 {p99:.1} us")?;
            writeln!(
                to,
                "                 ({count} reads of an empty pipe; until the caller goes on)"
            )?;
        }
        Ok(())
    }
}
