//! What is installed: the exported symbols, manual pages, pkg-config.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use syslet_testfs::skip;

use crate::util::{Linked, WAYS, compile, has, program, run, source, succeed, tree};

/// The functions that the shared library exports, as the linker sees them: name and version.
fn exported() -> BTreeSet<String> {
    let mut nm = Command::new("nm");
    nm.args(["--dynamic", "--defined-only", "--with-symbol-versions"]);
    let output = run(nm.arg(tree().join("lib/libsyslet.so")));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    let names = text.lines().filter_map(|line| line.split_whitespace().nth(2));
    // The version itself is listed as a symbol.
    names
        .filter(|name| name.contains('@') && !name.starts_with("SYSLET_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_shared_library_exports_what_the_version_script_lists_and_nothing_else() {
    let listed = xtask::exported().expect("the script can be read");
    assert!(listed.is_sorted(), "the script is sorted");
    let versioned = listed.iter().map(|name| format!("{name}@@SYSLET_0.1")).collect();
    assert_eq!(exported(), versioned);
}

/// The headers' text, without comments.
fn declarations() -> String {
    let include = xtask::source().join("include");
    let mut text = fs::read_to_string(include.join("syslet.h")).expect("it is there");
    for entry in fs::read_dir(include.join("syslet")).expect("it is there") {
        text += &fs::read_to_string(entry.expect("it can be read").path()).expect("it is text");
    }
    let mut code = String::new();
    for part in text.split("/*") {
        code += part.split_once("*/").map_or(part, |(_comment, code)| code);
    }
    code
}

#[test]
fn every_exported_function_is_declared_and_has_a_manual_page() {
    let code = declarations();
    let words: BTreeSet<_> = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for name in xtask::exported().expect("the script can be read") {
        assert!(words.contains(name.as_str()), "{name} is in no header");
        assert!(tree().join(format!("share/man/man3/{name}.3")).exists(), "{name} has no page");
    }
}

#[test]
fn every_page_says_whether_signal_handlers_may_call_the_function() {
    let pages = xtask::pages().expect("the headers can be read");
    for name in xtask::exported().expect("the script can be read") {
        let page = &pages[&format!("{name}.3")];
        let words: Vec<_> = page.split_whitespace().collect();
        let rule = words.iter().position(|word| *word == "Handlers:").map(|at| words[at + 1]);
        let said = rule.map(|rule| rule.trim_end_matches(['.', ':']));
        assert!(matches!(said, Some("yes" | "no")), "{name}: {said:?}");
    }
}

#[test]
fn manual_pages_say_what_the_headers_say() {
    let folder = xtask::source().join("man");
    let pages = xtask::pages().expect("the headers can be read");
    for (name, text) in &pages {
        let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(written == *text, "{name} is not of these headers: run `cargo xtask man`");
    }
    let there = fs::read_dir(folder).expect("it is there").count();
    assert_eq!(there, pages.len(), "there are pages of nothing");
}

#[test]
fn manual_pages_render_without_a_warning() {
    if !has("groff") {
        return skip("there is no groff");
    }
    for entry in fs::read_dir(xtask::source().join("man")).expect("it is there") {
        let page = entry.expect("it can be read").path();
        let mut groff = Command::new("groff");
        groff.current_dir(tree().join("share/man"));
        groff.args(["-s", "-man", "-ww", "-Tutf8", "-z"]).arg(&page);
        let told = run(&mut groff).stderr;
        assert!(told.is_empty(), "{}: {}", page.display(), String::from_utf8_lossy(&told));
    }
}

#[test]
fn pkg_config_names_folders_that_are_there() {
    let text = fs::read_to_string(tree().join("lib/pkgconfig/syslet.pc")).expect("it is there");
    assert!(text.contains("prefix=/usr\n") && text.contains("-lsyslet"), "{text}");
    assert!(text.contains(&format!("Version: {}\n", env!("CARGO_PKG_VERSION"))), "{text}");
    for file in ["lib/libsyslet.so.0", "lib/libsyslet.so", "lib/libsyslet.a", "include/syslet.h"] {
        assert!(tree().join(file).exists(), "{file} is not installed");
    }
}

#[test]
fn a_program_without_any_shared_library_is_attached_and_knows_its_cpu() {
    let path = compile(&source("alone.c"), Linked::Alone);
    for way in WAYS {
        succeed(program(&path, way));
    }
}
