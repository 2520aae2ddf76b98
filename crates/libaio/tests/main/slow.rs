//! Files whose reads take long: io_submit waits neither for them nor for writes of what is read there, and they are
//! read at the same time.

use std::path::Path;
use std::time::Duration;

use syslet_testfs::{Answer, File, Request, TestFs};

use crate::util::{Library, command, compile, finish, scratch};

const DELAY: Duration = Duration::from_millis(300);
const READS: u32 = 16;

/// A file system with the file `slow`, of which each read takes so long; `None`, and a line, if it cannot be had.
pub(crate) fn mount(place: &Path) -> Option<TestFs> {
    let files = vec![File { name: "slow".to_owned(), size: 4 << 20 }];
    let script = |request: &Request| match request {
        Request::Open { .. } => Answer::NOW,
        Request::Read { .. } => Answer { delay: DELAY, ..Answer::NOW },
    };
    match TestFs::mount(place, files, script) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            println!("skipped: FUSE cannot be used here: {error}");
            None
        }
    }
}

/// The longest io_submit, and all of it, in milliseconds.
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
            return println!("skipped: this file system can be asked to write without waiting");
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
