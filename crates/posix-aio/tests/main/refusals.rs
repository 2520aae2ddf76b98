//! What is not done; see `tests/c/refusals.c`.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::promises::mount;
use crate::util::{WAYS, compile, ours, succeed};

/// Much longer than aio_cancel waits for a call.
const DELAY: Duration = Duration::from_millis(500);

fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("refusals")).clone()
}

fn refuses(name: &str) {
    for way in WAYS {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(mounted) = mount(folder.path(), DELAY) else { return };
        let mut refusals = ours(program(), way);
        refusals.env("SYSLET_TEST_AIO_MOST", "8");
        succeed(refusals.arg(name).arg(mounted.path().join("slow")));
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
