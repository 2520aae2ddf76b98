//! What was measured, as a table or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::samples::Samples;

/// One measure.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) work: Cow<'static, str>,
    pub(crate) way: String,
    /// Figures that the distribution is made of.
    pub(crate) n: usize,
    pub(crate) min_ns: f64,
    pub(crate) median_ns: f64,
    pub(crate) p90_ns: f64,
    pub(crate) p99_ns: f64,
    pub(crate) max_ns: f64,
    #[serde(flatten)]
    pub(crate) more: More,
    /// Why the measure does not show what it claims.
    #[serde(skip)]
    pub(crate) fault: Option<String>,
}

/// What only some measures have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) placement: Option<Cow<'static, str>>,
    /// Calls that are timed together: a figure is their mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<usize>,
    /// Calls that are under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) depth: Option<usize>,
    /// Median of the differences to the reference taken next to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra_ns_median: Option<f64>,
    /// Median of the ratios to the reference taken next to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_median: Option<f64>,
    /// Calls that the library counts as finished inline, handed off, queued or made in place for want
    /// of a crew thread, or noticed by the watchdog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inline: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handed_off: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rescued: Option<u64>,
    /// Reads that the library gave to io_uring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_ring: Option<u64>,
    /// Requests that the way's own ring has taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ring_requests: Option<u64>,
    /// CPU time of the way's own threads for each work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads_cpu_ns: Option<u64>,
    /// Calls that the library counts as parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<u64>,
    /// The slowest in a thousand begin here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p999_ns: Option<f64>,
    /// Median of the ratios of p99 to that of the segment beside it, in which nothing was slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ratio_median: Option<f64>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
    /// Calls submitted, and calls that were woken, in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) woken_per_second: Option<f64>,
    /// Resident memory for each call, in bytes, with the handle and the bench's own notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_call: Option<f64>,
    /// Threads of the process, or of the crew where calls need one each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
    /// CPU time of process and sentinels for one call, and what of it the plain call has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ns_per_call: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra_cpu_ns_per_call: Option<f64>,
    /// Part of one CPU that process and sentinels use, and the sentinels alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sentinel_share: Option<f64>,
}

impl Row {
    pub(crate) fn new(work: &'static str, way: impl Into<String>, samples: &Samples) -> Self {
        let [min_ns, median_ns, p90_ns, p99_ns, max_ns] = samples.spread().map(rounded);
        let (way, n) = (way.into(), samples.len());
        Self {
            work: work.into(),
            way,
            n,
            min_ns,
            median_ns,
            p90_ns,
            p99_ns,
            max_ns,
            ..Self::default()
        }
    }

    /// Adds how `samples` compare with `reference`, pair by pair.
    pub(crate) fn against(mut self, samples: &Samples, reference: &Samples) -> Self {
        let extra = samples.paired(reference, |ours, theirs| ours - theirs);
        let ratio = samples.paired(reference, |ours, theirs| ours / theirs.max(f64::MIN_POSITIVE));
        self.more.extra_ns_median = Some(rounded(extra.median()));
        self.more.ratio_median = Some(thousandths(ratio.median()));
        self
    }
}

/// As many digits as a ratio has that mean anything.
pub(crate) fn thousandths(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

/// To tenths: a nanosecond has no more digits that mean anything.
pub(crate) fn rounded(nanos: f64) -> f64 {
    (nanos * 10.0).round() / 10.0
}

/// Everything that a command measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) command: Cow<'static, str>,
    quick: bool,
    pub(crate) machine: Machine,
    /// What one must know of this command's figures.
    pub(crate) note: Cow<'static, str>,
    pub(crate) rows: Vec<Row>,
    pub(crate) faults: Vec<String>,
}

impl Report {
    /// `lost` are faults of measures that have no rows.
    pub(crate) fn new(
        command: &'static str,
        quick: bool,
        machine: Machine,
        rows: Vec<Row>,
        lost: Vec<String>,
    ) -> Self {
        let fault = |row: &Row| Some(format!("{} {}: {}", row.work, row.way, row.fault.as_ref()?));
        let faults = rows.iter().filter_map(fault).chain(lost).collect();
        let note = match command {
            "server" => {
                "servers and load generator share the CPUs; latencies are those that the generator \
                 sees with all its connections busy; ratio is of requests in a second, to tokio_fs"
            }
            "posixaio" => {
                "a figure is the time of one operation in a turn of fio's; extra and ratio are medians over \
                 neighbouring turns, to the system's library"
            }
            _ => "extra and ratio are medians over neighbouring pairs",
        };
        Self { command: command.into(), quick, machine, note: note.into(), rows, faults }
    }

    /// Measures that do not show what they claim.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn print_json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)
    }

    pub(crate) fn print_table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "nanoseconds; {}\n", self.note)?;
        let mut lines = vec![HEADINGS.map(String::from)];
        lines.extend(self.rows.iter().map(cells));
        let width: [usize; COLUMNS] =
            std::array::from_fn(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0));
        for line in &lines {
            for (at, (cell, width)) in line.iter().zip(width).enumerate() {
                match at {
                    0 | 1 => write!(out, "{cell:<width$}  ")?,
                    _ if at == COLUMNS - 1 => write!(out, "{cell}")?,
                    _ => write!(out, "{cell:>width$}  ")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

const COLUMNS: usize = 13;
const HEADINGS: [&str; COLUMNS] = [
    "work",
    "way",
    "n",
    "min",
    "median",
    "p90",
    "p99",
    "max",
    "extra",
    "ratio",
    "inline",
    "handed off",
    "",
];

fn cells(row: &Row) -> [String; COLUMNS] {
    let more = &row.more;
    let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
    [
        row.work.clone().into_owned(),
        row.way.clone(),
        row.n.to_string(),
        figure(row.min_ns),
        figure(row.median_ns),
        figure(row.p90_ns),
        figure(row.p99_ns),
        figure(row.max_ns),
        more.extra_ns_median.map_or_else(String::new, |extra| format!("{extra:+.1}")),
        more.ratio_median.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        count(more.inline),
        count(more.handed_off),
        remarks(row),
    ]
}

/// A time in the unit that suits it.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        1e3..1e4 => format!("{:.1} us", nanos / 1e3),
        1e4..1e6 => format!("{:.0} us", nanos / 1e3),
        1e6..1e7 => format!("{:.1} ms", nanos / 1e6),
        1e7..1e9 => format!("{:.0} ms", nanos / 1e6),
        _ => format!("{:.1} s", nanos / 1e9),
    }
}

/// Hundreds of nanoseconds with a tenth, more without.
fn figure(nanos: f64) -> String {
    if nanos < 1000.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") }
}

/// What else there is to say of a row.
pub(crate) fn remarks(row: &Row) -> String {
    let more = &row.more;
    let mut remarks = Vec::new();
    if let Some(rescued) = more.rescued.filter(|&rescued| rescued > 0) {
        remarks.push(format!("{rescued} by the watchdog"));
    }
    if let Some(queued) = more.queued.filter(|&queued| queued > 0) {
        remarks.push(format!("{queued} queued"));
    }
    if let Some(p999) = more.p999_ns {
        remarks.push(format!("p99.9 {}", figure(p999)));
    }
    if let Some(ratio) = more.p99_ratio_median {
        remarks.push(format!("p99 is {ratio:.3} of that without slow requests"));
    }
    if let Some(cpu) = more.cpu_ns_per_call {
        let extra = more.extra_cpu_ns_per_call.map_or_else(String::new, |e| format!(" ({e:+.0})"));
        remarks.push(format!("CPU {cpu:.0} a call{extra}"));
    }
    if let (Some(share), Some(sentinels)) = (more.cpu_share, more.sentinel_share) {
        let (share, sentinels) = (share * 100.0, sentinels * 100.0);
        remarks.push(format!("{share:.4} % of a CPU, sentinels {sentinels:.4} %"));
    }
    if let Some(reads) = more.by_ring.filter(|&reads| reads > 0) {
        remarks.push(format!("{reads} by the library's ring"));
    }
    if let Some(requests) = more.ring_requests {
        remarks.push(format!("{requests} requests of its ring"));
    }
    if let Some(nanos) = more.threads_cpu_ns {
        remarks.push(format!("{nanos} ns by its threads"));
    }
    if let Some(parked) = more.parked {
        remarks.push(format!("{parked} parked"));
    }
    if let Some(rate) = more.per_second {
        remarks.push(format!("{rate:.0}/s"));
    }
    if let Some(rate) = more.woken_per_second {
        remarks.push(format!("{rate:.0}/s woken"));
    }
    if let Some(bytes) = more.bytes_per_call {
        remarks.push(format!("{bytes:.0} bytes a call"));
    }
    if let Some(threads) = more.threads {
        remarks.push(format!("{threads} threads"));
    }
    remarks.extend(more.remark.clone());
    if row.fault.is_some() {
        remarks.push("FAULT".to_owned());
    }
    remarks.join("; ")
}
