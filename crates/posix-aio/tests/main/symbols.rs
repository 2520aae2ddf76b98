//! The functions are there under all their names, and nothing else is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::util::{library, succeed};

/// The names that a library defines for others, without versions.
fn defined(library: &Path) -> BTreeSet<String> {
    let output = succeed(Command::new("nm").args(["--dynamic", "--defined-only"]).arg(library));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = |line: &str| Some(line.split_whitespace().nth(2)?.split('@').next()?.to_owned());
    said.lines().filter_map(name).collect()
}

/// The C library that programs here run with.
fn c_library() -> std::path::PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    path.expect("the test is linked with the C library").into()
}

#[test]
fn every_function_of_aio_7_is_there_and_nothing_else() {
    let is_aio = |name: &String| name.starts_with("aio_") || name.starts_with("lio_");
    let theirs: BTreeSet<_> = defined(&c_library()).into_iter().filter(is_aio).collect();
    assert!(theirs.len() >= 17, "{theirs:?}");
    assert_eq!(defined(library()), theirs);
}

#[test]
fn definitions_have_no_versions_and_so_satisfy_references_to_any() {
    let output = succeed(Command::new("objdump").arg("-T").arg(library()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = said.lines().find(|line| line.ends_with(" aio_read")).expect("it is defined");
    assert!(!read.contains("GLIBC"), "{read}");
}

#[test]
fn symbols_are_what_they_were_whatever_the_c_library() {
    let now = xtask::abi::symbols(library()).expect("it can be read");
    let before = xtask::abi::baseline("libsyslet_posix_aio.so.txt").expect("it is in the tree");
    let lines = xtask::abi::differences(&before, &now);
    assert!(lines.is_empty(), "{}\n{}", xtask::abi::REMEDY, lines.join("\n"));
}
