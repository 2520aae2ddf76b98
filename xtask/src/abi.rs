//! What programs that were compiled rely on: exported symbols with their versions, and what the headers declare, each
//! as lines of text that are kept in `abi/` and compared.
//!
//! Of the headers the C compiler says sizes, offsets and values, for whatever it was built; the symbols are the file's.
//! (`abidiff` compares debugging information, which here is of Rust's types: it knows nothing of the headers, and tells
//! of what no program sees.)

mod header;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{DROP_INS, Install, root};

pub use header::headers;

/// Shared libraries: the file with their baseline, and where each is below the folder of libraries.
const LIBRARIES: [(&str, &str, &str); 3] = [
    ("libsyslet.so.0.txt", "", "libsyslet.so.0"),
    ("libaio.so.1.txt", DROP_INS, "libaio.so.1"),
    ("libsyslet_posix_aio.so.txt", DROP_INS, "libsyslet_posix_aio.so"),
];
/// The file with what the headers declare.
pub const HEADERS: &str = "headers.txt";

/// Where the baselines are.
pub fn baselines() -> PathBuf {
    root().join("abi")
}

/// A baseline, by its file's name.
///
/// # Errors
///
/// What the file system says.
pub fn baseline(file: &str) -> io::Result<String> {
    fs::read_to_string(baselines().join(file))
}

/// What a shared library is called and defines for others: kind, name and version as nm(1) has them, in order.
///
/// # Errors
///
/// If it cannot be read, or there are no binutils.
pub fn symbols(library: &Path) -> io::Result<String> {
    let dynamic = output(Command::new("objdump").arg("-p").arg(library))?;
    let soname = dynamic.lines().find_map(|line| line.trim().strip_prefix("SONAME"));
    let mut lines = vec![format!("SONAME {}", soname.map_or("none", str::trim))];
    let mut nm = Command::new("nm");
    nm.args(["--dynamic", "--defined-only", "--with-symbol-versions"]);
    let table = output(nm.arg(library))?;
    let mut symbols = BTreeSet::new();
    for line in table.lines() {
        let mut words = line.split_whitespace().skip(1);
        if let (Some(kind), Some(name)) = (words.next(), words.next()) {
            symbols.insert((name, kind));
        }
    }
    lines.extend(symbols.into_iter().map(|(name, kind)| format!("{kind} {name}")));
    Ok(lines.join("\n") + "\n")
}

/// What has changed, a line each: `-` what programs may rely on and is gone, `+` what is new. Empty if nothing has. A
/// line of text stands for itself, wherever it is: lines name all that they are about.
pub fn differences(before: &str, now: &str) -> Vec<String> {
    let (before, now): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let missing = |from: &[&str], sign: char, of: &[&str]| -> Vec<String> {
        let of: BTreeSet<&str> = of.iter().copied().collect();
        let gone = from.iter().filter(|line| !of.contains(*line));
        gone.map(|line| format!("{sign} {line}")).collect()
    };
    let mut lines = missing(&before, '-', &now);
    lines.extend(missing(&now, '+', &before));
    lines
}

/// Builds and installs all libraries below `folder`, and compares them and the headers with the baselines, or writes
/// these anew.
///
/// # Errors
///
/// The differences; or what the tools say.
pub fn check(folder: &Path, update: bool) -> io::Result<()> {
    let mut install = Install::new("/usr".into());
    install.destdir = Some(folder.into());
    install.release = false;
    install.run()?;
    install.drop_ins()?;
    let usr = folder.join("usr");
    let mut found = vec![(HEADERS, headers(&usr.join("include"), folder)?)];
    for (file, below, name) in LIBRARIES {
        found.push((file, symbols(&usr.join("lib").join(below).join(name))?));
    }
    let mut told = String::new();
    for (file, now) in &found {
        if update {
            fs::create_dir_all(baselines())?;
            fs::write(baselines().join(file), now)?;
        } else {
            let lines = differences(&baseline(file)?, now);
            told.extend(lines.iter().map(|line| format!("\nabi/{file}: {line}")));
        }
    }
    if told.is_empty() { Ok(()) } else { Err(io::Error::other(format!("{REMEDY}{told}"))) }
}

/// What to do about differences.
pub const REMEDY: &str = "what compiled programs rely on has changed: lines with `-` break them; if that is meant, \
                          `cargo xtask abi --update`";

/// What a command says; an error if it fails.
fn output(command: &mut Command) -> io::Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{name}: {}\n{told}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
