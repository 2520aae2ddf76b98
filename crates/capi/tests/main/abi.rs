//! What compiled programs rely on is what it was; and the comparison that says so finds what would break them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::abi::{HEADERS, REMEDY, baseline, differences, headers, symbols};

use crate::util::{folder, run, tree};

fn assert_unchanged(file: &str, now: &str) {
    let lines = differences(&baseline(file).expect("it is in the source tree"), now);
    assert!(lines.is_empty(), "{REMEDY}\n{}", lines.join("\n"));
}

#[test]
fn the_shared_library_has_the_symbols_and_versions_that_it_had() {
    let now = symbols(&tree().join("lib/libsyslet.so")).expect("it can be read");
    assert_unchanged("libsyslet.so.0.txt", &now);
}

#[test]
fn the_headers_declare_what_they_did() {
    let now = headers(&tree().join("include"), &folder()).expect("they can be read");
    assert_unchanged(HEADERS, &now);
}

/// Where one header is in the copies below, and the others are as installed.
const CHANGED: &str = "syslet/dragonfly.h";

/// The differences if in a header `from` were `to`; each test with a folder of its own.
fn changed(test: &str, from: &str, to: &str) -> Vec<String> {
    let include = folder().join(test);
    let _ = fs::remove_dir_all(&include);
    fs::create_dir_all(include.join("syslet")).expect("a folder can be made");
    for name in xtask::header_names(&tree().join("include")).expect("they are there") {
        let text = fs::read_to_string(tree().join("include").join(&name)).expect("it is there");
        let new = if name == CHANGED { text.replacen(from, to, 1) } else { text.clone() };
        assert_eq!(name == CHANGED, new != text, "{name}");
        fs::write(include.join(name), new).expect("it can be written");
    }
    let now = headers(&include, &include).expect("they can be read");
    differences(&baseline(HEADERS).expect("it is in the source tree"), &now)
}

#[test]
fn a_moved_member_is_found() {
    let from = "    int ms_flags; /* 0 or MSGF_ASYNC; MSGF_DONE and MSGF_REPLY1 do no harm */\n    int ms_msgsize;\n";
    let lines = changed("moved", from, "    int ms_msgsize;\n    int ms_flags;\n");
    assert_eq!(
        lines,
        [
            "- syslet/dragonfly.h: struct lwkt_msg: int ms_flags, at 64, size 4",
            "- syslet/dragonfly.h: struct lwkt_msg: int ms_msgsize, at 68, size 4",
            "+ syslet/dragonfly.h: struct lwkt_msg: int ms_msgsize, at 64, size 4",
            "+ syslet/dragonfly.h: struct lwkt_msg: int ms_flags, at 68, size 4",
        ]
    );
}

#[test]
fn a_member_of_another_type_is_found_also_in_a_union_and_where_nothing_moves() {
    let lines = changed("retyped", "int32_t ms_result32;", "uint32_t ms_result32;");
    assert_eq!(
        lines,
        [
            "- syslet/dragonfly.h: struct lwkt_msg: int32_t u.ms_result32, at 80, size 4",
            "+ syslet/dragonfly.h: struct lwkt_msg: uint32_t u.ms_result32, at 80, size 4",
        ]
    );
}

#[test]
fn a_structure_that_grows_is_found_wherever_it_is_a_part() {
    let lines = changed("grown", "int ms_pad[2];", "int ms_pad[4];");
    for line in [
        "- syslet/dragonfly.h: struct lwkt_msg: size 96, align 8",
        "- syslet/dragonfly.h: struct lwkt_msg: int ms_pad[2], at 88, size 8",
        "- syslet/dragonfly.h: union usrmsg: size 96, align 8",
        "+ syslet/dragonfly.h: union usrmsg: struct lwkt_msg umsg, at 0, size 104",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
}

#[test]
fn another_value_or_prototype_is_found() {
    assert_eq!(
        changed("revalued", "#define EASYNC 99", "#define EASYNC 98u"),
        [
            "- syslet/dragonfly.h: EASYNC = 0x63, int",
            "+ syslet/dragonfly.h: EASYNC = 0x62, unsigned"
        ]
    );
    assert_eq!(
        changed("prototype", "int abortsys2(int cookie);", "long abortsys2(int cookie);"),
        [
            "- syslet/dragonfly.h: int abortsys2(int cookie)",
            "+ syslet/dragonfly.h: long abortsys2(int cookie)"
        ]
    );
}

/// A library of two functions, of which it shows those that `script` names.
fn small(name: &str, script: &str) -> PathBuf {
    let place = |ending: &str| folder().join(format!("{name}.{ending}"));
    fs::write(place("c"), "void stays(void) {}\nvoid goes(void) {}\n").expect("it can be written");
    fs::write(place("map"), script).expect("it can be written");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", &format!("-Wl,-soname,{name}")]).arg(place("c"));
    cc.arg(format!("-Wl,--version-script={}", place("map").display()));
    run(cc.arg("-o").arg(place("so")));
    place("so")
}

fn lines(before: &Path, now: &Path) -> Vec<String> {
    let symbols = |file| symbols(file).expect("it can be read");
    differences(&symbols(before), &symbols(now))
}

#[test]
fn a_symbol_that_disappears_or_changes_its_version_is_found() {
    let before = small("before", "V_1 { global: stays; goes; local: *; };");
    assert_eq!(
        lines(&before, &small("gone", "V_1 { global: stays; local: *; };")),
        ["- SONAME before", "- T goes@@V_1", "+ SONAME gone"]
    );
    assert_eq!(
        lines(&before, &small("moved", "V_1 { global: stays; local: *; }; V_2 { global: goes; };")),
        ["- SONAME before", "- T goes@@V_1", "+ SONAME moved", "+ A V_2", "+ T goes@@V_2"]
    );
}
