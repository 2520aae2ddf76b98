//! `HISTORY.md` says of every rule where it is asserted: there is such a test.

use std::fs;

/// What stands between backticks in the last cell of the table rows.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cell = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or("");
        cell.split('`').skip(1).step_by(2).map(move |name| (row, name))
    })
}

#[test]
fn history_names_tests_that_there_are() {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).expect("it can be read");
    let history = read(xtask::source().join("HISTORY.md"));
    let mut programs = String::new();
    for entry in fs::read_dir(xtask::source().join("tests/c")).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        programs += &format!("{}(\n{}", path.file_name().unwrap().display(), read(path.clone()));
    }
    let mut count = 0;
    for (row, name) in named(&history).filter(|(_, name)| !name.contains(['/', ' '])) {
        assert!(programs.contains(&format!("{name}(")), "no test is called {name}: {row}");
        count += 1;
    }
    assert!(count > 80, "the tables were not found: {count} names");
}
