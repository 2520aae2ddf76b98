//! The drop-ins beside the system's libraries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use syslet_testfs::skip;

use super::{check_machine, json, remark, rows, skipped, ways};

#[track_caller]
fn no_fio() -> bool {
    let is_missing = Command::new("fio").arg("--version").output().is_err();
    if is_missing {
        skip("there is no fio here");
    }
    is_missing
}

/// fio with either library in front, if there is fio.
#[test]
fn libaio_and_posixaio_measure_every_work_beside_the_systems() {
    if skipped() || no_fio() {
        return;
    }
    let folder = libraries();
    for (engine, file) in [("libaio", "libaio.so.1"), ("posixaio", "libsyslet_posix_aio.so")] {
        let library = folder.join(file);
        let library = library.to_str().expect("a path of letters");
        let object = json(&[engine, "--library", library]);
        check_machine(&object);
        for work in ["cached", "cold", "direct", "fsync", "slow"] {
            let rows = rows(&object, work);
            if work == "slow" && rows.is_empty() {
                skip("FUSE cannot be used here: slow files");
                continue;
            }
            assert_eq!(ways(&rows), ["system", "syslet", "syslet-attached"], "{engine} {work}");
            assert!(rows[0].get("ratio_median").is_none(), "{engine} {work}");
            assert!(rows[1..].iter().all(|row| row["ratio_median"].is_f64()), "{engine} {work}");
            for row in rows {
                assert!(row["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
                assert!(
                    row["remark"].as_str().is_some_and(|said| said.starts_with("submit p99 ")),
                    "{row}"
                );
                let counted = remark(row).contains("; of a turn by the report: ");
                assert_eq!(counted, row["way"] != "system", "{row}");
            }
        }
    }
}

/// The loader takes them for the system's where `LD_LIBRARY_PATH` names their folder, as `cargo run` does.
#[test]
fn the_systems_library_is_not_ours_and_another_is_not_taken_for_ours() {
    if skipped() || no_fio() {
        return;
    }
    let folder = libraries();
    let run = |library: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        command.args(["libaio", "--work", "cached", "--quick", "--library"]);
        command.arg(folder.join(library)).env("LD_LIBRARY_PATH", folder);
        let output = command.output().expect("the bench starts");
        String::from_utf8(output.stderr).expect("text")
    };
    let faults = run("libaio.so.1");
    assert!(!faults.contains("ours was"), "{faults}");
    // It has none of libaio's functions.
    let faults = run("libsyslet_posix_aio.so");
    assert!(
        faults.contains("cached syslet: the library counts 0 operations, and fio "),
        "{faults}"
    );
}

/// A folder with the drop-in libraries: cargo builds them for nobody else.
fn libraries() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drop-ins");
        let mut install = xtask::Install::new("/usr".into());
        install.release = !cfg!(debug_assertions);
        let test = std::env::current_exe().expect("the test has a file");
        install.target_dir = test.ancestors().nth(3).map(PathBuf::from);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        install.libaio(&folder).expect("the library can be built");
        install.posix_aio(&folder).expect("the library can be built");
        folder
    });
    &FOLDER
}
