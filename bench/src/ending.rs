//! How long programs with guests take to end, to become another program, and to change an id, while every CPU is kept
//! busy: what their sleeping threads and sentinels hold up.
//!
//! Each is this program, started as `bench end`: with three calls away and a handoff behind it, or, as a measure of
//! the machine, without the library. It says when it is ready, and acts when it is told to.

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use syslet::{Attach, Call, Submitted};

use crate::error::Trouble;
use crate::guest::placement;
use crate::handoff::with_hogs;
use crate::options::{EndOptions, HandoffOptions, How, Place};
use crate::report::Row;
use crate::samples::Samples;

/// Without a guest, and with one.
const PLACES: [Option<Place>; 3] = [None, Some(Place::Follow), Some(Place::Pinned)];

/// Programs of each kind, one of each in turn.
pub(crate) fn run(options: &HandoffOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for how in How::ALL {
        let mut samples = PLACES.map(|_| Samples::default());
        with_hogs(|| {
            for _ in 0..options.size().ending {
                for (place, samples) in PLACES.into_iter().zip(&mut samples) {
                    samples.push(once(options, how, place)?);
                }
            }
            Ok(())
        })?;
        for (place, samples) in PLACES.into_iter().zip(&samples) {
            let place = place.map_or("plain", Place::name);
            rows.push(Row::new("end-busy", format!("{}-{place}", how.name()), samples));
        }
    }
    Ok(rows)
}

/// Nanoseconds from when one program is told to act until it is over, or by its own clock until it goes on.
fn once(options: &HandoffOptions, how: How, place: Option<Place>) -> Result<f64, Trouble> {
    let trouble = |error| Trouble::Work("end-busy", error);
    let mut command = Command::new(std::env::current_exe().map_err(trouble)?);
    command.args(["end", "--how", how.name()]);
    if let Some(place) = place {
        command.args(["--place", place.name()]);
    }
    if let Some(cpu) = options.common.cpu {
        command.args(["--cpu", &cpu.to_string()]);
    }
    let mut program =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(trouble)?;
    let mut talk = || -> io::Result<f64> {
        let mut said = BufReader::new(program.stdout.take().expect("it is piped"));
        let mut line = String::new();
        said.read_line(&mut line)?;
        let mut tell = program.stdin.take().expect("it is piped");
        let began = Instant::now();
        tell.write_all(b"\n")?;
        line.clear();
        said.read_to_string(&mut line)?;
        let status = program.wait()?;
        let took = began.elapsed().as_nanos() as f64;
        match (status.success(), how) {
            (false, _) => Err(io::Error::other(format!("`bench end` ended with {status}"))),
            (true, How::Setgid) => line.trim().parse().map_err(io::Error::other),
            (true, _) => Ok(took),
        }
    };
    let took = talk();
    if took.is_err() {
        let _ = program.kill();
        let _ = program.wait();
    }
    took.map_err(trouble)
}

/// The program: `bench end`.
pub(crate) fn end(options: &EndOptions) -> Result<(), Trouble> {
    if let Some(place) = options.place {
        let placement = placement(place, options.common.cpu)?;
        // For good: the program ends as a guest.
        std::mem::forget(Attach::new().placement(placement).require().attach()?);
        for _ in 0..3 {
            sleep_away()?;
        }
    }
    let trouble = |error| Trouble::Work("end", error);
    println!("ready");
    io::stdout().flush().map_err(trouble)?;
    io::stdin().read_exact(&mut [0]).map_err(trouble)?;
    match options.how {
        How::Exit => Ok(()),
        How::Exec => Err(trouble(Command::new("true").exec())),
        How::Setgid => {
            // SAFETY: takes nothing.
            let own = unsafe { libc::getgid() };
            let began = Instant::now();
            // SAFETY: takes a number, which the program has as its id.
            let answer = unsafe { libc::setgid(own) };
            let took = began.elapsed().as_nanos();
            if answer != 0 {
                return Err(trouble(io::Error::last_os_error()));
            }
            println!("{took}");
            Ok(())
        }
    }
}

/// A call that sleeps for as long as the program lives.
fn sleep_away() -> Result<(), Trouble> {
    let trouble = Trouble::io("making a pipe that stays empty");
    let (reader, writer) = io::pipe().map_err(trouble)?;
    let null = std::fs::File::options().write(true).open("/dev/null");
    let null = null.map_err(Trouble::io("opening /dev/null"))?;
    let _writer = ManuallyDrop::new(writer);
    let (from, to) = (reader.into_raw_fd() as usize, null.as_raw_fd() as usize);
    let _null = ManuallyDrop::new(null);
    let call = Call::new(libc::SYS_splice as usize, [from, 0, to, 0, 1, 0]);
    // SAFETY: the call takes no memory, and its descriptors are never closed.
    match unsafe { syslet::submit(call) } {
        Ok(Submitted::Pending(pending)) => {
            std::mem::forget(pending);
            Ok(())
        }
        Ok(Submitted::Done(ret)) => {
            Err(Trouble::Work("end", io::Error::other(format!("an empty pipe gave {}", ret.raw()))))
        }
        Err(error) => Err(Trouble::Refused("end", error.to_string())),
    }
}
