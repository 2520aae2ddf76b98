//! fio, which checks what it has written.

use std::path::Path;

use syslet_dropin::report::{Kind, Summary, Way};

use crate::killed::soak;
use crate::util::{Library, Report, command, count, finish, has, scratch};

const ALL: [Library; 3] = [Library::System, Library::Ours, Library::Attached];

/// Runs a job; what went through, for ours.
fn run(library: Library, folder: &Path, options: &[&str]) -> Option<Summary> {
    let report = (library != Library::System).then(|| Report::new(folder));
    let mut fio = command(library, "fio");
    fio.args([
        "--name=job",
        "--verify_state_save=0",
        "--ioengine=libaio",
        "--iodepth=32",
        "--size=12m",
        "--verify_fatal=1",
    ]);
    fio.arg(format!("--directory={}", folder.display())).args(options);
    if let Some(report) = &report {
        report.tell(&mut fio);
    }
    let output = finish(&mut fio).assert_good();
    assert!(output.contains("err= 0"), "{output}");
    report.map(|report| report.read())
}

#[track_caller]
fn verified(direct: &str, block: &str, more: &[&str]) {
    if !has("fio") {
        return;
    }
    for library in ALL {
        let folder = scratch();
        let options = ["--rw=randwrite", "--verify=crc32c", direct, block];
        let Some(summary) = run(library, folder.path(), &[&options[..], more].concat()) else {
            continue;
        };
        println!("{library:?}:\n{summary}");
        let [writes, reads] = [Kind::Write, Kind::Read].map(|kind| count(&summary, &[kind], None));
        // Every block is written and read back.
        assert!(writes > 100 && reads >= writes, "{summary}");
        let kernel = count(&summary, &[Kind::Write], Some(Way::Kernel));
        assert_eq!(kernel, if direct == "--direct=1" { writes } else { 0 }, "{summary}");
    }
}

#[test]
fn buffered_writes_are_read_back() {
    verified("--direct=0", "--bsrange=512-64k", &["--fsync=16"]);
}

#[test]
fn direct_writes_are_read_back() {
    verified("--direct=1", "--bsrange=4k-64k", &["--blockalign=4k"]);
}

#[test]
fn events_are_taken_from_memory() {
    verified("--direct=0", "--bs=4k", &["--userspace_reap=1", "--iodepth_batch_complete_min=0"]);
}

#[test]
fn threads_and_processes_are_served() {
    verified("--direct=0", "--bs=4k", &["--numjobs=3", "--thread=1", "--group_reporting=1"]);
    verified("--direct=0", "--bs=4k", &["--numjobs=3", "--group_reporting=1"]);
}

/// Cached reads are done where io_submit is called.
#[test]
fn cached_reads_do_not_hop() {
    if !has("fio") {
        return;
    }
    let folder = scratch();
    let options = ["--rw=randread", "--bs=4k", "--direct=0", "--invalidate=0", "--pre_read=1"];
    let Some(summary) = run(Library::Ours, folder.path(), &options) else { return };
    let [all, inline] = [None, Some(Way::Inline)].map(|way| count(&summary, &[Kind::Read], way));
    assert!(all == 3072 && inline * 100 >= all * 99, "{summary}");
}

#[test]
fn what_was_synced_survives_a_killed_fio() {
    if !has("fio") {
        return;
    }
    for library in [Library::Ours, Library::Attached] {
        let folder = scratch();
        soak("libaio", folder.path(), || command(library, "fio"));
    }
}
