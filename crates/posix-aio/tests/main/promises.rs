//! What the functions promise beyond those of the C library: each promise is a function of
//! `tests/c/promises.c`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use syslet_testfs::{Answer, File, Request, TestFs, skip};

use crate::util::{WAYS, compile, compile_soak, ours, succeed};

fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("promises")).clone()
}

/// A promise, without and with attached threads. (To an attached one signals of its own do not come.)
fn holds(name: &str, ways: &[&str]) {
    for way in ways {
        let folder = tempfile::tempdir().expect("a folder");
        succeed(ours(program(), way).arg(name).arg(folder.path()));
    }
}

/// How long a read of a slow file takes: longer than a process on a busy machine waits for a CPU.
const SLOW: Duration = Duration::from_millis(500);

/// A file system with the file `slow`, of which each read takes so long; `None`, and a line, if it cannot be had.
#[track_caller]
pub(crate) fn mount(place: &Path, delay: Duration) -> Option<TestFs> {
    let files = vec![File { name: "slow".to_owned(), size: 1 << 20 }];
    let slow = move |request: &Request| match request {
        Request::Open { .. } => Answer::NOW,
        Request::Read { .. } => Answer { delay, ..Answer::NOW },
    };
    match TestFs::mount(place, files, slow) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            skip(&format!("FUSE cannot be used here: {error}"));
            None
        }
    }
}

/// The same for promises about files that are slow.
#[track_caller]
fn holds_for_slow_files(name: &str) {
    holds_for_slow_files_in(name, &WAYS);
}

#[track_caller]
fn holds_for_slow_files_in(name: &str, ways: &[&str]) {
    for way in ways {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(mounted) = mount(folder.path(), SLOW) else { return };
        let file = mounted.path().join("slow");
        succeed(ours(program(), way).arg(name).arg(std::env::temp_dir()).arg(file));
    }
}

#[test]
fn a_read_that_waits_is_cancelled_at_once() {
    holds("cancel_one", &WAYS);
}

#[test]
fn all_of_a_descriptor_is_cancelled_and_nothing_else() {
    holds("cancel_all", &WAYS);
}

#[test]
fn reads_of_one_descriptor_do_not_wait_for_each_other() {
    holds_for_slow_files("together");
}

#[test]
fn a_sync_waits_for_what_came_before_it() {
    holds_for_slow_files("sync_order");
}

#[test]
fn syncs_that_wait_together_each_have_an_answer() {
    holds_for_slow_files("joined_syncs");
}

/// An attached program's writes are made as its own, with the signal.
#[test]
fn a_write_behind_the_size_limit_is_an_error_and_no_signal() {
    holds("size_limit", &WAYS[..2]);
}

#[test]
fn a_forked_child_has_nothing_outstanding() {
    holds("forking", &WAYS);
}

#[test]
fn a_block_that_a_forked_child_shares_is_the_parents() {
    holds("forking_with_shared", &WAYS);
}

#[test]
fn a_read_of_packets_that_waits_is_cancelled_at_once() {
    holds("cancel_packet", &WAYS);
}

#[test]
fn requests_are_made_where_no_thread_can_be() {
    holds("alone", &WAYS);
}

#[test]
fn a_signal_handler_may_suspend() {
    // Most of what can go wrong does with the first requests of a program.
    for _ in 0..10 {
        holds("suspend_in_a_handler", &WAYS[..2]);
    }
}

#[test]
fn functions_that_are_called_find_the_program_as_it_is() {
    holds("thread_events", &WAYS);
}

#[test]
fn a_signal_comes_to_the_thread_that_was_named() {
    holds("thread_id", &WAYS);
}

#[test]
fn a_list_that_is_interrupted_goes_on() {
    holds("interrupted_list", &WAYS[..2]);
}

#[test]
fn the_library_keeps_to_itself() {
    // An attached thread is another kernel thread: not unseen.
    holds_for_slow_files_in("unseen", &WAYS[..2]);
}

#[test]
fn a_program_may_close_everything() {
    holds_for_slow_files("closing");
}

#[test]
fn many_threads_get_their_bytes() {
    holds("threads", &WAYS);
}

#[test]
fn a_read_that_waits_holds_up_no_write() {
    holds("both_ways", &WAYS);
}

#[test]
fn a_program_whose_main_thread_has_ended_ends_with_its_last_request() {
    holds("main_ends", &WAYS);
}

/// A server that does not answer statfs(2) is not asked.
#[test]
fn a_write_does_not_ask_a_server_what_it_is() {
    for way in WAYS {
        let folder = tempfile::tempdir().expect("a folder");
        let files = vec![File { name: "file".to_owned(), size: 4096 }];
        let mounted = TestFs::mount_for_writing(folder.path(), files, |_| Answer::NOW);
        let mounted = match mounted {
            Ok(mounted) => mounted,
            Err(error) => return skip(&format!("FUSE cannot be used here: {error}")),
        };
        mounted.hold_figures();
        let file = mounted.path().join("file");
        let mut child = ours(program(), way);
        let mut child = child.arg("write_served").arg(std::env::temp_dir()).arg(file).spawn();
        let child = child.as_mut().expect("it can be run");
        // Nobody tells when one of two things has happened.
        while mounted.counts().figures == 0 && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        mounted.let_go();
        assert!(child.wait().expect("a child").success(), "{way}");
        let counts = mounted.counts();
        assert_eq!((counts.figures, counts.writes), (0, 1), "{way}");
    }
}

/// `SYSLET_SOAK_SECONDS` makes it longer, `SYSLET_SOAK_SEED` another.
#[test]
fn what_was_synced_survives_the_client() {
    let program = compile_soak();
    let setting = |name, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let (seconds, seed) = (setting("SYSLET_SOAK_SECONDS", "3"), setting("SYSLET_SOAK_SEED", "7"));
    for way in WAYS {
        // On the disk of the build, which takes O_DIRECT; a temporary folder may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut soak = ours(&program, way);
        let output = succeed(soak.arg(folder.path()).args([&seconds, &seed]));
        println!("{way}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
}
