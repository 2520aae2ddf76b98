//! Staying while the program runs: signals are passed on to it, and its end becomes ours.
//!
//! What a terminal sends (^C, ^\, a hang-up) the kernel gives to the whole foreground group, so to the program too,
//! and it is for the program to decide what becomes of it: here it is dropped. What somebody sends to this
//! process alone is passed on. Job control needs nothing: ^Z stops both, and `fg` wakes both. SIGKILL and
//! SIGSTOP come to this process only. Signals that were ignored when this process was started stay ignored,
//! in the program too.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::Cause;

use crate::exit::Exit;

/// What would end this process.
const PASSED_ON: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM];
/// What shells add to a signal's number.
const BY_SIGNAL: i32 = 128;

/// Runs the program to its end.
///
/// # Errors
///
/// Those of starting it.
pub(super) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    // Before it is started: what comes meanwhile waits for it. A handler, unlike `ignore`, is not inherited.
    let ignored = ignored();
    let wanted = PASSED_ON.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
    // The program's number may be another's once it was waited for: nothing is passed on after that.
    static OVER: OnceLock<()> = OnceLock::new();
    let (tell, started) = mpsc::sync_channel(1);
    let pass_on = move || {
        let Ok(Some(pid)) = started.recv() else { return }; // it could not be started
        for origin in signals.forever() {
            if let Some(signal) = passed_on(&origin)
                && OVER.get().is_none()
            {
                let _ = kill_process(pid, signal); // it has just ended
            }
        }
    };
    // The thread first: nobody would wait for a program that runs already.
    thread::Builder::new().name("signals".to_owned()).spawn(pass_on)?;
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = tell.send(pid); // the thread waits for it
    if let Some(pid) = pid {
        wait_unreaped(pid)?;
    }
    let _ = OVER.set(());
    child.wait()
}

/// Waits for the end of a child, which stays to be waited for.
fn wait_unreaped(pid: Pid) -> io::Result<()> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return answer.map(|_| ()).map_err(io::Error::from),
        }
    }
}

/// The signal that is to be passed on, if the program has not had it from who sent it.
fn passed_on(origin: &Origin) -> Option<Signal> {
    match origin.cause {
        Cause::Kernel => None,
        _ => Signal::from_named_raw(origin.signal),
    }
}

/// The signals that this process was started to ignore, one bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Ends this process as the program has ended: with its status, or by the same signal.
pub(super) fn end_like(status: ExitStatus) -> Exit {
    let Some(signal) = status.signal() else {
        return Exit::Status(
            status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX),
        );
    };
    // The program has left a core, if one was wanted.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = emulate_default_handler(signal);
    // Blocked, or not one that ends a process.
    Exit::Status(u8::try_from(BY_SIGNAL + signal).unwrap_or(u8::MAX))
}
