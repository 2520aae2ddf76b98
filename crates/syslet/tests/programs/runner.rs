//! Runs scenarios, each in its own process with a time limit.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use crate::container::scheduling_is_denied;
use crate::sys;

/// Longest time of a scenario unless it asks for more.
const LIMIT: Duration = Duration::from_secs(30);
/// Exit status of a scenario that this machine cannot play.
const SKIPPED: i32 = 77;
/// The environment variable that tells a scenario its way of working.
const MODE: &str = "SYSLET_TEST_MODE";

/// Ways of working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Follow,
    Pinned,
    Pool,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Pinned => "pinned",
            Self::Pool => "pool",
        }
    }

    /// That of this process.
    pub(crate) fn current() -> Self {
        match std::env::var(MODE).as_deref() {
            Ok("pinned") => Self::Pinned,
            Ok("pool") => Self::Pool,
            _ => Self::Follow,
        }
    }
}

/// Every way of working.
pub(crate) const ALL: &[Mode] = &[Mode::Follow, Mode::Pinned, Mode::Pool];
/// Those with guests.
pub(crate) const GUESTS: &[Mode] = &[Mode::Follow, Mode::Pinned];
/// The default one.
pub(crate) const FOLLOW: &[Mode] = &[Mode::Follow];

/// A program to be played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) modes: &'static [Mode],
    pub(crate) play: fn(),
    /// Seconds beyond the usual limit.
    pub(crate) extra: u64,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, modes: &'static [Mode], play: fn()) -> Self {
        Self { name, modes, play, extra: 0 }
    }

    pub(crate) const fn extra(mut self, seconds: u64) -> Self {
        self.extra = seconds;
        self
    }
}

/// Ends the scenario as skipped.
pub(crate) fn skip(why: &str) -> ! {
    println!("{why}");
    sys::exit_now(SKIPPED)
}

pub(crate) fn list(scenarios: &[Scenario]) -> ExitCode {
    for scenario in scenarios {
        let modes: Vec<_> = scenario.modes.iter().map(|mode| mode.name()).collect();
        println!("{} ({})", scenario.name, modes.join(", "));
    }
    ExitCode::SUCCESS
}

/// In the scenario's own process.
pub(crate) fn play(scenarios: &[Scenario], name: &str) -> ExitCode {
    match scenarios.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => {
            (scenario.play)();
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no scenario is called {name}");
            ExitCode::from(2)
        }
    }
}

/// How a scenario ended.
enum End {
    Passed(String),
    Failed(String),
    Skipped(String),
}

pub(crate) fn run_all(scenarios: &[Scenario], filter: Option<&String>) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut wanted = std::env::var(MODE).ok();
    if scheduling_is_denied() {
        println!("scheduling is denied: scenarios with guests are skipped");
        wanted = Some(Mode::Pool.name().to_owned());
    }
    let again = std::env::var_os("SYSLET_TEST_AGAIN").is_some();
    for scenario in scenarios {
        if filter.is_some_and(|word| !scenario.name.contains(word.as_str())) {
            continue;
        }
        for mode in scenario.modes {
            if wanted.as_deref().is_some_and(|wanted| wanted != mode.name()) {
                skipped += usize::from(scheduling_is_denied());
                continue;
            }
            let began = Instant::now();
            let mut end = run_one(scenario, *mode);
            if let (End::Failed(why), true) = (&end, again) {
                // Said aloud: a machine that stands still for seconds does this, and so do bugs.
                println!("{} ({}): FAILED, is run again: {why}", scenario.name, mode.name());
                end = run_one(scenario, *mode);
            }
            let (name, mode, took) = (scenario.name, mode.name(), began.elapsed().as_millis());
            if std::env::var_os("SYSLET_TEST_TIMES").is_some() {
                println!("{took} ms: {name} ({mode})");
            }
            match end {
                End::Passed(said) => {
                    passed += 1;
                    said.lines().for_each(|line| println!("{name} ({mode}): {line}"));
                }
                End::Skipped(why) => {
                    skipped += 1;
                    println!("{name} ({mode}): skipped: {why}");
                }
                End::Failed(why) => {
                    failed += 1;
                    println!("{name} ({mode}): FAILED: {why}");
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(scenario: &Scenario, mode: Mode) -> End {
    let mut said = sys::unnamed_file();
    let mut complaints = sys::unnamed_file();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--scenario", scenario.name])
        .env(MODE, mode.name())
        .env_remove("SYSLET_FORCE_POOL")
        .env("RUST_BACKTRACE", "0")
        .stdin(std::process::Stdio::null())
        .stdout(said.try_clone().expect("a descriptor"))
        .stderr(complaints.try_clone().expect("a descriptor"))
        .process_group(0);
    // In a sandbox without scheduling calls, the pool is what is left.
    if mode == Mode::Pool && !scheduling_is_denied() {
        command.env("SYSLET_FORCE_POOL", "1");
    }
    let mut child = command.spawn().expect("the scenario can be started");
    let longer = if scenario.extra > 0 { crate::stress::seconds() } else { 0 };
    let limit = LIMIT + Duration::from_secs(scenario.extra + longer);
    let status = sys::wait_process(child.id(), limit).then(|| reap(&mut child));
    // Helpers that outlived the scenario are in its process group.
    sys::kill(-(child.id() as i32), libc::SIGKILL);
    match status {
        None => {
            reap(&mut child);
            let text = contents(&mut complaints);
            End::Failed(format!("not over after {} s {text}", limit.as_secs()))
        }
        Some(status) => verdict(status, contents(&mut said), &contents(&mut complaints)),
    }
}

fn reap(child: &mut Child) -> ExitStatus {
    child.wait().expect("the scenario is our child")
}

fn verdict(status: ExitStatus, said: String, complaints: &str) -> End {
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Passed(said),
        (Some(SKIPPED), _) => End::Skipped(said.trim().to_owned()),
        (Some(code), _) => End::Failed(format!("exit status {code}: {said}{complaints}")),
        (None, signal) => {
            End::Failed(format!("died of signal {}: {said}{complaints}", signal.unwrap_or(0)))
        }
    }
}

fn contents(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    if read.is_err() { String::new() } else { text }
}
