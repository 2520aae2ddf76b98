//! fio, which knows nothing of the library, writes and reads back, and looks at every block.

use std::path::Path;
use std::process::{Command, Stdio};

use syslet_dropin::report::{Kind, Summary, VARIABLE, Way};
use syslet_testfs::skip;

use crate::killed::soak;
use crate::util::{WAYS, ours, stock, succeed, with_ours};

/// True if there is fio; else a line that says so.
#[track_caller]
fn has_fio() -> bool {
    let found = Command::new("fio").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        skip("there is no fio");
    }
    found
}

/// Writes blocks of all sizes at random places, and reads them back; blocks with wrong sums make fio fail.
fn write_and_read_back(mut fio: Command, folder: &Path, direct: bool) {
    let direct = format!("--direct={}", u8::from(direct));
    fio.args(["--name=verify", "--ioengine=posixaio", "--iodepth=32", "--rw=randwrite"]);
    fio.args([
        "--size=24m",
        "--bsrange=4k-64k",
        "--verify=crc32c",
        "--do_verify=1",
        "--verify_fatal=1",
    ]);
    fio.args(["--fsync=64", "--output-format=terse", &direct]).arg("--directory").arg(folder);
    fio.current_dir(folder); // it leaves what it knows there
    let output = succeed(&mut fio);
    assert!(!output.stdout.is_empty(), "fio has said nothing");
}

#[test]
fn blocks_that_were_written_are_read_back() {
    if !has_fio() {
        return;
    }
    for direct in [false, true] {
        // On the disk of the build, which takes O_DIRECT; a temporary folder may be in memory.
        let folder = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        write_and_read_back(stock("fio"), folder().path(), direct);
        for way in WAYS {
            write_and_read_back(ours("fio", way), folder().path(), direct);
        }
    }
}

/// Buffered writes are made where aio_write is called, also on a file system that cannot be asked.
#[test]
fn writes_need_not_hop() {
    if !has_fio() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let report = folder.path().join("report");
    Summary::create(&report).expect("a report can be made");
    let mut fio = ours("fio", "");
    fio.args(["--name=writes", "--ioengine=posixaio", "--iodepth=8", "--rw=write", "--bs=4k"]);
    fio.args(["--size=4m", "--directory"]).arg(folder.path()).env(VARIABLE, &report);
    succeed(&mut fio);
    let summary = Summary::read(&report).expect("it is one");
    let cells = summary.libraries.iter().flat_map(|library| &library.cells);
    let inline = cells.filter(|cell| cell.kind == Kind::Write && cell.way == Way::Inline);
    // Not all: on a busy machine some are slow, and others are made elsewhere for a while then.
    assert!(inline.map(|cell| cell.count).sum::<u64>() > 0, "{summary}");
}

#[test]
fn what_was_synced_survives_a_killed_fio() {
    if !has_fio() {
        return;
    }
    for way in WAYS {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        soak("posixaio", folder.path(), || with_ours(Command::new("fio"), way));
    }
}
