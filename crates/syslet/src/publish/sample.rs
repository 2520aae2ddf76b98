//! Looking: at the engine's own records, and at what `/proc` says of the crew threads.
//!
//! By the publishing thread, whose descriptor table is its own. Nothing is stopped or locked, so a thread may have
//! gone on while it is looked at: what it does is read before and after, until both agree.

#![allow(
    unsafe_code,
    reason = "reads memory of the process by a call that finds out whether it is there"
)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use syslet_catalog::{Arg, Kind};
use syslet_sys::arch;

use super::snapshot::{
    Away, CrewThread, Descriptor, Doing, GuestThread, PathArgument, SeenCall, Snapshot,
};
use crate::crew::{self, Crew, Guest, engine};
use crate::stats::{nanos_per_tick, of_guest, stats};

/// The time of one look: ages are told by it, so that they can be compared.
#[derive(Debug, Clone, Copy)]
struct Now {
    ticks: u64,
    /// Nanoseconds of a tick.
    scale: f64,
}

impl Now {
    fn since(self, ticks: u64) -> Duration {
        // What has begun since the look has is just beginning.
        Duration::from_nanos((self.ticks.saturating_sub(ticks) as f64 * self.scale) as u64)
    }
}

/// How often a thread is looked at, at most, that is not to be seen in one place.
const LOOKS: usize = 3;
/// Bytes of a path that are read at most.
const PATH: usize = 512;

/// What the process is doing.
pub(super) fn look() -> Snapshot {
    let mut seen = Snapshot {
        pid: std::process::id(),
        name: name_of("/proc/self/comm"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stats: stats(),
        ..Snapshot::default()
    };
    if let Some(engine) = engine() {
        let now = Now { scale: nanos_per_tick(engine), ticks: arch::ticks() };
        seen.queued = engine.waiting_jobs();
        seen.guests =
            engine.guests_now().filter_map(|guest| look_at_guest(guest, now.scale)).collect();
        seen.crew = engine.crew_now().filter_map(|crew| look_at_crew(crew, now)).collect();
    }
    seen
}

/// The name of a thread, without the newline.
fn name_of(path: &str) -> OsString {
    let mut name = fs::read(path).unwrap_or_default();
    name.pop_if(|last| *last == b'\n');
    OsString::from_vec(name)
}

fn look_at_guest(guest: &Guest, scale: f64) -> Option<GuestThread> {
    let crew::GuestView { index, home, carrier } = guest.view()?;
    let name = name_of(&format!("/proc/self/task/{home}/comm"));
    Some(GuestThread { index, home, carrier, name, stats: of_guest(guest, scale) })
}

fn look_at_crew(crew: &Crew, now: Now) -> Option<CrewThread> {
    let tid = Some(crew.tid()).filter(|tid| *tid != 0)?;
    let mut doing = Doing::Between;
    for _ in 0..LOOKS {
        let before = crew.doing();
        let call = matches!(before, crew::Doing::Away(..) | crew::Doing::Job(_))
            .then(|| call_of(tid))
            .flatten();
        if crew.doing() == before {
            doing = as_published(now, before, call);
            break;
        }
    }
    let (state, cpu) = state_of(tid);
    Some(CrewThread { tid, cpu, state, doing })
}

fn as_published(now: Now, doing: crew::Doing, call: Option<SeenCall>) -> Doing {
    match doing {
        crew::Doing::Rests => Doing::Rests,
        crew::Doing::Carries(guest) => Doing::Carries(guest),
        crew::Doing::Away(guest, since) => {
            Doing::Away(Away { guest: Some(guest), age: now.since(since), call })
        }
        crew::Doing::Job(since) => Doing::Job(Away { guest: None, age: now.since(since), call }),
        crew::Doing::Between => Doing::Between,
    }
}

/// State and CPU of a thread: proc_pid_stat(5), fields 3 and 39.
fn state_of(tid: i32) -> (Option<char>, Option<u32>) {
    let stat = fs::read(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    // The name before may hold anything, parentheses too.
    let Some((_, fields)) = stat.rsplit_once(')') else { return (None, None) };
    let mut fields = fields.split_whitespace();
    let state = fields.next().and_then(|state| state.chars().next());
    (state, fields.nth(35).and_then(|cpu| cpu.parse().ok()))
}

/// The system call that a thread is in.
fn call_of(tid: i32) -> Option<SeenCall> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
    let (nr, args) = parse_call(&text)?;
    let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup);
    let kinds = entry.map_or(&[][..], |entry| entry.args);
    let count = if entry.is_some() { kinds.len() } else { args.len() };
    let each = || kinds.iter().zip(args);
    Some(SeenCall {
        nr,
        name: entry.map_or(String::new(), |entry| entry.name.to_owned()),
        args: args[..count].to_vec(),
        descriptors: each().filter_map(|(arg, value)| descriptor(tid, arg, value)).collect(),
        paths: each().filter_map(|(arg, value)| path(arg, value)).collect(),
    })
}

/// The number and arguments in a line of `/proc/PID/syscall`: proc_pid_syscall(5). `None` if the thread runs or
/// sleeps elsewhere.
fn parse_call(text: &str) -> Option<(usize, [u64; 6])> {
    let mut words = text.split_whitespace();
    let nr = words.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((nr, args))
}

fn descriptor(tid: i32, arg: &Arg, value: u64) -> Option<Descriptor> {
    let number = value as i32;
    if !matches!(arg.kind, Kind::Fd | Kind::DirFd) || number < 0 {
        return None;
    }
    let file = fs::read_link(format!("/proc/self/task/{tid}/fd/{number}")).ok();
    let file = file.map(|file| file.into_os_string());
    Some(Descriptor { argument: arg.name.to_owned(), number, file })
}

fn path(arg: &Arg, value: u64) -> Option<PathArgument> {
    if arg.kind != Kind::Path || value == 0 {
        return None;
    }
    let mut bytes = vec![0; PATH];
    let read = read_memory(value as usize, &mut bytes);
    bytes.truncate(read);
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    Some(PathArgument { argument: arg.name.to_owned(), path: OsString::from_vec(bytes) })
}

/// Copies what is at `address`, as far as it is mapped; returns how much. The call may be over and its memory
/// gone, so the kernel copies: process_vm_readv(2).
fn read_memory(address: usize, to: &mut [u8]) -> usize {
    // Up to the end of a page, and on from there: the kernel gives whole parts only.
    let first = (4096 - address % 4096).min(to.len());
    let part = |from: usize, len| libc::iovec { iov_base: from as *mut libc::c_void, iov_len: len };
    let remote = [part(address, first), part(address.wrapping_add(first), to.len() - first)];
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    // SAFETY: the kernel writes at most as many bytes as there are in `to`; what it reads it checks.
    let read = unsafe {
        libc::process_vm_readv(std::process::id() as i32, &local, 1, remote.as_ptr(), 2, 0)
    };
    usize::try_from(read).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_understood() {
        let line = "0 0x3 0x7f00 0x1 0x0 0x0 0xffffffffffffffff 0x7ffe 0x7f01\n";
        assert_eq!(parse_call(line), Some((0, [3, 0x7f00, 1, 0, 0, u64::MAX])));
        for none in ["running\n", "-1 0x7ffe 0x7f01\n", "", "0 0x3\n"] {
            assert_eq!(parse_call(none), None, "{none:?}");
        }
    }

    #[test]
    fn memory_is_read_as_far_as_it_is_there() {
        let text = c"/some/path";
        let mut bytes = [0xff; 32];
        let read = read_memory(text.as_ptr() as usize, &mut bytes);
        assert!(read >= 11 && bytes.starts_with(b"/some/path\0"), "{read} {bytes:?}");
        assert_eq!(read_memory(16, &mut bytes), 0, "nothing is mapped there");
        // The end of the last page of a mapping.
        let page = lone_page();
        assert_eq!(read_memory(page + 4096 - 5, &mut bytes), 5);
    }

    /// The address of a page with nothing mapped after it.
    fn lone_page() -> usize {
        let (flags, nowhere) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, std::ptr::null_mut());
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory, wherever there is room.
        let at = unsafe { libc::mmap(nowhere, 8192, rights, flags, -1, 0) } as usize;
        // SAFETY: the second page of it, which nobody uses.
        let gone = unsafe { libc::munmap((at + 4096) as *mut libc::c_void, 4096) };
        assert_eq!(gone, 0);
        at
    }
}
