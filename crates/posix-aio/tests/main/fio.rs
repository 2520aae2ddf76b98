//! fio, which knows nothing of the library, writes and reads back, and looks at every block.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::killed::soak;
use crate::util::{WAYS, ours, skip, stock, succeed, with_ours};

/// True if there is fio; else a line that says so.
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
