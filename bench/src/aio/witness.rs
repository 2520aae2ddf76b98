//! Which library fio had, and how that did what it was asked for.
//!
//! Into each turn's notes the loader writes which files it has put there (`LD_DEBUG`, ld.so(8)): when fio starts, and
//! when it ends. The drop-in's report says how each operation was done, and reads a clock for each: so it is made in a
//! turn of its own, which is not measured. A report of the system's turns costs nothing, and must stay empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use syslet_dropin::report::{self, Kind, Summary, VARIABLE, Way as How};

use super::fio::Turn;
use super::{Library, Way};
use crate::cold::BLOCK;
use crate::cost::has_sentinel;
use crate::error::Trouble;
use crate::options::AioWork;

/// From one look for sentinels to the next: far shorter than any turn.
const LOOK: Duration = Duration::from_millis(2);

/// Where a turn's notes are written.
#[derive(Debug)]
pub(super) struct Notes(PathBuf);

/// What is known of a turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Files that the loader has put into it.
    loaded: Vec<PathBuf>,
    /// Processes that have opened the report: those with a library of ours.
    reporting: u64,
    /// Reads and writes, for each of [`How::ALL`].
    transfers: [u64; How::ALL.len()],
    syncs: u64,
    /// There were guests.
    pub(super) guests: bool,
    /// Bytes that came from disks.
    pub(super) from_disk: u64,
}

impl Notes {
    /// Has a command make them; `counted`: with the report.
    pub(super) fn ask(folder: &Path, fio: &mut Command, counted: bool) -> Result<Self, Trouble> {
        let notes = Self(folder.join("notes"));
        fs::create_dir(&notes.0).map_err(Trouble::io("making a folder"))?;
        fio.env("LD_DEBUG", "libs").env("LD_DEBUG_OUTPUT", notes.0.join("loaded"));
        if counted {
            let path = notes.0.join("report");
            Summary::create(&path).map_err(Trouble::io("making a report"))?;
            fio.env(VARIABLE, path);
        }
        Ok(notes)
    }

    /// Reads them, when the command has ended.
    pub(super) fn read(self, library: Library) -> Result<Seen, Trouble> {
        let mut seen = Seen::default();
        for entry in fs::read_dir(&self.0).map_err(Trouble::io("reading a folder"))? {
            let path = entry.map_err(Trouble::io("reading a folder"))?.path();
            if path.ends_with("report") {
                seen.count(library, &path).map_err(Trouble::io("reading the report"))?;
            } else {
                let text = fs::read(&path).map_err(Trouble::io("reading what the loader says"))?;
                seen.loaded.extend(loaded(&String::from_utf8_lossy(&text)));
            }
        }
        Ok(seen)
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // it goes with the folder that it is in, at last
    }
}

/// Files whose initialisers the loader has called.
fn loaded(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| Some(line.split_once("calling init: ")?.1.into()))
}

impl Seen {
    fn count(&mut self, library: Library, path: &Path) -> io::Result<()> {
        let summary = Summary::read(path)?;
        self.reporting = summary.libraries.iter().map(|library| library.processes).sum();
        let ours = match library {
            Library::PosixAio => report::Library::PosixAio,
            Library::Libaio => report::Library::Libaio,
        };
        let libraries = summary.libraries.iter().filter(|library| library.library == ours);
        for cell in libraries.flat_map(|library| &library.cells) {
            match cell.kind {
                Kind::Read | Kind::Write | Kind::Readv | Kind::Writev => {
                    self.transfers[cell.way as usize] += cell.count;
                }
                Kind::Fsync | Kind::Fdsync => self.syncs += cell.count,
                Kind::Poll => {}
            }
        }
        Ok(())
    }

    /// For the remark of a row.
    pub(super) fn told(&self) -> String {
        let cells = How::ALL.iter().zip(self.transfers).filter(|(_, count)| *count > 0);
        let cells: Vec<_> = cells.map(|(how, count)| format!("{count} {}", how.name())).collect();
        cells.join(", ")
    }
}

/// What a command says; true if it had guests, which have sentinels.
pub(super) fn watched(command: &mut Command) -> io::Result<(Output, bool)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let process = child.id();
    let (over, is_over) = mpsc::channel::<()>();
    let watch = move || {
        while !has_sentinel(process) {
            if is_over.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
        }
        true
    };
    thread::scope(|scope| {
        let watch = scope.spawn(watch);
        let output = child.wait_with_output();
        drop(over);
        Ok((output?, watch.join().unwrap_or(false)))
    })
}

/// What is wrong with the turns of a way. `counted` is the turn with a report, if it is ours.
pub(super) fn fault(
    library: Library,
    work: AioWork,
    way: Way<'_>,
    turns: &[Turn],
    counted: Option<&Turn>,
) -> Option<String> {
    let failed: u64 = turns.iter().chain(counted).map(|turn| turn.errors).sum();
    if failed > 0 {
        return Some(format!("fio counted {failed} errors"));
    }
    let short = |turn: &&Turn| turn.seen.from_disk < turn.transfers * BLOCK as u64 / 10 * 9;
    let short = if work == AioWork::Cold { turns.iter().filter(short).count() } else { 0 };
    if short > 0 {
        return Some(format!("in {short} of {} turns bytes did not come from a disk", turns.len()));
    }
    let Some(path) = way.library else {
        let ours = turns.iter().filter(|turn| turn.seen.reporting > 0).count();
        return (ours > 0).then(|| format!("ours was loaded in {ours} of {} turns", turns.len()));
    };
    let is_without = |turn: &&Turn| !turn.seen.loaded.iter().any(|file| file == path);
    let without = turns.iter().chain(counted).filter(is_without).count();
    if without > 0 {
        return Some(format!("ours was not loaded in {without} turns"));
    }
    counted.and_then(|counted| went_astray(library, work, way, counted))
}

/// What is wrong with how a library of ours has done it.
fn went_astray(library: Library, work: AioWork, way: Way<'_>, turn: &Turn) -> Option<String> {
    let seen = &turn.seen;
    if seen.guests != way.attached {
        let were = if seen.guests { "were" } else { "were no" };
        return Some(format!("there {were} guests"));
    }
    let count: u64 = seen.transfers.iter().sum();
    if count == 0 || !is_about(count, turn.transfers) {
        return Some(format!("the library counts {count} operations, and fio {}", turn.transfers));
    }
    // fio syncs by libaio in some versions only.
    if library == Library::PosixAio && !is_about(seen.syncs, turn.syncs) {
        return Some(format!("the library counts {} syncs, and fio {}", seen.syncs, turn.syncs));
    }
    let how = expected(library, work, way.attached)?;
    let strays = count - seen.transfers[how as usize];
    // As many as may be preempted on a busy machine (`Path::not_mostly_inline`).
    let wrong = strays > count / 5 + 5;
    wrong.then(|| format!("{count} operations should be {}, but were {}", how.name(), seen.told()))
}

/// Operations that are under way when fio ends count for one of both.
fn is_about(count: u64, said: u64) -> bool {
    count.abs_diff(said) <= said / 100 + super::DEPTH as u64
}

/// How most of the work is to be done, where that does not depend on the disk.
fn expected(library: Library, work: AioWork, attached: bool) -> Option<How> {
    match (work, library) {
        (AioWork::Cached, _) => Some(How::Inline),
        (AioWork::Slow, _) => Some(How::Away),
        (AioWork::Direct, Library::Libaio) => Some(How::Kernel),
        // What a guest reads is over, on a fast disk, before a crew thread has come.
        (AioWork::Cold | AioWork::Direct, _) => (!attached).then_some(How::Away),
        (AioWork::Fsync, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/lib/ours.so";

    fn ways() -> [Way<'static>; 3] {
        let library = Some(Path::new(OURS));
        [(None, false), (library, false), (library, true)].map(|(library, attached)| Way {
            name: "",
            library,
            attached,
        })
    }

    /// A turn without a fault, of which nothing has been seen.
    fn turn(transfers: u64) -> Turn {
        let seen = Seen::default();
        Turn { rate: 1.0, submit_p99: 1.0, errors: 0, transfers, syncs: 0, seen }
    }

    /// A turn in which a library of ours has done all in one way.
    fn done(how: How) -> Turn {
        let mut turn = turn(1000);
        turn.seen.loaded.push(OURS.into());
        turn.seen.transfers[how as usize] = 1000;
        turn
    }

    fn fault_of(work: AioWork, way: Way<'_>, turn: &Turn) -> Option<String> {
        let counted = way.library.map(|_| turn);
        fault(Library::Libaio, work, way, std::slice::from_ref(turn), counted)
    }

    #[test]
    fn ours_in_a_turn_of_the_systems_is_a_fault() {
        let mut turn = turn(1000);
        assert_eq!(fault_of(AioWork::Cached, ways()[0], &turn), None);
        turn.seen.reporting = 1;
        assert!(fault_of(AioWork::Cached, ways()[0], &turn).is_some());
    }

    #[test]
    fn a_turn_without_ours_is_a_fault_whatever_the_report_says() {
        let mut turn = done(How::Inline);
        assert_eq!(fault_of(AioWork::Cached, ways()[1], &turn), None);
        turn.seen.loaded = vec!["/lib/libaio.so.1".into()];
        assert!(fault_of(AioWork::Cached, ways()[1], &turn).is_some());
    }

    #[test]
    fn operations_that_went_another_way_are_a_fault() {
        let [_, ours, attached] = ways();
        assert_eq!(fault_of(AioWork::Direct, ours, &done(How::Kernel)), None);
        assert!(fault_of(AioWork::Direct, ours, &done(How::Away)).is_some());
        assert!(fault_of(AioWork::Cached, ours, &done(How::Away)).is_some());
        assert!(fault_of(AioWork::Slow, ours, &done(How::Inline)).is_some());
        assert!(fault_of(AioWork::Slow, attached, &done(How::Away)).is_some(), "no guests");
        let mut guests = done(How::Away);
        guests.seen.guests = true;
        assert_eq!(fault_of(AioWork::Slow, attached, &guests), None);
        assert!(fault_of(AioWork::Slow, ours, &guests).is_some());
    }

    #[test]
    fn operations_that_the_library_has_not_seen_are_a_fault() {
        let mut turn = done(How::Inline);
        turn.transfers = 2000;
        assert!(fault_of(AioWork::Cached, ways()[1], &turn).is_some());
        turn.transfers = 1000 + super::super::DEPTH as u64;
        assert_eq!(fault_of(AioWork::Cached, ways()[1], &turn), None);
    }

    #[test]
    fn cold_reads_that_no_disk_has_made_are_a_fault() {
        let mut turn = done(How::Away);
        assert!(fault_of(AioWork::Cold, ways()[1], &turn).is_some());
        turn.seen.from_disk = 1000 * BLOCK as u64;
        assert_eq!(fault_of(AioWork::Cold, ways()[1], &turn), None);
    }

    #[test]
    fn the_loader_names_what_it_has_started() {
        let text = "  7:\tfind library=libaio.so.1 [0]\n  7:\tcalling init: /lib/a b.so\n  7:\t\n";
        assert!(loaded(text).eq([PathBuf::from("/lib/a b.so")]));
    }
}
