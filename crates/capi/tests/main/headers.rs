//! The headers are C and C++, each by itself, and say of every structure what the library says.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use syslet_capi::abi;
use syslet_testfs::skip;

use crate::util::{folder, has, run};

/// Writes a source file that includes one header, twice.
fn including(header: &str, ending: &str) -> PathBuf {
    let name = header.replace(['/', '.'], "-");
    let file = folder().join(format!("only-{name}.{ending}"));
    let text = format!("#include <{header}>\n#include <{header}>\nint unused;\n");
    fs::write(&file, text).expect("a file can be written");
    file
}

fn compiles(compiler: &str, standard: &str, ending: &str) {
    let include = xtask::source().join("include");
    for header in xtask::header_names(&include).expect("the folder is there") {
        let mut command = Command::new(compiler);
        command.args([standard, "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]);
        command.arg("-I").arg(&include).arg(including(&header, ending));
        run(&mut command);
    }
}

#[test]
fn each_header_is_strict_c_by_itself() {
    compiles("cc", "-std=c11", "c");
}

#[test]
fn each_header_is_cpp_by_itself() {
    if has("c++") {
        compiles("c++", "-std=c++17", "cpp");
    } else {
        skip("there is no C++ compiler");
    }
}

/// Adds what Rust knows of a structure to a C file, as assertions. A field that has another name there: `field = name`.
macro_rules! same {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $there:ident) => { stringify!($there) };
    ($text:ident, $c:literal, $rust:ty, [$($field:ident $(= $there:ident)?),*]) => {
        $text.push_str(&format!(
            "_Static_assert(sizeof({c}) == {}, \"size of {c}\");\n\
             _Static_assert(_Alignof({c}) == {}, \"alignment of {c}\");\n",
            std::mem::size_of::<$rust>(), std::mem::align_of::<$rust>(), c = $c,
        ));
        $($text.push_str(&format!(
            "_Static_assert(offsetof({c}, {f}) == {}, \"{f} of {c}\");\n",
            std::mem::offset_of!($rust, $field), c = $c, f = $crate::headers::same!(@name $field $($there)?),
        ));)*
    };
}
pub(crate) use same;

/// Compiles assertions about what `header` declares.
pub(crate) fn assert_in_c(header: &str, assertions: &str) {
    let file = folder().join(format!("layout-{}.c", header.replace(['/', '.'], "-")));
    let text = format!(
        "#define _GNU_SOURCE\n#include <stddef.h>\n#include <{header}>\n{assertions}\nint unused;\n"
    );
    fs::write(&file, text).expect("a file can be written");
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]);
    run(command.arg("-I").arg(xtask::source().join("include")).arg(&file));
}

/// Adds assertions that constants have these values.
pub(crate) fn constants(text: &mut String, values: &[(&str, i64)]) {
    for (name, value) in values {
        let bits = *value as u64;
        writeln!(text, "_Static_assert((unsigned long long){name} == {bits}ull, \"{name}\");")
            .expect("a string can be written to");
    }
}

#[test]
fn the_library_and_syslet_h_agree() {
    let mut text = String::new();
    same!(
        text,
        "struct syslet_attach_options",
        abi::AttachOptions,
        [flags, cpu, max_crew, stack_size]
    );
    same!(text, "struct syslet_call", abi::SysCall, [nr, args]);
    same!(text, "struct syslet_queue_completion", abi::QueueCompletion, [user_data, res]);
    same!(text, "struct syslet_queue", abi::QueueHead, [ring, life, born, reserved0]);
    same!(text, "struct syslet_queue_stats", abi::QueueStats, [pushed, overflowed, outstanding]);
    same!(text, "struct syslet_arg", abi::ChainArg, [kind, reserved0, value]);
    same!(
        text,
        "struct syslet_stats",
        abi::Stats,
        [
            inlined,
            handed_off,
            in_place,
            queued,
            false_handoffs,
            rescued,
            attached,
            crew,
            crew_limit,
            outstanding,
            parked,
            spawn_failures,
            lost
        ]
    );
    same!(
        text,
        "struct syslet_probe",
        abi::ProbeResult,
        [attachable, membarrier, ring_reads, cpus, why]
    );
    // The ring's own offsets are asserted in crates/syslet/src/complete/ring.rs.
    for (field, offset) in [
        ("magic", 0),
        ("entry_size", 4),
        ("capacity", 8),
        ("entries", 16),
        ("backlog", 24),
        ("tail", 128),
        ("head", 256),
    ] {
        writeln!(
            text,
            "_Static_assert(offsetof(struct syslet_queue_ring, {field}) == {offset}, \"\");"
        )
        .expect("a string can be written to");
    }
    for (field, offset) in [("turn", 0), ("user_data", 8), ("res", 16)] {
        writeln!(
            text,
            "_Static_assert(offsetof(struct syslet_queue_entry, {field}) == {offset}, \"\");"
        )
        .expect("a string can be written to");
    }
    constants(
        &mut text,
        &[
            ("sizeof(struct syslet_queue_entry)", 32),
            ("SYSLET_DONE", abi::DONE.into()),
            ("SYSLET_PENDING", abi::PENDING.into()),
            ("SYSLET_ATTACHED", abi::ATTACHED.into()),
            ("SYSLET_POOL", abi::POOL.into()),
            ("SYSLET_ATTACH_PINNED", abi::ATTACH_PINNED.into()),
            ("SYSLET_ATTACH_REQUIRE", abi::ATTACH_REQUIRE.into()),
            ("SYSLET_QUEUE_ALWAYS", abi::QUEUE_ALWAYS.into()),
            ("SYSLET_CANCEL_TOO_LATE", abi::CANCEL_TOO_LATE.into()),
            ("SYSLET_CANCEL_NOT_BEGUN", abi::CANCEL_NOT_BEGUN.into()),
            ("SYSLET_CANCEL_ASKED", abi::CANCEL_ASKED.into()),
            ("SYSLET_CANCEL_RUNNING", abi::CANCEL_RUNNING.into()),
            ("SYSLET_ARG_VALUE", abi::ARG_VALUE.into()),
            ("SYSLET_ARG_RESULT", abi::ARG_RESULT.into()),
            ("SYSLET_ARG_AT", abi::ARG_AT.into()),
        ],
    );
    assert_in_c("syslet.h", &text);
}

/// Functions and their parameters that are pointers, by name.
type Pointers = BTreeSet<(String, String)>;

/// What the list in `syslet.h` names: "NAME, NAME of FUNCTION, FUNCTION; ..." in each of its items.
fn listed_pointers() -> Pointers {
    let header = fs::read_to_string(xtask::source().join("include/syslet.h")).expect("it is there");
    let (_, said) = header.split_once("* Pointers. ").expect("it has the list");
    let said = said.split("\n *\n").next().unwrap_or(said);
    let said = said.replace("\n *                 ", " "); // items are one line each then
    let mut listed = Pointers::new();
    let items = said.split("\n *   ").skip(1);
    for item in items.map(|item| item.lines().next().unwrap_or(item)) {
        let words = item.split_once("  ").map_or("", |(_term, words)| words);
        let entries = words.rsplit_once(": ").map_or(words, |(_, entries)| entries);
        for (names, functions) in entries.split(';').filter_map(|entry| entry.split_once(" of ")) {
            let functions = functions.split(", and ").next().unwrap_or(functions);
            let functions = functions.split(',').filter_map(|one| one.split_whitespace().next());
            for (function, name) in functions.flat_map(|f| names.split(',').map(move |n| (f, n))) {
                let new = listed.insert((function.to_owned(), name.trim().to_owned()));
                assert!(new, "twice: {name} of {function}");
            }
        }
    }
    listed
}

/// The name of a parameter that is a pointer, or a function.
fn pointer(parameter: &str) -> Option<&str> {
    if let Some((_, function)) = parameter.split_once("(*") {
        return function.split(')').next();
    }
    let is_pointer = parameter.contains('*') || parameter.contains("_function ");
    let name = parameter.trim_end_matches(')').rsplit([' ', '*']).next();
    name.filter(|_| is_pointer)
}

/// What the headers declare.
fn declared_pointers() -> Pointers {
    let declared = xtask::abi::baseline(xtask::abi::HEADERS).expect("it is in the source tree");
    let mut there = Pointers::new();
    for line in declared.lines().map(|line| line.split(" __asm__").next().unwrap_or(line)) {
        let Some((_header, prototype)) = line.split_once(": ") else { continue };
        let Some((before, parameters)) = prototype.split_once('(') else { continue };
        let function = before.rsplit([' ', '*']).next().unwrap_or(before);
        if !before.starts_with("typedef") && !function.is_empty() {
            let names = parameters.split(',').filter_map(pointer);
            there.extend(names.map(|name| (function.to_owned(), name.to_owned())));
        }
    }
    there
}

#[test]
fn syslet_h_says_of_every_pointer_whether_it_is_looked_at() {
    let (listed, there) = (listed_pointers(), declared_pointers());
    assert!(there.len() > 80, "{there:?}");
    let missing: Vec<_> = there.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&there).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    assert!(unknown.is_empty(), "there are no such pointers: {unknown:?}");
}
