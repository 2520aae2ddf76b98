//! What is published, as tables for people.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fmt::Write;
use std::time::Duration;

use syslet::GuestStats;
use syslet::publish::{Away, CrewThread, Doing, SeenCall, Snapshot};

/// The crew threads: those that have been away or at work longest, then those that carry, then the others.
pub(super) fn longest_away_first(seen: &Snapshot) -> Vec<&CrewThread> {
    let mut threads: Vec<_> = seen.crew.iter().collect();
    threads.sort_by_key(|thread| {
        let rank = match thread.doing {
            Doing::Away(_) | Doing::Job(_) => 0,
            Doing::Carries(_) => 1,
            _ => 2,
        };
        (rank, Reverse(thread.doing.away().map(|away| away.age)))
    });
    threads
}

/// All of it, of the process that is `pid` here.
pub(super) fn text(seen: &Snapshot, pid: u32) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = summary(seen, pid, &mut text)
        .and_then(|()| crew(seen, &mut text))
        .and_then(|()| guests(seen, &mut text));
    text
}

fn summary(seen: &Snapshot, pid: u32, to: &mut String) -> std::fmt::Result {
    let (stats, total) = (&seen.stats, &seen.stats.total);
    let count =
        |is: fn(&Doing) -> bool| seen.crew.iter().filter(|thread| is(&thread.doing)).count();
    let away = count(|doing| matches!(doing, Doing::Away(_)));
    let jobs = count(|doing| matches!(doing, Doing::Job(_)));
    let rest = count(|doing| matches!(doing, Doing::Rests));
    write!(to, "process   {pid} {}, syslet {}", printable(&seen.name), seen.version)?;
    if seen.pid != pid {
        write!(to, "; in its namespace {}, and threads as there", seen.pid)?;
    }
    writeln!(to)?;
    writeln!(
        to,
        "calls     {} inline, {} handed off, {} in place, {} queued",
        total.inline, total.handed_off, total.in_place, total.queued
    )?;
    writeln!(
        to,
        "handoffs  {}; {} found by the watchdog, {} of running calls, {} too late",
        latency(total),
        stats.rescued,
        stats.total.false_handoffs,
        stats.late_wakeups
    )?;
    writeln!(
        to,
        "crew      {} of {} threads: {away} away, {jobs} with queued work, {rest} resting; {} waiting",
        stats.crew, stats.crew_limit, seen.queued
    )?;
    if stats.spawn_failures > 0 {
        writeln!(to, "          {} threads could not be made", stats.spawn_failures)?;
    }
    writeln!(
        to,
        "parked    {} now, {} in all, {} with their file held; {} reads by io_uring in all",
        stats.parked, stats.parked_in_all, stats.held, stats.ring_reads
    )
}

/// Half and 99 of a hundred handoffs took no longer than this.
fn latency(stats: &GuestStats) -> String {
    if stats.latency.count() == 0 {
        return "none timed".to_owned();
    }
    let (p50, p99) = (stats.latency.quantile(0.5), stats.latency.quantile(0.99));
    format!("p50 {}, p99 {}", time(p50), time(p99))
}

/// Three digits and a unit.
fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 1e3 => format!("{s:.1} s"),
        s if s < 36e4 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

fn crew(seen: &Snapshot, to: &mut String) -> std::fmt::Result {
    writeln!(to, "\n  THREAD  CPU  GUEST   AWAY FOR  WHERE")?;
    for thread in longest_away_first(seen) {
        let cpu = thread.cpu.map_or("-".to_owned(), |cpu| cpu.to_string());
        let (guest, age, place) = match &thread.doing {
            Doing::Rests => (None, None, "rests".to_owned()),
            Doing::Carries(guest) => (Some(*guest), None, "carries the guest".to_owned()),
            Doing::Away(away) => (away.guest, Some(away.age), place(thread, away)),
            Doing::Job(away) => (None, Some(away.age), place(thread, away)),
            _ => (None, None, "between two".to_owned()),
        };
        let guest = guest.map_or("-".to_owned(), |guest| guest.to_string());
        let age = age.map_or("-".to_owned(), time);
        writeln!(to, "{:>8} {cpu:>4} {guest:>6} {age:>10}  {place}", thread.tid)?;
    }
    Ok(())
}

/// Where a thread is that is away.
fn place(thread: &CrewThread, away: &Away) -> String {
    match &away.call {
        Some(call) => call_text(call),
        None if thread.state == Some('R') => "runs".to_owned(),
        None => "not in a call that can be seen".to_owned(),
    }
}

/// The call with what its arguments are, as far as it is known; otherwise with its arguments.
fn call_text(call: &SeenCall) -> String {
    let name = if call.name.is_empty() { format!("call {}", call.nr) } else { call.name.clone() };
    let descriptors = call.descriptors.iter().map(|descriptor| {
        let file = descriptor.file.as_ref().map_or("not open".to_owned(), |file| printable(file));
        format!("{} {}: {file}", descriptor.argument, descriptor.number)
    });
    let paths = call.paths.iter().map(|path| format!("\"{}\"", printable(&path.path)));
    let mut parts: Vec<_> = descriptors.chain(paths).collect();
    if parts.is_empty() {
        parts = call.args.iter().map(|arg| format!("{arg:#x}")).collect();
    }
    format!("{name}({})", parts.join(", "))
}

fn guests(seen: &Snapshot, to: &mut String) -> std::fmt::Result {
    if seen.guests.is_empty() {
        return writeln!(to, "\nno thread is attached");
    }
    writeln!(to, "\n   GUEST     HOME  CARRIER      INLINE  HANDED OFF  IN PLACE   QUEUED  NAME")?;
    for guest in &seen.guests {
        let (stats, name) = (&guest.stats, printable(&guest.name));
        writeln!(
            to,
            "{:>8} {:>8} {:>8} {:>11} {:>11} {:>9} {:>8}  {name} ({})",
            guest.index,
            guest.home,
            guest.carrier,
            stats.inline,
            stats.handed_off,
            stats.in_place,
            stats.queued,
            latency(stats)
        )?;
    }
    Ok(())
}

/// Names and paths may hold anything: nothing of it may command the terminal, or end the line.
fn printable(text: &OsStr) -> String {
    let mut to = String::new();
    for character in text.to_string_lossy().chars() {
        match character {
            '"' | '\'' => to.push(character),
            _ => to.extend(character.escape_debug()),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_commands_the_terminal() {
        let name = OsStr::new("it's \u{1b}[2J\r\n\u{202e}\u{9b}\\ \u{fc}");
        assert_eq!(printable(name), "it's \\u{1b}[2J\\r\\n\\u{202e}\\u{9b}\\\\ \u{fc}");
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        let texts =
            [8e-9, 4.1e-6, 0.25, 59.96, 7200.0, 1e6].map(|s| time(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["0.0 us", "4.1 us", "250.0 ms", "60.0 s", "2.0 h", "12 d"]);
    }
}
