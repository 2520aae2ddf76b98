//! One program, with the C library's functions and with ours: what it prints must be the same.

use std::path::Path;
use std::process::Command;

use crate::util::{WAYS, compile, ours, stock, succeed};

fn lines(mut command: Command, folder: &Path, way: &str) -> Vec<String> {
    command.arg(folder);
    if way == "SYSLET_ATTACH" {
        command.arg("attached");
    }
    let output = succeed(&mut command);
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn answers_are_those_of_the_c_library() {
    let program = compile("differential");
    // On the disk of the build: a temporary folder may be in memory, where nothing waits.
    let folder = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for way in WAYS {
        let folder_of_theirs = folder();
        let theirs = lines(stock(&program), folder_of_theirs.path(), way);
        let folder = folder();
        let same = lines(ours(&program, way), folder.path(), way);
        assert!(theirs.len() > 150, "{theirs:?}");
        for (one, other) in theirs.iter().zip(&same) {
            assert_eq!(one, other, "{way}");
        }
        assert_eq!(theirs.len(), same.len(), "{way}");
    }
}
