//! What is hashed, and how the manifest says it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use syslet_testfs::skip;

use crate::util::{MODES, Tree, assert_code, json, run, sorted, stderr, stdout, syslet};

#[test]
fn manifest_has_the_hash_of_every_file() {
    let tree = Tree::sample();
    for mode in MODES {
        let output = syslet()
            .args(["scan", "--mode", mode, "--manifest", "-"])
            .arg(tree.path())
            .output()
            .unwrap();
        assert_code(&output, 0);
        assert_eq!(sorted(stdout(&output)), tree.manifest(), "{mode}");
        assert!(stderr(&output).contains("105 files"), "the summary: {}", stderr(&output));
    }
}

#[test]
fn b3sum_accepts_the_manifest() {
    if Command::new("b3sum").arg("--version").output().is_err() {
        return skip("b3sum is not installed");
    }
    let (mut tree, out) = (Tree::sample(), Tree::new());
    // Older ones neither write nor read this escape.
    let name = tree.path().join("d0/return\r");
    if !stdout(&Command::new("b3sum").arg(&name).output().unwrap()).contains("return\\r") {
        skip("a name with a carriage return: this b3sum does not escape it");
        fs::remove_file(&name).unwrap();
        tree.files.retain(|(path, _)| *path != name);
    }
    let manifest = out.path().join("manifest");
    let mut scan = syslet();
    assert_code(
        &scan.args(["scan", "--manifest"]).arg(&manifest).arg(tree.path()).output().unwrap(),
        0,
    );
    let check = Command::new("b3sum").arg("-c").arg(&manifest).output().unwrap();
    assert_code(&check, 0);
    assert_eq!(stdout(&check).matches(": OK").count(), tree.files.len());
}

#[test]
fn names_that_are_no_utf8_are_scanned() {
    let tree = Tree::new();
    fs::write(tree.path().join(OsStr::from_bytes(b"a\xff")), "x").unwrap();
    let output = syslet().args(["scan", "--manifest", "-"]).arg(tree.path()).output().unwrap();
    assert_code(&output, 0);
    let hash = blake3::hash(b"x").to_hex();
    let root = tree.path().to_str().unwrap();
    assert_eq!(stdout(&output), format!("{hash}  {root}/a\u{fffd}\n"));
}

#[test]
fn sparse_files_are_read_as_zeros() {
    let tree = Tree::new();
    fs::File::create(tree.path().join("sparse")).unwrap().set_len(10 << 20).unwrap();
    let output = syslet().args(["scan", "--manifest", "-"]).arg(tree.path()).output().unwrap();
    assert!(stdout(&output).starts_with(blake3::hash(&vec![0; 10 << 20]).to_hex().as_str()));
}

#[test]
fn hard_links_count_each() {
    let mut tree = Tree::new();
    let path = tree.file("one", b"content");
    fs::hard_link(path, tree.path().join("two")).unwrap();
    let found = json(&syslet().args(["scan", "--json"]).arg(tree.path()).output().unwrap());
    assert_eq!((found["files"].as_u64(), found["bytes"].as_u64()), (Some(2), Some(14)));
    assert_eq!(found["hashed"], 2);
}

#[test]
fn several_arguments_and_a_file_as_argument() {
    let mut tree = Tree::new();
    let (a, b) = (tree.file("a", b"a"), tree.file("d/b", b"b"));
    let [a, d] = [a.to_str().unwrap(), b.parent().unwrap().to_str().unwrap()];
    let output = run(["scan", "--manifest", "-", a, &format!("{d}/")]);
    assert_code(&output, 0);
    assert_eq!(sorted(stdout(&output)), tree.manifest());
}

#[test]
fn files_longer_than_a_chunk_and_exactly_one() {
    let mut tree = Tree::new();
    for size in [128 << 10, (128 << 10) - 1, (128 << 10) + 1, 256 << 10] {
        tree.file(&format!("{size}"), &vec![7; size]);
    }
    let output = syslet().args(["scan", "--manifest", "-"]).arg(tree.path()).output().unwrap();
    assert_eq!(sorted(stdout(&output)), tree.manifest());
}
