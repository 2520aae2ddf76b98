//! Files whose reads take long: io_submit waits neither for them nor for writes of what is read there, and they are
//! read at the same time.

use std::path::Path;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Duration;

use syslet_dropin::report::{Kind, Way};
use syslet_testfs::{Answer, File, Request, TestFs, skip};

use crate::util::{Library, Report, command, compile, count, finish, scratch};

const DELAY: Duration = Duration::from_millis(300);
const READS: u32 = 16;

/// A file system with the file `slow`, of which each read takes so long; `None`, and a line, if it cannot be had.
#[track_caller]
pub(crate) fn mount(place: &Path) -> Option<TestFs> {
    let files = vec![File { name: "slow".to_owned(), size: 4 << 20 }];
    let script = |request: &Request| match request {
        Request::Open { .. } => Answer::NOW,
        Request::Read { .. } => Answer { delay: DELAY, ..Answer::NOW },
    };
    match TestFs::mount(place, files, script) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            skip(&format!("FUSE cannot be used here: {error}"));
            None
        }
    }
}

/// The longest io_submit, and all of it, in milliseconds.
#[track_caller]
fn times(library: Library) -> Option<[u64; 2]> {
    let program = compile("slow")?;
    let place = scratch();
    let mounted = mount(place.path())?;
    let mut slow = command(library, program);
    slow.arg(mounted.path().join("slow")).arg(READS.to_string());
    let output = finish(&mut slow).assert_good();
    let mut times = output.split_whitespace().map(|time| time.parse().expect("a number"));
    Some([times.next()?, times.next()?])
}

#[test]
fn submitting_does_not_wait_for_a_slow_file() {
    for library in [Library::Ours, Library::Attached] {
        let Some([submit, all]) = times(library) else { return };
        println!("{library:?}: at most {submit} ms in io_submit, {all} ms altogether");
        let read = DELAY.as_millis() as u64;
        assert!(submit < read / 2, "io_submit took {submit} ms");
        assert!(all < read * u64::from(READS) / 3, "they were read one after the other: {all} ms");
    }
}

#[test]
fn submitting_does_not_wait_for_a_slow_write() {
    let Some(program) = compile("slow_writes") else { return };
    for library in [Library::Ours, Library::Attached] {
        let (folder, place) = (scratch(), scratch());
        let Some(mounted) = mount(place.path()) else { return };
        let mut slow = command(library, &program);
        slow.arg(mounted.path().join("slow")).arg(folder.path());
        let kinds = if library == Library::Attached {
            slow.arg("guest");
            &["large", "synced", "flagged", "small"][..]
        } else {
            // A small one is made on the spot: COMPAT.md says what that may wait for.
            &["large", "synced", "flagged"]
        };
        let output = finish(&mut slow).assert_good();
        if output.trim() == "skipped" {
            return skip("this file system can be asked to write without waiting");
        }
        println!("{library:?}:\n{output}");
        let lines = output.lines().filter_map(|line| line.split_once(' '));
        let times: Vec<(_, u128)> =
            lines.map(|(kind, ms)| (kind, ms.parse().expect("a number"))).collect();
        assert_eq!(times.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), kinds);
        for (kind, submit) in times {
            assert!(submit < DELAY.as_millis() / 2, "{kind}: io_submit took {submit} ms");
        }
    }
}

/// A server that does not answer statfs(2) is not asked: neither by a read nor by a write.
#[test]
fn submitting_does_not_ask_a_server_what_it_is() {
    let Some(program) = compile("kinds") else { return };
    for library in [Library::Ours, Library::Attached] {
        for forbidden in ["nothing", "statmount", "all"] {
            let place = scratch();
            let files = vec![File { name: "file".to_owned(), size: 4096 }];
            let mounted = TestFs::mount_for_writing(place.path(), files, |_| Answer::NOW);
            let mounted = match mounted {
                Ok(mounted) => mounted,
                Err(error) => return skip(&format!("FUSE cannot be used here: {error}")),
            };
            mounted.hold_figures();
            let mut kinds = command(library, &program);
            kinds.arg(mounted.path().join("file")).arg(forbidden);
            thread::scope(|scope| {
                let (over, end) = mpsc::channel::<()>();
                let mounted = &mounted;
                // So that who waits for an answer does not wait until the limit of all commands.
                scope.spawn(move || {
                    while mounted.counts().figures == 0
                        && end.try_recv() == Err(TryRecvError::Empty)
                    {
                        thread::yield_now();
                    }
                    mounted.let_go();
                });
                finish(&mut kinds).assert_good();
                drop(over);
            });
            let counts = mounted.counts();
            assert_eq!((counts.figures, counts.writes), (0, 1), "{library:?}, without {forbidden}");
        }
    }
}

/// What is a local file system the kernel says, or `/proc`; where neither does, none is.
#[test]
fn small_writes_of_local_files_are_made_on_the_spot() {
    let Some(program) = compile("kinds") else { return };
    let local = ["ext4", "xfs", "btrfs", "overlay", "tmpfs"];
    let folder = scratch();
    let about =
        finish(command(Library::System, "stat").args(["-f", "-c", "%T"]).arg(folder.path()));
    let about = about.assert_good();
    if !local.iter().any(|kind| about.trim().starts_with(kind) || about.starts_with("ext2/ext3")) {
        return skip(&format!("{} is none of {local:?}", about.trim()));
    }
    let memory = about.trim() == "tmpfs"; // a file of it says so itself
    for (forbidden, inline) in [("nothing", 1), ("statmount", 1), ("all", u64::from(memory))] {
        let folder = scratch();
        let file = folder.path().join("file");
        std::fs::write(&file, [0; 4096]).expect("there is room");
        let report = Report::new(folder.path());
        let mut kinds = command(Library::Ours, &program);
        finish(report.tell(kinds.arg(file).arg(forbidden))).assert_good();
        let found = count(&report.read(), &[Kind::Write], Some(Way::Inline));
        assert_eq!(found, inline, "without {forbidden}");
    }
}
