//! Exit statuses and what is said about the command line.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Command, Stdio};

use syslet_testfs::skip;

use crate::util::{Tree, assert_code, run, stderr, stdout, syslet};

#[test]
fn bad_usage_exits_2() {
    let bad: [&[&str]; 16] = [
        &[],
        &["scan"],
        &["frobnicate"],
        &["scan", "--jobs", "0", "."],
        &["scan", "--jobs", "4001", "."],
        &["scan", "--mode", "magic", "."],
        &["scan", "--mode", "sync", "--jobs", "2", "."],
        &["scan", "--json", "--manifest", "-", "."],
        &["scan", "--no-read", "--manifest", "x", "."],
        &["run"],
        &["top"],
        &["top", "self"],
        &["top", "--interval", "0", "1"],
        &["top", "--once", "--interval", "1", "1"],
        &["run", "--report"],
        &["run", "--json", "--", "true"],
    ];
    for args in bad {
        let output = run(args);
        assert_code(&output, 2);
        assert!(stdout(&output).is_empty(), "{args:?}");
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn help_has_examples_and_exits_0() {
    for subcommand in ["scan", "probe", "calls", "run", "top", "completions"] {
        let output = run([subcommand, "--help"]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains(&format!("Examples:\n  syslet {subcommand}")));
    }
}

#[test]
fn manifest_that_cannot_be_made_exits_2() {
    let tree = Tree::sample();
    let output = syslet()
        .args(["scan", "--manifest", "/nonexistent/manifest"])
        .arg(tree.path())
        .output()
        .unwrap();
    assert_code(&output, 2);
    assert_eq!(
        stderr(&output),
        "syslet: /nonexistent/manifest: No such file or directory (os error 2)\n"
    );
}

#[test]
fn manifest_on_a_full_device_exits_2() {
    let tree = Tree::sample();
    let output =
        syslet().args(["scan", "--manifest", "/dev/full"]).arg(tree.path()).output().unwrap();
    assert_code(&output, 2);
    assert!(stderr(&output).contains("/dev/full: No space left on device"));
}

#[test]
fn nobody_to_tell_changes_no_answer() {
    let tree = Tree::sample();
    let path = tree.path().to_str().unwrap();
    let missing = format!("{path}/missing");
    let answers = [
        (&["scan", "--manifest", "-", path][..], 0),
        (&["scan", path, &missing], 1),
        (&["calls", "nosuch"], 2),
        (&["frobnicate"], 2),
    ];
    for (args, code) in answers {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = syslet().args(args).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn reader_that_goes_away_is_no_trouble() {
    let tree = Tree::sample();
    let root = tree.path().to_str().unwrap();
    for args in [&["calls"][..], &["calls", "--json"], &["scan", "--manifest", "-", root]] {
        let mut child =
            syslet().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {said}");
        assert!(!said.contains("pipe"), "{said}");
    }
}

#[test]
fn long_manifest_into_head_ends_early() {
    let mut tree = Tree::new();
    // More than a pipe holds.
    for n in 0..3000 {
        tree.file(&format!("{n:0100}"), b"");
    }
    let script = r#"set -o pipefail; "$0" scan --manifest - "$1" | head -1"#;
    let output = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_syslet")])
        .arg(tree.path())
        .output()
        .unwrap();
    assert_code(&output, 0);
    assert_eq!(stdout(&output).lines().count(), 1);
}

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(["completions", shell]);
        assert_code(&output, 0);
        for subcommand in ["scan", "probe", "calls", "run", "top"] {
            assert!(stdout(&output).contains(subcommand), "{shell} does not know {subcommand}");
        }
    }
    let script = run(["completions", "bash"]).stdout;
    let mut bash = std::process::Command::new("bash");
    let bash = bash.args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut bash = bash.spawn().expect("bash is there");
    std::io::Write::write_all(&mut bash.stdin.take().expect("piped"), &script).expect("it reads");
    let output = bash.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_code(&run(["completions", "cmd.exe"]), 2);
}

#[test]
fn manual_pages_render() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_code(&run([OsStr::new("manual"), folder.path().as_os_str()]), 0);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    for name in [
        "syslet.1",
        "syslet-scan.1",
        "syslet-probe.1",
        "syslet-calls.1",
        "syslet-run.1",
        "syslet-top.1",
    ] {
        assert!(names.iter().any(|had| had == name), "{name} is not among {names:?}");
    }
    let nowhere = run(["manual", "/nonexistent"]);
    assert_code(&nowhere, 2);
    assert!(stderr(&nowhere).starts_with("syslet: /nonexistent: "), "{}", stderr(&nowhere));
    if Command::new("groff").arg("--version").output().is_err() {
        skip("there is no groff to look at the pages with");
        return;
    }
    for name in &names {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-ww", "-z"]).arg(folder.path().join(name));
        let output = groff.output().expect("it has run before");
        assert!(output.status.success(), "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
}
