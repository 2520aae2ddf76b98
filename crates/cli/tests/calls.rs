//! `syslet calls`.

use syslet_catalog::ENTRIES;

use crate::util::{assert_code, json, run, stderr, stdout};

#[test]
fn every_call_has_a_line_and_an_object() {
    let text = run(["calls"]);
    assert_code(&text, 0);
    let objects = json(&run(["calls", "--json"]));
    let objects = objects.as_array().unwrap();
    assert_eq!(stdout(&text).lines().count(), ENTRIES.len());
    assert_eq!(objects.len(), ENTRIES.len());
    for (entry, (line, object)) in ENTRIES.iter().zip(stdout(&text).lines().zip(objects)) {
        assert!(line.trim_start().starts_with(&format!("{} {}(", entry.nr, entry.name)), "{line}");
        assert_eq!(object["name"], entry.name);
        assert_eq!(object["number"], entry.nr);
        assert_eq!(object["args"].as_array().unwrap().len(), entry.args.len());
    }
}

#[test]
fn a_call_is_found_by_name_and_by_number() {
    let (by_name, by_number) = (run(["calls", "read"]), run(["calls", "0"]));
    assert_code(&by_name, 0);
    assert_eq!(by_name.stdout, by_number.stdout);
    assert!(stdout(&by_name).starts_with("read(fd, buf, count), number 0\n"));
    assert_eq!(json(&run(["calls", "read", "--json"]))["waits"]["fd"], "fd");
}

#[test]
fn a_refused_call_says_why() {
    let text = run(["calls", "vfork"]);
    assert!(stdout(&text).contains("refused: "), "{}", stdout(&text));
    assert!(json(&run(["calls", "--json", "vfork"]))["reason"].is_string());
}

#[test]
fn an_unknown_name_suggests_near_ones() {
    for (wrong, right) in [("raed", "read"), ("sys_statx", "statx"), ("pread", "pread64")] {
        let output = run(["calls", wrong]);
        assert_code(&output, 2);
        assert!(stdout(&output).is_empty());
        assert!(stderr(&output).contains(right), "{}", stderr(&output));
    }
    assert_code(&run(["calls", "qqqqqqqqq"]), 2);
    assert_code(&run(["calls", "99999"]), 2);
}
