//! The machine that the figures were taken on.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::Trouble;

/// What one must know to read the figures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    cpu: String,
    /// CPUs that this process may use.
    cpus: usize,
    /// True if this is a virtual machine: waking an idle CPU costs more there.
    virtualized: bool,
    kernel: String,
    /// Type of the file system with the files of the measures.
    file_system: String,
    /// When the bench began, UTC.
    date: String,
    /// Load of the last minute when the bench began: what else was running.
    load: String,
    /// Percentage of the CPUs' time that the host of a virtual machine took while the measures ran: it
    /// comes in pieces of up to some hundred milliseconds, which are in the longest times.
    stolen: f64,
    /// `release`, or `debug`: figures that mean nothing.
    profile: Cow<'static, str>,
    /// Why calls cannot run inline here, if so.
    unsupported: Option<String>,
    membarrier: bool,
    protection_keys: bool,
}

/// When the measures began, and what others did then.
#[derive(Debug)]
pub(crate) struct Before {
    time: SystemTime,
    load: String,
    cpu_time: CpuTime,
}

impl Before {
    pub(crate) fn now() -> Self {
        let load = read("/proc/loadavg").split(' ').next().unwrap_or("").to_owned();
        Self { time: SystemTime::now(), load, cpu_time: CpuTime::now() }
    }
}

/// What the CPUs did since the machine started, in ticks; proc_stat(5).
#[derive(Debug)]
struct CpuTime {
    total: u64,
    stolen: u64,
}

impl CpuTime {
    /// Index of `steal` among the columns, and how many there are before those of guests, which are in
    /// the first two as well.
    const STEAL: usize = 7;
    const COLUMNS: usize = 8;

    fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or("");
        let columns = line.split_whitespace().skip(1).take(Self::COLUMNS);
        let columns: Vec<u64> = columns.map(|column| column.parse().unwrap_or(0)).collect();
        let stolen = columns.get(Self::STEAL).copied().unwrap_or(0);
        Self { total: columns.iter().sum(), stolen }
    }

    /// Percentage that was stolen since `before`.
    fn stolen_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total).max(1);
        100.0 * self.stolen.saturating_sub(before.stolen) as f64 / total as f64
    }
}

impl Machine {
    /// Reads it from /proc, and asks the library: which makes threads that a measure may count, so it
    /// comes after the measures. `before` is what was before them.
    pub(crate) fn describe(dir: &Path, before: Before) -> Result<Self, Trouble> {
        let probe = syslet::probe()?;
        let cpuinfo = read("/proc/cpuinfo");
        Ok(Self {
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: probe.cpus,
            virtualized: field(&cpuinfo, "flags").is_some_and(|flags| flags.contains("hypervisor")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(dir),
            date: utc(before.time),
            load: before.load,
            stolen: CpuTime::now().stolen_since(&before.cpu_time),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            unsupported: probe.unsupported.map(|why| why.to_string()),
            membarrier: probe.membarrier,
            protection_keys: probe.protection_keys,
        })
    }
}

#[cfg(test)]
impl Machine {
    /// One that there is not.
    pub(crate) fn for_tests() -> Self {
        Self {
            cpu: "none".to_owned(),
            cpus: 1,
            virtualized: false,
            kernel: "0".to_owned(),
            file_system: "none".to_owned(),
            date: utc(UNIX_EPOCH),
            load: "0".to_owned(),
            stolen: 0.0,
            profile: "debug".into(),
            unsupported: None,
            membarrier: false,
            protection_keys: false,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.virtualized { ", virtual" } else { "" };
        let yes_no = |yes| if yes { "yes" } else { "no" };
        writeln!(f, "{} ({} CPUs{kind}), Linux {}", self.cpu, self.cpus, self.kernel)?;
        let (membarrier, keys) = (yes_no(self.membarrier), yes_no(self.protection_keys));
        writeln!(f, "files on {}, membarrier {membarrier}, pkeys {keys}", self.file_system)?;
        write!(f, "{}, load {}, ", self.date, self.load)?;
        write!(f, "{:.1} % of the CPUs stolen, {} build", self.stolen, self.profile)
    }
}

/// The file's text; nothing if it cannot be read: the report is poorer then, not wrong.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Type of the mount that `dir` is on: the longest mount point that it begins with.
pub(crate) fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = read("/proc/self/mounts");
    let mount = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        dir.starts_with(point).then_some((point.len(), kind))
    });
    mount.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// The time as ISO 8601, to the second.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970 (Howard Hinnant's `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::{CpuTime, civil};

    #[test]
    fn stolen_time_is_the_eighth_column() {
        let before = CpuTime::parse("cpu  100 0 0 300 0 0 0 10 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        let after = CpuTime::parse("cpu  150 0 0 325 0 0 0 35 9 0\n");
        assert_eq!(after.stolen_since(&before), 25.0);
        assert_eq!(CpuTime::parse("").stolen_since(&before), 0.0);
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_088), (2024, 12, 31));
    }
}
