//! Numbers, names and sizes are those of the C headers of this machine.
#![cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use syslet_catalog::{ENTRIES, Kind, by_name};

/// Rows that headers may lack: those that came after Linux 6.1.
const NEWER: &[(u32, &str)] = &[
    (335, "uretprobe"),
    (336, "uprobe"),
    (451, "cachestat"),
    (452, "fchmodat2"),
    (453, "map_shadow_stack"),
    (454, "futex_wake"),
    (455, "futex_wait"),
    (456, "futex_requeue"),
    (457, "statmount"),
    (458, "listmount"),
    (459, "lsm_get_self_attr"),
    (460, "lsm_set_self_attr"),
    (461, "lsm_list_modules"),
    (462, "mseal"),
    (463, "setxattrat"),
    (464, "getxattrat"),
    (465, "listxattrat"),
    (466, "removexattrat"),
    (467, "open_tree_attr"),
    (468, "file_getattr"),
    (469, "file_setattr"),
    (470, "listns"),
];

/// Types that came after Linux 6.1.
const NEWER_TYPES: &[&str] = &["struct cachestat", "struct cachestat_range"];

const INCLUDES: &[&str] = &[
    "linux/aio_abi.h",
    "linux/capability.h",
    "linux/futex.h",
    "linux/io_uring.h",
    "linux/kexec.h",
    "mqueue.h",
    "poll.h",
    "sched.h",
    "signal.h",
    "stdint.h",
    "sys/epoll.h",
    "sys/msg.h",
    "sys/resource.h",
    "sys/sem.h",
    "sys/shm.h",
    "sys/socket.h",
    "sys/stat.h",
    "sys/sysinfo.h",
    "sys/time.h",
    "sys/times.h",
    "sys/timex.h",
    "sys/utsname.h",
    "sys/vfs.h",
    "time.h",
    "utime.h",
];

/// Runs the C compiler on `source`; its standard output if it was content.
fn cc(args: &[&str], source: &str) -> String {
    let mut child = Command::new("cc")
        .args(args)
        .args(["-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs a C compiler: cc");
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "cc {args:?} failed on:\n{source}");
    String::from_utf8(out.stdout).unwrap()
}

/// Name and number of every call in the headers.
fn header_calls() -> BTreeMap<String, u32> {
    let call = |line: &str| {
        let (name, nr) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((name.to_owned(), nr.trim().parse().ok()?))
    };
    let macros = cc(&["-E", "-dM"], "#include <asm/unistd.h>\n");
    macros.lines().filter_map(call).collect()
}

#[test]
fn every_call_of_the_headers_has_its_row() {
    let headers = header_calls();
    assert!(headers.len() > 300, "only {} calls found", headers.len());
    let wrong: Vec<_> = headers
        .iter()
        .filter(|(name, nr)| by_name(name).map(|entry| entry.nr) != Some(**nr))
        .collect();
    assert!(wrong.is_empty(), "missing from the table, or with another number: {wrong:?}");
}

#[test]
fn every_row_is_a_call_of_the_headers_or_known_to_be_newer() {
    let headers = header_calls();
    let listed: BTreeSet<_> = NEWER.iter().copied().collect();
    let extra: Vec<_> = ENTRIES
        .iter()
        .map(|entry| (entry.nr, entry.name))
        .filter(|&(nr, name)| headers.get(name) != Some(&nr) && !listed.contains(&(nr, name)))
        .collect();
    assert!(extra.is_empty(), "neither in the headers nor listed: {extra:?}");
    for (nr, name) in listed {
        assert_eq!(by_name(name).map(|entry| entry.nr), Some(nr), "{name} is listed without a row");
    }
}

#[test]
fn every_type_has_the_size_that_the_compiler_gives_it() {
    let mut types = BTreeMap::new();
    for arg in ENTRIES.iter().flat_map(|entry| entry.args) {
        if let Kind::Struct { of, .. } | Kind::Array { of, .. } = arg.kind {
            types.insert(of.name, of.size);
        }
    }
    assert!(types.len() > 40, "only {} types found", types.len());
    let mut source = String::from("#define _GNU_SOURCE\n");
    for header in INCLUDES {
        writeln!(source, "#include <{header}>").unwrap();
    }
    for (name, size) in types.iter().filter(|(name, _)| !NEWER_TYPES.contains(name)) {
        writeln!(source, "_Static_assert(sizeof({name}) == {size}, \"{name}\");").unwrap();
    }
    source += "_Static_assert(sizeof(struct timespec) == 16, \"struct timespec\");\n";
    source += "_Static_assert(sizeof(struct timeval) == 16, \"struct timeval\");\n";
    cc(&["-fsyntax-only"], &source);
}
