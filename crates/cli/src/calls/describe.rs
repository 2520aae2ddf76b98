//! Rows of the catalogue in words and in JSON.

use serde::Serialize;
use syslet_catalog::{
    Arg, Cancel, Dir, Entry, Events, Kind, Length, Makes, Runs, Timeout, Twin, Waits,
};

/// One row, as JSON has it. The words are those of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    number: u32,
    name: &'static str,
    implemented: bool,
    args: Vec<JsonArg>,
    waits: JsonWaits,
    twin: Option<String>,
    runs: &'static str,
    /// Why it does not run anywhere.
    reason: Option<&'static str>,
    timeout: Option<String>,
    cancel: &'static str,
    makes: Option<String>,
    since: &'static str,
}

#[derive(Debug, Serialize)]
struct JsonArg {
    name: &'static str,
    kind: String,
}

#[derive(Debug, Serialize)]
struct JsonWaits {
    r#for: &'static str,
    /// The argument that is the descriptor.
    fd: Option<&'static str>,
    events: Option<&'static str>,
}

impl Row {
    pub(super) fn new(entry: &Entry) -> Self {
        let (fd, events) = match entry.waits {
            Waits::Readiness { fd, events } => {
                (Some(name_of(entry, fd)), Some(events_word(events)))
            }
            _ => (None, None),
        };
        let arg = |arg: &Arg| JsonArg { name: arg.name, kind: kind(entry, arg.kind) };
        Self {
            number: entry.nr,
            name: entry.name,
            implemented: entry.implemented(),
            args: entry.args.iter().map(arg).collect(),
            waits: JsonWaits { r#for: waits_word(entry.waits), fd, events },
            twin: entry.twin.map(|twin| twin_text(entry, twin)),
            runs: runs_word(entry.runs),
            reason: entry.runs.reason(),
            timeout: timeout_text(entry),
            cancel: cancel_word(entry.cancel),
            makes: makes_text(entry),
            since: entry.since,
        }
    }
}

/// One line of the list.
pub(super) fn line(entry: &Entry) -> String {
    let call = format!("{}({})", entry.name, arg_names(entry));
    if !entry.implemented() {
        return format!("{:>4} {call:<56} not implemented ({})\n", entry.nr, entry.since);
    }
    let waits = match entry.waits {
        Waits::Readiness { fd, events } => {
            format!("readiness({} {})", name_of(entry, fd), events_word(events))
        }
        waits => waits_word(waits).to_owned(),
    };
    let (runs, cancel) = (runs_word(entry.runs), cancel_word(entry.cancel));
    let twin = entry.twin.map_or("-".to_owned(), |twin| twin_text(entry, twin));
    format!("{:>4} {call:<56} {waits:<20} {runs:<8} {cancel:<15} {twin}\n", entry.nr)
}

/// All that is known of a call.
pub(super) fn detail(entry: &Entry) -> String {
    let mut text = format!("{}({}), number {}\n", entry.name, arg_names(entry), entry.nr);
    let mut say = |title: &str, what: &str| text += &format!("  {title:<9} {what}\n");
    match entry.since {
        "" => say("since", "before Linux 2.6.16"),
        "never" => say("since", "never implemented on x86-64"),
        since => match since.strip_prefix("until ") {
            Some(version) => say("until", &format!("Linux {version}")),
            None => say("since", &format!("Linux {since}")),
        },
    }
    if !entry.implemented() {
        return text;
    }
    for arg in entry.args {
        say("argument", &format!("{:<12} {}", arg.name, kind(entry, arg.kind)));
    }
    say("waits", &waits_text(entry));
    if let Some(twin) = entry.twin {
        say("twin", &twin_text(entry, twin));
    }
    match entry.runs.reason() {
        None => say("runs", "on any thread"),
        Some(reason) => say("runs", &format!("{}: {reason}", runs_word(entry.runs))),
    }
    if let Some(timeout) = timeout_text(entry) {
        say("timeout", &timeout);
    }
    say("cancel", cancel_text(entry.cancel));
    if let Some(makes) = makes_text(entry) {
        say("makes", &makes);
    }
    text
}

fn arg_names(entry: &Entry) -> String {
    entry.args.iter().map(|arg| arg.name).collect::<Vec<_>>().join(", ")
}

fn name_of(entry: &Entry, index: u8) -> &'static str {
    entry.arg(index).map_or("?", |arg| arg.name)
}

fn waits_word(waits: Waits) -> &'static str {
    match waits {
        Waits::Never => "never",
        Waits::Disk => "disk",
        Waits::Readiness { .. } => "readiness",
        Waits::Timer => "timer",
        Waits::Child => "child",
        Waits::Lock => "lock",
        Waits::Other => "other",
    }
}

fn events_word(events: Events) -> &'static str {
    match events {
        Events::In => "in",
        Events::Out => "out",
    }
}

fn waits_text(entry: &Entry) -> String {
    match entry.waits {
        Waits::Never => "never".to_owned(),
        Waits::Disk => "for storage, or kernel work that ends by itself".to_owned(),
        Waits::Readiness { fd, events: Events::In } => {
            format!("until {} has something to take", name_of(entry, fd))
        }
        Waits::Readiness { fd, events: Events::Out } => {
            format!("until {} has room", name_of(entry, fd))
        }
        Waits::Timer => "for a point in time".to_owned(),
        Waits::Child => "for a child to change state".to_owned(),
        Waits::Lock => "for a lock that somebody else must release".to_owned(),
        Waits::Other => "for another thread, process or device".to_owned(),
    }
}

fn runs_word(runs: Runs) -> &'static str {
    match runs {
        Runs::Anywhere => "anywhere",
        Runs::Bound(_) => "bound",
        Runs::Unless { .. } => "by args",
        Runs::Refused(_) => "refused",
    }
}

fn cancel_word(cancel: Cancel) -> &'static str {
    match cancel {
        Cancel::NoWait => "no-wait",
        Cancel::Interruptible => "interruptible",
        Cancel::Killable => "killable",
        Cancel::Uninterruptible => "uninterruptible",
    }
}

fn cancel_text(cancel: Cancel) -> &'static str {
    match cancel {
        Cancel::NoWait => "it does not sleep",
        Cancel::Interruptible => "any signal with a handler ends the wait",
        Cancel::Killable => "only a signal that kills the process ends the wait",
        Cancel::Uninterruptible => "nothing ends the wait",
    }
}

fn twin_text(entry: &Entry, twin: Twin) -> String {
    let with = |arg: u8, flag: &str| format!("{flag} in {}", name_of(entry, arg));
    match twin {
        Twin::RwfNowait => "RWF_NOWAIT of preadv2 or pwritev2".to_owned(),
        Twin::MsgDontwait { arg } => with(arg, "MSG_DONTWAIT"),
        Twin::LockNb { arg } => with(arg, "LOCK_NB"),
        Twin::SetLk { arg } => with(arg, "F_SETLK or F_OFD_SETLK"),
        Twin::IpcNowait { arg } => with(arg, "IPC_NOWAIT"),
        Twin::IpcNowaitEach { arg } => with(arg, "IPC_NOWAIT in each sem_flg"),
        Twin::Wnohang { arg } => with(arg, "WNOHANG"),
        Twin::ZeroTimeout { arg } => with(arg, "zero"),
        Twin::SpliceNonblock { arg } => with(arg, "SPLICE_F_NONBLOCK"),
        Twin::GrndNonblock { arg } => with(arg, "GRND_NONBLOCK"),
    }
}

fn timeout_text(entry: &Entry) -> Option<String> {
    let name = name_of(entry, entry.timeout.arg()?);
    let left = |updated: bool| if updated { "; the rest is written back" } else { "" };
    Some(match entry.timeout {
        Timeout::None => return None,
        Timeout::RelTimespec { updated, .. } => {
            format!("{name}, a timespec from now on{}", left(updated))
        }
        Timeout::RelTimeval { updated, .. } => {
            format!("{name}, a timeval from now on{}", left(updated))
        }
        Timeout::RelMillis { .. } => format!("{name}, milliseconds from now on"),
        Timeout::AbsTimespec { .. } => format!("{name}, a timespec on a clock"),
        Timeout::ByFlags { .. } => format!("{name}, a timespec; the flags say from when"),
        Timeout::ByOp { .. } => format!("{name}, if the operation has one"),
    })
}

fn makes_text(entry: &Entry) -> Option<String> {
    Some(match entry.makes {
        Makes::Nothing => return None,
        Makes::Fd => "a descriptor".to_owned(),
        Makes::FdPair { arg } => format!("two descriptors in {}", name_of(entry, arg)),
        Makes::FdByOp { arg } => format!("a descriptor for some {}", name_of(entry, arg)),
    })
}

fn kind(entry: &Entry, kind: Kind) -> String {
    let dir = match kind.dir() {
        None => "",
        Some(Dir::In) => "in: ",
        Some(Dir::Out) => "out: ",
        Some(Dir::InOut) => "in and out: ",
    };
    let what = match kind {
        Kind::Int => "a number".to_owned(),
        Kind::Fd => "a descriptor".to_owned(),
        Kind::DirFd => "a directory's descriptor".to_owned(),
        Kind::Flags => "flags".to_owned(),
        Kind::Op => "an operation".to_owned(),
        Kind::Len => "a number of bytes".to_owned(),
        Kind::Count => "a number of items".to_owned(),
        Kind::Offset => "an offset".to_owned(),
        Kind::Pid => "a process, thread or group".to_owned(),
        Kind::Id => "an id".to_owned(),
        Kind::Mode => "permission bits".to_owned(),
        Kind::Signal => "a signal".to_owned(),
        Kind::Addr => "an address".to_owned(),
        Kind::Opaque => "what the operation says".to_owned(),
        Kind::Millis => "milliseconds".to_owned(),
        Kind::Seconds => "seconds".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Str => "a string".to_owned(),
        Kind::Strs => "an array of strings".to_owned(),
        Kind::Buf { len, .. } => format!("memory, {}", length(entry, len)),
        Kind::Struct { of, .. } => format!("{} ({} bytes)", of.name, of.size),
        Kind::Array { of, count, .. } => {
            format!("{} of {} ({} bytes each)", name_of(entry, count), of.name, of.size)
        }
        Kind::Iovec { count, .. } => format!("{} of struct iovec", name_of(entry, count)),
        Kind::Timespec(_) => "struct timespec".to_owned(),
        Kind::Timeval(_) => "struct timeval".to_owned(),
    };
    format!("{dir}{what}")
}

fn length(entry: &Entry, length: Length) -> String {
    match length {
        Length::Arg(arg) => format!("{} bytes", name_of(entry, arg)),
        Length::AfterLong(arg) => format!("a long and {} bytes", name_of(entry, arg)),
        Length::At(arg) => format!("as many bytes as {} points to", name_of(entry, arg)),
        Length::Bits(arg) => format!("{} bits in whole words", name_of(entry, arg)),
        Length::Pages(arg) => format!("a byte for each page of {} bytes", name_of(entry, arg)),
        Length::Header => "its size stands in it".to_owned(),
        Length::ByOp => "its size is what the operation says".to_owned(),
    }
}
