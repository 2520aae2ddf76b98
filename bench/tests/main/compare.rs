//! The same work in every way.

use std::process::Command;

use serde_json::Value;

use super::{check_machine, faults, is_ours, json, rows, skipped, ways};

#[test]
fn compare_sees_how_each_way_went() {
    if skipped() {
        return;
    }
    let works = ["--work", "open_close", "--work", "read4k", "--work", "cold_read64k"];
    let object = json(&[&["compare"], &works[..]].concat());
    check_machine(&object);
    for kind in file_systems(&object) {
        for work in ["open_close", "read4k"] {
            let rows = rows(&object, &format!("{work} on {kind}"));
            for way in ["plain", "submit", "threadlet", "syslet_fs", "tokio_fs", "spawn_blocking"] {
                assert!(rows.iter().any(|row| row["way"] == way), "no {way}: {rows:?}");
            }
            for way in ["submit-x32", "threadlet-x32", "syslet_fs-x32"] {
                let row = rows.iter().find(|row| row["way"] == way).expect("it is there");
                assert!(row["depth"] == 32 && row["inline"].as_u64() > Some(0), "{row}");
            }
            for row in rows {
                let way = row["way"].as_str().expect("a way").trim_end_matches("-x32");
                let by_ring = ["compio", "tokio_uring", "io_uring", "kernel_aio"].contains(&way);
                let by_threads = ["tokio_fs", "libuv", "glibc_aio"].contains(&way);
                assert_eq!(
                    row["ring_requests"].as_u64().is_some_and(|n| n >= 64),
                    by_ring,
                    "{row}"
                );
                assert_eq!(
                    row["threads_cpu_ns"].as_u64().is_some_and(|n| n > 100),
                    by_threads,
                    "{row}"
                );
            }
        }
    }
    // A disk is needed for what comes from it.
    for row in rows(&object, "cold_read64k on ext4") {
        assert_eq!(row["n"], 1, "{row}");
    }
    assert!(rows(&object, "cold_read64k on tmpfs").is_empty());
    let misled: Vec<_> = faults(&object).filter(|fault| !is_ours(fault)).collect();
    assert!(misled.is_empty(), "{misled:?}");
}

#[test]
fn compare_keeps_the_others_when_a_way_fails() {
    if skipped() {
        return;
    }
    let args = ["--work", "open_close", "--way", "plain", "--way", "submit", "--quick", "--json"];
    // Enough descriptors for one file at a time, and not for 32.
    let limited = "ulimit -n 34 && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_bench"), "compare"]).args(args);
    let output = command.output().expect("there is a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for kind in file_systems(&object) {
        let work = format!("open_close on {kind}");
        assert_eq!(ways(&rows(&object, &work)), ["plain", "submit"]);
        let fault =
            format!("{work} submit-x32: work open_close failed: submit: Too many open files");
        assert!(errors.contains(&fault), "{errors}");
    }
}

/// What `compare` has rows of.
fn file_systems(object: &Value) -> Vec<String> {
    let rows = object["rows"].as_array().expect("rows");
    let plain = rows.iter().filter(|row| row["way"] == "plain");
    let kind =
        |row: &Value| row["work"].as_str()?.strip_prefix("open_close on ").map(str::to_owned);
    let kinds: Vec<_> = plain.filter_map(kind).collect();
    assert!(!kinds.is_empty(), "{object}");
    kinds
}
