//! The report for people, and for programs.

use std::fmt;
use std::io;
use std::time::Duration;

use super::summary::{Cell, LibrarySummary, Summary};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.libraries
            .iter()
            .filter(|library| library.processes > 0)
            .try_for_each(|library| fmt::Display::fmt(library, f))
    }
}

impl fmt::Display for LibrarySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processes = if self.processes == 1 { "process" } else { "processes" };
        writeln!(f, "{}: loaded by {} {processes}", self.library.name(), self.processes)?;
        if self.cells.is_empty() {
            return writeln!(f, "  not used");
        }
        let [count, mean, p50, p99, max] = ["count", "mean", "p50", "p99", "max"];
        writeln!(f, "  {:<16}{count:>12}{mean:>10}{p50:>10}{p99:>10}{max:>10}", "operation")?;
        for cell in &self.cells {
            let name = format!("{} {}", cell.kind.name(), cell.way.name());
            let mean = cell.sum / u32::try_from(cell.count).unwrap_or(u32::MAX);
            let times = [mean, cell.quantile(0.5), cell.quantile(0.99), cell.max];
            let [mean, p50, p99, max] = match cell.histogram.is_empty() {
                true => times.map(|_| "-".to_owned()), // nobody knows
                false => times.map(short),
            };
            writeln!(f, "  {name:<16}{:>12}{mean:>10}{p50:>10}{p99:>10}{max:>10}", cell.count)?;
        }
        for (errno, count) in &self.errors {
            writeln!(f, "  {count} answered: {}", error(*errno))?;
        }
        Ok(())
    }
}

fn error(errno: i32) -> String {
    if errno == 0 {
        return "an error that is none of Linux's".into();
    }
    io::Error::from_raw_os_error(errno).to_string()
}

/// With three digits at least, and a unit.
fn short(time: Duration) -> String {
    let nanos = time.as_nanos();
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{} us", nanos / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

impl Summary {
    /// The same as JSON: an object with a member for each library that was loaded.
    pub fn to_json(&self) -> String {
        let loaded = self.libraries.iter().filter(|library| library.processes > 0);
        let members =
            loaded.map(|library| format!("\"{}\":{}", library.library.name(), library.to_json()));
        format!("{{{}}}", join(members))
    }
}

impl LibrarySummary {
    fn to_json(&self) -> String {
        let errors = self.errors.iter().map(|(errno, count)| format!("\"{errno}\":{count}"));
        format!(
            "{{\"processes\":{},\"operations\":[{}],\"errors\":{{{}}}}}",
            self.processes,
            join(self.cells.iter().map(Cell::to_json)),
            join(errors)
        )
    }
}

impl Cell {
    fn to_json(&self) -> String {
        let steps =
            self.histogram.iter().map(|(end, count)| format!("[{},{count}]", end.as_nanos()));
        format!(
            "{{\"kind\":\"{}\",\"way\":\"{}\",\"count\":{},\"sum_ns\":{},\"max_ns\":{},\"below_ns\":[{}]}}",
            self.kind.name(),
            self.way.name(),
            self.count,
            self.sum.as_nanos(),
            self.max.as_nanos(),
            join(steps)
        )
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
