//! What a scan tells: on a terminal meanwhile, and at its end.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use syslet_testfs::skip;

use crate::util::{Tree, assert_code, json, stderr, stdout, syslet};

/// Long enough for the line to be drawn several times.
fn long() -> Tree {
    let tree = Tree::new();
    fs::File::create(tree.path().join("sparse")).unwrap().set_len(256 << 20).unwrap();
    tree
}

#[test]
fn a_terminal_is_shown_how_far_it_is() {
    let tree = long();
    // script(1) gives its command a terminal. What that shows comes from its own standard output.
    let mut scan = Command::new("script");
    let command = format!("{} scan {}", env!("CARGO_BIN_EXE_syslet"), tree.path().display());
    scan.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null());
    let Ok(output) = scan.output() else {
        return skip("there is no script to make a terminal with");
    };
    assert_code(&output, 0);
    let shown = stdout(&output);
    let line = shown.find("entries, ").unwrap_or_else(|| panic!("no line: {shown:?}"));
    let end = shown.find("1 file, ").or_else(|| shown.find("files, ")).expect("the end is told");
    assert!(line < end, "the line comes before the end: {shown:?}");
    // Whoever looks later finds what was found, and no half line before it.
    assert!(shown[line..end].contains("\u{1b}[2K"), "the line is cleared: {shown:?}");
}

#[test]
fn a_pipe_is_shown_the_end_only() {
    let tree = long();
    let output = syslet().arg("scan").arg(tree.path()).output().unwrap();
    assert_code(&output, 0);
    assert_eq!(stderr(&output), "");
    assert!(!stdout(&output).contains(['\r', '\u{1b}']), "{:?}", stdout(&output));
}

#[test]
fn calls_are_told_in_numbers_that_add_up() {
    let tree = Tree::sample();
    let found = json(&syslet().args(["scan", "--json"]).arg(tree.path()).output().unwrap());
    let calls = &found["calls"];
    let number = |key: &str| calls[key].as_u64().unwrap_or_else(|| panic!("{key}: {calls}"));
    let pool = calls["mechanism"] != "attached";
    assert!(pool || number("inline") > 0, "{calls}");
    assert!(number("units_away") <= number("units"), "{calls}");
    assert!(number("computing") <= number("handed_off"), "{calls}");
    let of_histogram = |bucket: &Value| bucket["count"].as_u64().expect("a number");
    let counted: u64 = calls["handoff_latency"].as_array().unwrap().iter().map(of_histogram).sum();
    assert_eq!(counted, number("handed_off"), "{calls}");
    let bounds =
        calls["handoff_latency"].as_array().unwrap().iter().map(|b| b["below_ns"].as_u64());
    assert!(bounds.is_sorted(), "{calls}");
}

#[test]
fn a_tree_in_memory_is_scanned_as_one_on_a_disk() {
    let on_disk = Tree::sample();
    let Ok(in_memory) = tempfile::tempdir_in("/dev/shm") else { return skip("no tmpfs") };
    let copied = Command::new("cp").arg("-a").arg(on_disk.path()).arg(in_memory.path()).status();
    assert!(copied.unwrap().success());
    let facts = |path: &std::path::Path| {
        let found = json(&syslet().args(["scan", "--json"]).arg(path).output().unwrap());
        ["files", "bytes", "hashed", "bytes_read", "errors"].map(|key| found[key].clone())
    };
    assert_eq!(facts(in_memory.path()), facts(on_disk.path()));
}
