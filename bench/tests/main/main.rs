//! The bench does not rot: each command runs with tiny parameters and says what it should.

mod aio;
mod compare;
mod kevent;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use syslet_testfs::skip;

/// Fields that every row has.
const FIELDS: [&str; 6] = ["n", "min_ns", "median_ns", "p90_ns", "p99_ns", "max_ns"];

/// True, with a line that says so, if calls cannot run inline here.
#[track_caller]
fn skipped() -> bool {
    let probe = syslet::probe().expect("attaching works or says why not");
    let Some(why) = probe.unsupported else { return false };
    skip(&format!("calls cannot run inline here: {why}"));
    true
}

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().expect("the bench starts")
}

/// Runs a command with `--quick --json` and returns its object. Calls that went astray because the
/// machine is busy are a negative answer (status 1) and no failure of the bench.
fn json(args: &[&str]) -> Value {
    let output = bench(&[args, &["--quick", "--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}: {errors}", output.status);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let faults = object["faults"].as_array().expect("a list of faults");
    assert_eq!(output.status.success(), faults.is_empty(), "{errors}");
    object
}

fn check_machine(object: &Value) {
    for name in ["cpu", "kernel", "date", "load", "profile", "file_system"] {
        assert!(object["machine"][name].is_string(), "machine.{name}: {}", object["machine"]);
    }
    assert!(object["machine"]["cpus"].as_u64().is_some_and(|cpus| cpus > 0));
    assert_eq!(object["quick"], true);
}

/// The rows of a work, each with an ordered distribution.
fn rows<'a>(object: &'a Value, work: &str) -> Vec<&'a Value> {
    let rows = object["rows"].as_array().expect("rows");
    let rows: Vec<_> = rows.iter().filter(|row| row["work"] == work).collect();
    for row in &rows {
        let figures =
            FIELDS.map(|name| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}")));
        assert!(figures[0] > 0.0, "no samples: {row}");
        assert!(figures[1..].is_sorted(), "not a distribution: {row}");
    }
    rows
}

fn ways(rows: &[&Value]) -> Vec<String> {
    rows.iter().map(|row| row["way"].as_str().expect("a way").to_owned()).collect()
}

#[test]
fn inline_measures_every_work_in_every_way() {
    if skipped() {
        return;
    }
    let object = json(&["inline"]);
    check_machine(&object);
    let works = ["getppid", "lseek", "pread4k", "statx", "open_close", "open_read_close"];
    for work in works.into_iter().chain(["pwrite4k", "sparse"]) {
        let rows = rows(&object, work);
        let all = ["plain", "submit", "threadlet", "chain"];
        let chained = work == "open_read_close";
        assert_eq!(ways(&rows), all[..if chained { 4 } else { 3 }], "{work}");
        assert!(rows[0].get("extra_ns_median").is_none());
        for row in &rows[1..] {
            assert!(row["extra_ns_median"].is_f64() && row["ratio_median"].is_f64(), "{row}");
        }
        for row in &rows {
            assert!(row["inline"].is_u64() && row["handed_off"].is_u64(), "{row}");
            assert_eq!(row["cpu_ns_per_call"].is_f64(), work == "sparse", "{row}");
        }
        assert_eq!(rows[0]["inline"], 0, "a plain call is not the library's");
    }
}

#[test]
fn inline_measures_pinned_guests_too() {
    if skipped() {
        return;
    }
    let object = json(&["inline", "--work", "lseek", "--placement", "pinned", "--rounds", "3"]);
    assert_eq!(object["rows"].as_array().map(Vec::len), Some(3));
    assert!(rows(&object, "lseek").iter().all(|row| row["placement"] == "pinned" && row["n"] == 3));
}

#[test]
fn handoff_measures_both_placements() {
    if skipped() {
        return;
    }
    let object = json(&["handoff"]);
    check_machine(&object);
    let ends = ["follow-awake", "follow-asleep", "pinned-awake", "pinned-asleep"];
    let [follow, pinned] = [&ends[..2], &ends[2..]].map(|ends| {
        let all = |way: &'static str| ends.iter().map(move |end| format!("{way}-{end}"));
        all("hop").chain(all("submit")).chain(all("threadlet")).collect::<Vec<_>>()
    });
    let all = [follow, pinned].concat();
    assert_eq!(ways(&rows(&object, "handoff")), all);
    let all = ["submit-follow", "threadlet-follow", "submit-pinned", "threadlet-pinned"];
    assert_eq!(ways(&rows(&object, "handoff-busy")), all);
    assert_eq!(ways(&rows(&object, "handoff-cpu")), ["threadlet-follow", "threadlet-pinned"]);
    let ends = ["exit", "exec", "setgid"]
        .iter()
        .flat_map(|how| ["plain", "follow", "pinned"].map(|place| format!("{how}-{place}")));
    assert!(ways(&rows(&object, "end-busy")).iter().map(|way| way.to_string()).eq(ends));
    for work in ["handoff", "handoff-busy"] {
        for row in rows(&object, work) {
            if row["way"].as_str().is_some_and(|way| way.starts_with("hop-")) {
                continue;
            }
            assert_eq!(row["handed_off"], row["n"], "a figure is not of a handoff: {row}");
        }
    }
    assert_eq!(ways(&rows(&object, "attach_detach")), ["spawn-join", "follow", "pinned"]);
    let idle = rows(&object, "idle");
    assert_eq!(ways(&idle), ["plain", "follow", "pinned"]);
    assert!(idle.iter().all(|row| row["cpu_share"].is_f64() && row["sentinel_share"].is_f64()));
}

#[test]
fn queue_measures_every_work_beside_a_list() {
    let object = json(&["queue"]);
    check_machine(&object);
    let works = [
        ("post_pop", &["mutex-list", "queue", "queue-pop-many"][..]),
        ("overflow", &["mutex-list", "queue"]),
        ("shared", &["mutex-list", "queue"]),
    ];
    for (work, all) in works {
        let rows = rows(&object, work);
        assert_eq!(ways(&rows), all, "{work}");
        assert!(rows[0].get("ratio_median").is_none());
        assert!(rows[1..].iter().all(|row| row["ratio_median"].is_f64()), "{work}");
    }
    assert_eq!(object["faults"], Value::Array(Vec::new()), "counts are right on any machine");
}

#[test]
fn capi_measures_what_c_programs_have() {
    if skipped() {
        return;
    }
    let object = json(&["capi"]);
    check_machine(&object);
    let works = ["getppid", "pread4k", "open_read_close", "open_read_close_atoms", "post_pop"];
    for work in works.into_iter().chain(["pop_nothing"]) {
        let rows = rows(&object, work);
        assert_eq!(ways(&rows), ["plain", "libsyslet"], "{work}");
        assert!(rows[1]["extra_ns_median"].is_f64() && rows[1]["ratio_median"].is_f64(), "{work}");
        let counted = ["pread4k", "open_read_close", "open_read_close_atoms"].contains(&work);
        assert_eq!(rows[1]["inline"].as_u64() > Some(0), counted, "{:?}", rows[1]);
    }
    let misled: Vec<_> = faults(&object).filter(|fault| !is_ours(fault)).collect();
    assert!(misled.is_empty(), "{misled:?}");
    let servers = rows(&object, "server");
    assert_eq!(ways(&servers), ["webepoll", "webkevent", "webthreadlet"]);
    assert!(servers.iter().all(|row| row["per_second"].as_f64().is_some_and(|rate| rate > 0.0)));
    assert!(servers[1]["ratio_median"].is_f64());
}

#[test]
fn cold_measures_every_way_at_every_depth() {
    if skipped() {
        return;
    }
    let object = json(&["cold", "--depth", "1", "--depth", "8", "--size", "4"]);
    check_machine(&object);
    let rows = rows(&object, "cold");
    for depth in [1, 8] {
        let rows: Vec<_> = rows.iter().filter(|row| row["depth"] == depth).collect();
        let begins = |start: &str| rows.iter().filter(|row| way_begins(row, start)).count();
        let ours = (begins("syslet-at-"), begins("syslet-crew-"));
        assert_eq!((ours, begins("threads-")), ((1, 1), 1), "{rows:?}");
        assert!(
            [0, 2].contains(&begins("io_uring-")),
            "both, or none where it is denied: {rows:?}"
        );
        for row in rows {
            assert_eq!(row["n"], 1024, "a read was lost: {row}");
            assert!(row["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
            assert!(row["cpu_ns_per_call"].is_f64(), "{row}");
            assert_eq!(row["ratio_median"].is_f64(), !way_begins(row, "syslet-at-"), "{row}");
        }
    }
}

#[test]
fn tokio_measures_every_work_in_every_way_on_each_file_system() {
    if skipped() {
        return;
    }
    let object = json(&["tokio"]);
    check_machine(&object);
    let ways_of = ["std", "tokio_fs", "spawn_blocking", "syslet_fs", "unblock"];
    let works =
        ["metadata", "open_close", "read_at4k", "write_at4k", "read4k", "read64k", "read1m"];
    for work in works.into_iter().chain(["read_dir"]) {
        let rows = rows(&object, work);
        assert!([5, 10].contains(&rows.len()), "one or two file systems: {rows:?}");
        for (at, row) in rows.iter().enumerate() {
            let way = row["way"].as_str().expect("a way");
            assert!(way.ends_with(&format!("-{}", ways_of[at % 5])), "{work} {way}");
            assert_eq!(row["ratio_median"].is_f64(), at % 5 != 0, "{row}");
            let protected = matches!(ways_of[at % 5], "syslet_fs" | "unblock");
            assert_eq!(row["inline"].as_u64() > Some(0), protected, "{row}");
        }
    }
    assert_eq!(ways(&rows(&object, "away")), ["spawn_blocking", "unblock"]);
    assert_eq!(ways(&rows(&object, "timer")), ["alone", "unblock-metadata", "unblock-read1m"]);
}

const WAYS: [&str; 4] = ["syslet_fs", "tokio_fs", "unblock", "spawn_blocking"];

#[test]
fn server_measures_every_way_over_the_same_files() {
    if skipped() {
        return;
    }
    let object = json(&["server", "--segment", "50", "--connections", "4"]);
    check_machine(&object);
    assert_eq!(ways(&rows(&object, "hot")), WAYS);
    assert_eq!(ways(&rows(&object, "cold")), WAYS);
    for row in ["hot", "cold"].iter().flat_map(|work| rows(&object, work)) {
        assert!(row["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
        assert!(row["p999_ns"].as_f64() >= row["p99_ns"].as_f64(), "{row}");
        let is_ours = ["syslet_fs", "unblock"].contains(&row["way"].as_str().expect("a way"));
        assert_eq!(row["inline"].as_u64().is_some_and(|calls| calls > 0), is_ours, "{row}");
        assert_eq!(row["ratio_median"].is_f64(), row["way"] != "tokio_fs", "{row}");
    }
    let slow = rows(&object, "mix-slow");
    if slow.is_empty() {
        skip("FUSE cannot be used here: the mix");
    }
    for row in slow {
        assert!(row["min_ns"].as_f64().is_some_and(|nanos| nanos >= 50e6), "not slow: {row}");
    }
    for row in rows(&object, "mix") {
        assert!(row["p99_ratio_median"].is_f64(), "{row}");
    }
}

#[test]
fn server_soaks_in_faults_without_a_wrong_byte() {
    if skipped() {
        return;
    }
    let output = bench(&["server", "--soak", "2", "--quick", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("skipped: the soak") {
        return skip("FUSE cannot be used here: the soak");
    }
    assert!(output.status.success(), "{errors}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let rows = rows(&object, "soak");
    assert_eq!(ways(&rows), ["syslet_fs", "unblock"]);
    for row in rows {
        for none in [" 0 errors", " 0 cut off", " 0 hung up", " 0 reads failed"] {
            assert!(!remark(row).contains(none), "nothing has gone wrong: {row}");
        }
    }
}

fn way_begins(row: &Value, start: &str) -> bool {
    row["way"].as_str().is_some_and(|way| way.starts_with(start))
}

#[test]
fn tables_have_a_line_for_each_row() {
    if skipped() {
        return;
    }
    let output = bench(&["inline", "--quick", "--work", "getppid", "--work", "lseek"]);
    let table = String::from_utf8(output.stdout).expect("text");
    let begins = |start: &str| table.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((begins("getppid "), begins("lseek ")), (3, 3), "{table}");
    assert!(table.contains("median") && table.contains("debug build"), "{table}");
}

#[test]
fn all_parts_are_one_object_of_the_same_form() {
    if skipped() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("syslet-bench-all-{}", std::process::id()));
    let parts = ["all", "--part", "queue", "--part", "handoff", "--quick", "--json", "--report"];
    let mut all = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = all.args(parts).arg(&folder).output().expect("the bench starts");
    let read = |name| std::fs::read(folder.join(name)).expect("it has been written");
    let (file, page) = (read("report.json"), read("report.html"));
    std::fs::remove_dir_all(&folder).expect("it is there");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object, serde_json::from_slice::<Value>(&file).expect("the same"));
    assert!(page.starts_with(b"<!DOCTYPE html>"));
    check_machine(&object);
    assert!(object["faults"].is_array());
    let parts = object["parts"].as_array().expect("parts");
    let parts: Vec<_> = parts.iter().map(|part| part["part"].as_str().expect("a name")).collect();
    assert_eq!(parts, ["queue", "handoff"]);
    for (work, part) in [("post_pop", "queue"), ("handoff", "handoff")] {
        let rows = rows(&object, work);
        assert!(!rows.is_empty() && rows.iter().all(|row| row["part"] == part), "{rows:?}");
    }
}

#[test]
fn trouble_is_one_line_and_status_2() {
    if skipped() {
        return;
    }
    let output = bench(&["inline", "--quick", "--dir", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("making a directory for the files failed"), "{errors}");
}

#[test]
fn stall_sees_where_each_way_makes_its_calls() {
    if skipped() {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        return skip("there is no FUSE here");
    }
    let ways = [
        "plain",
        "pool",
        "io-uring",
        "threadlet-pinned",
        "syslet-fs-pinned",
        "threadlet-pool",
        "tokio-plain",
        "tokio-fs",
        "spawn-blocking",
    ];
    let args: Vec<_> = ways.iter().flat_map(|way| ["--way", way]).collect();
    let object = json(&[&["stall"], &args[..]].concat());
    assert_eq!(rows(&object, "stall").len(), ways.len());
    assert_eq!(faults(&object).count(), 0, "{object}");
}

fn remark(row: &Value) -> &str {
    row["remark"].as_str().unwrap_or_default()
}

fn faults(object: &Value) -> impl Iterator<Item = &Value> {
    object["faults"].as_array().expect("a list").iter()
}

/// A fault that a busy machine may bring: that calls of the library's were not inline.
fn is_ours(fault: &Value) -> bool {
    fault.as_str().is_some_and(|fault| fault.contains(" inline, "))
}
