//! What is not done; see `tests/c/refusals.c`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use crate::promises::mount;
use crate::util::{WAYS, compile, ours};

/// Much longer than aio_cancel waits for a call.
const DELAY: Duration = Duration::from_millis(500);

fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("refusals")).clone()
}

#[track_caller]
fn refuses(name: &str) {
    refuses_in(name, &WAYS, "512");
}

/// With at most so many crew threads.
#[track_caller]
fn refuses_in(name: &str, ways: &[&str], crew: &str) {
    for way in ways {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(mounted) = mount(folder.path(), DELAY) else { return };
        let mut refusals = ours(program(), way);
        refusals
            .env("SYSLET_TEST_AIO_MOST", "8")
            .env("SYSLET_MAX_CREW", crew)
            .arg(name)
            .arg(mounted.path().join("slow"));
        let mut child = refusals
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is such a program");
        let mut answers = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        for (at, _) in lines.enumerate() {
            while mounted.counts().reads <= at as u64 {
                std::thread::sleep(Duration::from_millis(1)); // there is no wait for a count
            }
            let _ = answers.write_all(b"\n"); // who has ended says so below
        }
        let status = child.wait().expect("it is our child");
        assert!(status.success(), "{name} {way}: {status}");
    }
}

#[test]
fn a_read_that_cannot_be_interrupted_is_not_cancelled() {
    refuses("not_cancelled");
}

#[test]
fn a_descriptor_of_which_one_cannot_be_cancelled_is_not_cancelled() {
    refuses("mixed");
}

#[test]
fn what_is_one_too_many_is_refused() {
    refuses("too_many");
}

#[test]
fn however_many_cannot_be_cancelled_they_are_waited_for_once() {
    refuses("together");
}

#[test]
fn a_block_that_is_the_programs_again_is_not_looked_at() {
    refuses("given_back");
}

#[test]
fn what_a_write_has_written_before_it_is_cancelled_is_its_answer() {
    refuses_in("short_write", &WAYS, "2");
}
