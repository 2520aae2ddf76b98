//! The library's symbols, with their versions, are the system's; beside them stands `syscall`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use syslet_testfs::skip;

use crate::util::{finish, library};

/// Name and version of what a library defines, as `objdump` says it: old versions in brackets.
fn symbols(file: &Path) -> BTreeSet<(String, String)> {
    let output = finish(Command::new("objdump").arg("-T").arg(file)).assert_good();
    let symbol = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let defined = line.contains(".text") || line.contains("*ABS*");
        let [.., version, name] = words[..] else { return None };
        defined.then(|| (name.to_owned(), version.to_owned()))
    };
    output.lines().filter_map(symbol).collect()
}

fn system() -> Option<&'static Path> {
    let places = ["/usr/lib/x86_64-linux-gnu/libaio.so.1", "/lib/x86_64-linux-gnu/libaio.so.1"];
    places.into_iter().map(Path::new).find(|place| place.exists())
}

#[test]
fn symbols_and_versions_are_the_systems() {
    let ours = symbols(&library().join("libaio.so.1"));
    let syscall = ("syscall".to_owned(), "Base".to_owned());
    let Some(system) = system() else { return skip("there is no libaio here") };
    let mut expected = symbols(system);
    expected.insert(syscall);
    assert_eq!(ours, expected);
}

#[test]
fn symbols_and_versions_are_what_they_were_where_there_is_no_other_library_too() {
    let now = xtask::abi::symbols(&library().join("libaio.so.1")).expect("it can be read");
    let before = xtask::abi::baseline("libaio.so.1.txt").expect("it is in the source tree");
    let lines = xtask::abi::differences(&before, &now);
    assert!(lines.is_empty(), "{}\n{}", xtask::abi::REMEDY, lines.join("\n"));
}

#[test]
fn it_needs_nothing_that_the_system_lacks() {
    let file = library().join("libaio.so.1");
    let output = finish(Command::new("objdump").arg("-p").arg(file)).assert_good();
    let line = |name| output.lines().filter(move |line| line.trim().starts_with(name));
    let last = |line: &str| line.split_whitespace().last().unwrap_or_default().to_owned();
    assert_eq!(line("SONAME").map(last).collect::<Vec<_>>(), ["libaio.so.1"]);
    let needed: BTreeSet<_> = line("NEEDED").map(last).collect();
    let allowed = ["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "libm.so.6"];
    assert!(needed.iter().all(|name| allowed.contains(&name.as_str())), "{needed:?}");
}
