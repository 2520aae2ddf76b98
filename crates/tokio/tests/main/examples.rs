use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::util::Folder;

/// Builds an example as this test was built, and says where it is.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a file");
    let folder = test.ancestors().nth(2).expect("tests are in `deps`");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--package",
        "syslet-tokio",
        "--example",
        name,
        "--target-dir",
    ]);
    build.arg(folder.parent().expect("a profile has a folder of its own"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo can be run").success(), "the example can be built");
    folder.join("examples").join(name)
}

#[test]
fn decode_says_the_length_and_starves_nobody() {
    let folder = Folder::new();
    let path = folder.at("file.gz");
    let file = std::fs::File::create(&path).expect("it can be made");
    let mut encoder = GzEncoder::new(file, Compression::fast());
    // In a debug build, half a second's work.
    let length = 20_000_003;
    let bytes: Vec<u8> = (0..length).map(|at: u32| (at / 7 % 251) as u8).collect();
    encoder.write_all(&bytes).and_then(|()| encoder.finish().map(drop)).expect("it can be written");
    let output = Command::new(example("decode")).arg(&path).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with(&format!("{length} bytes; ")), "{text}");
    let ticks = text.split(' ').nth(2).and_then(|ticks| ticks.parse::<u32>().ok());
    // Whether the closure is inline or in the pool, the only worker is free.
    assert!(ticks.is_some_and(|ticks| ticks >= 5), "the other task was starved: {text}");
    let missing = Command::new(example("decode")).arg(folder.at("none")).output();
    assert_eq!(missing.expect("it can be run").status.code(), Some(1));
}
