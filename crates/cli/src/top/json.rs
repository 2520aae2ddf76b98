//! What is published, as JSON.

use serde::Serialize;
use syslet::GuestStats;
use syslet::publish::{CrewThread, Doing, GuestThread, SeenCall, Snapshot};

use super::table::longest_away_first;
use crate::exit::Trouble;

#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    name: String,
    version: String,
    calls: Calls,
    rescued: u64,
    late_wakeups: u64,
    spawn_failures: u64,
    crew_limit: usize,
    outstanding: usize,
    waiting: usize,
    parked: usize,
    parked_in_all: u64,
    held: usize,
    ring_reads: u64,
    guests: Vec<Guest>,
    crew: Vec<Thread>,
}

#[derive(Debug, Serialize)]
struct Calls {
    inline: u64,
    handed_off: u64,
    in_place: u64,
    queued: u64,
    false_handoffs: u64,
    /// From when a sleeping call was noticed until its guest went on.
    handoff_p50_ns: u64,
    handoff_p99_ns: u64,
}

#[derive(Debug, Serialize)]
struct Guest {
    index: usize,
    home: i32,
    carrier: i32,
    name: String,
    calls: Calls,
}

#[derive(Debug, Serialize)]
struct Thread {
    tid: i32,
    cpu: Option<u32>,
    state: Option<char>,
    /// `rests`, `carries`, `away`, `job` or `between`.
    doing: &'static str,
    guest: Option<usize>,
    age_ns: Option<u64>,
    call: Option<Call>,
}

#[derive(Debug, Serialize)]
struct Call {
    nr: usize,
    name: String,
    /// In hexadecimal: not every JSON reader keeps 64 bits.
    args: Vec<String>,
    descriptors: Vec<Descriptor>,
    paths: Vec<Path>,
}

#[derive(Debug, Serialize)]
struct Descriptor {
    argument: String,
    number: i32,
    file: Option<String>,
}

#[derive(Debug, Serialize)]
struct Path {
    argument: String,
    path: String,
}

/// One object, over several lines if it is the only one.
pub(super) fn line(seen: &Snapshot, only: bool) -> Result<String, Trouble> {
    let process = Process::of(seen);
    let text =
        if only { serde_json::to_string_pretty(&process) } else { serde_json::to_string(&process) };
    Ok(text.map_err(Trouble::at("JSON"))? + "\n")
}

impl Process {
    fn of(seen: &Snapshot) -> Self {
        let stats = &seen.stats;
        Self {
            pid: seen.pid,
            name: seen.name.to_string_lossy().into_owned(),
            version: seen.version.clone(),
            calls: Calls::of(&stats.total),
            rescued: stats.rescued,
            late_wakeups: stats.late_wakeups,
            spawn_failures: stats.spawn_failures,
            crew_limit: stats.crew_limit,
            outstanding: stats.outstanding,
            waiting: seen.queued,
            parked: stats.parked,
            parked_in_all: stats.parked_in_all,
            held: stats.held,
            ring_reads: stats.ring_reads,
            guests: seen.guests.iter().map(Guest::of).collect(),
            crew: longest_away_first(seen).into_iter().map(Thread::of).collect(),
        }
    }
}

impl Calls {
    fn of(stats: &GuestStats) -> Self {
        let at = |quantile| stats.latency.quantile(quantile).as_nanos() as u64;
        Self {
            inline: stats.inline,
            handed_off: stats.handed_off,
            in_place: stats.in_place,
            queued: stats.queued,
            false_handoffs: stats.false_handoffs,
            handoff_p50_ns: at(0.5),
            handoff_p99_ns: at(0.99),
        }
    }
}

impl Guest {
    fn of(guest: &GuestThread) -> Self {
        Self {
            index: guest.index,
            home: guest.home,
            carrier: guest.carrier,
            name: guest.name.to_string_lossy().into_owned(),
            calls: Calls::of(&guest.stats),
        }
    }
}

impl Thread {
    fn of(thread: &CrewThread) -> Self {
        let away = thread.doing.away();
        let (doing, guest) = match &thread.doing {
            Doing::Rests => ("rests", None),
            Doing::Carries(guest) => ("carries", Some(*guest)),
            Doing::Away(away) => ("away", away.guest),
            Doing::Job(_) => ("job", None),
            _ => ("between", None),
        };
        Self {
            tid: thread.tid,
            cpu: thread.cpu,
            state: thread.state,
            doing,
            guest,
            age_ns: away.map(|away| away.age.as_nanos() as u64),
            call: away.and_then(|away| away.call.as_ref()).map(Call::of),
        }
    }
}

impl Call {
    fn of(call: &SeenCall) -> Self {
        let descriptors = call.descriptors.iter().map(|descriptor| Descriptor {
            argument: descriptor.argument.clone(),
            number: descriptor.number,
            file: descriptor.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
        });
        let paths = call.paths.iter().map(|path| Path {
            argument: path.argument.clone(),
            path: path.path.to_string_lossy().into_owned(),
        });
        Self {
            nr: call.nr,
            name: call.name.clone(),
            args: call.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            descriptors: descriptors.collect(),
            paths: paths.collect(),
        }
    }
}
