//! What the chapters say in other languages than Rust: C compiles, links lead somewhere, the measures exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("docs is in the workspace").to_owned()
}

/// The texts that a reader meets first: the chapters, and the documents beside the workspace's manifest.
fn texts() -> Vec<(PathBuf, String)> {
    let folders = [root(), root().join("docs/chapters")];
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder is there"));
    let texts: Vec<_> = files
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("it is text")))
        .collect();
    assert!(texts.len() > 12, "README, ARCHITECTURE and their like, and the chapters");
    texts
}

/// Blocks of `language`, fenced.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap_or(rest)).collect()
}

#[test]
fn c_compiles() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut count = 0;
    for (path, text) in texts() {
        for block in blocks(&text, "c") {
            let source = folder.path().join("block.c");
            fs::write(&source, format!("{block}\n")).expect("written");
            let compiled = Command::new("cc")
                .args([
                    "-std=c11",
                    "-D_GNU_SOURCE",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-fsyntax-only",
                    "-I",
                ])
                .arg(root().join("crates/capi/include"))
                .arg(&source)
                .output()
                .expect("there is a C compiler");
            let said = String::from_utf8_lossy(&compiled.stderr);
            assert!(compiled.status.success(), "a block of {}: {said}", path.display());
            count += 1;
        }
    }
    assert!(count >= 2, "README and the chapter on C have one each");
}

#[test]
fn links_lead_to_files() {
    let mut count = 0;
    for (path, text) in texts() {
        for link in links(&text) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or(link);
            let there = path.parent().is_some_and(|folder| folder.join(file).exists());
            assert!(there, "{} links to {link}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "the summary links to each chapter");
}

/// What a link in brackets leads to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// mdbook takes more than this: parts, lines between them, chapters in chapters. None is needed, and this is certain.
#[test]
fn the_summary_is_a_list_of_chapters() {
    let folder = root().join("docs/chapters");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).expect("it is text");
    let mut lines = summary.lines().filter(|line| !line.is_empty());
    assert_eq!(lines.next(), Some("# Summary"));
    let mut seen = Vec::new();
    for line in lines {
        let chapter = line.strip_prefix("- [").and_then(|rest| rest.strip_suffix(".md)"));
        let (title, file) = chapter.and_then(|rest| rest.split_once("](")).expect(line);
        let text = fs::read_to_string(folder.join(file).with_extension("md")).expect(line);
        assert!(text.starts_with("# "), "{file} begins without a heading");
        assert!(!title.is_empty() && !seen.contains(&file), "{line}");
        seen.push(file);
    }
    assert!(seen.len() > 5, "the guide has more chapters: {seen:?}");
}

#[test]
fn links_of_chapters_stay_in_the_book() {
    let folder = root().join("docs/chapters");
    for (path, text) in texts() {
        if path.parent() == Some(folder.as_path()) {
            let outside = links(&text).find(|link| !link.contains("://") && link.contains('/'));
            assert_eq!(
                outside,
                None,
                "{}: the book has only what is in its folder",
                path.display()
            );
        }
    }
}

#[test]
fn files_that_the_book_names_are_there() {
    let book = fs::read_to_string(root().join("docs/book.toml")).expect("it is text");
    let values = |key: &str| {
        let line =
            book.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
        let line = line.unwrap_or_else(|| panic!("{key} is not there"));
        line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let named = [values("src"), values("additional-css")].concat();
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named.iter().all(|name| root().join("docs").join(name).exists()), "{named:?}");
}

#[test]
fn included_files_exist() {
    for (path, text) in texts() {
        for include in text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next())
        {
            let file = include.split(':').next().unwrap_or(include);
            let there = path.parent().is_some_and(|folder| folder.join(file).exists());
            assert!(there, "{} includes {include}", path.display());
        }
    }
}

#[test]
fn every_chapter_is_in_the_summary_and_compiled() {
    let summary = fs::read_to_string(root().join("docs/chapters/SUMMARY.md")).expect("it is text");
    let compiled = fs::read_to_string(root().join("docs/lib.rs")).expect("it is text");
    for (path, _) in texts() {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if path.starts_with(root().join("docs/chapters")) && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("({name})")), "{name} is not in the summary");
            assert!(compiled.contains(&format!("chapters/{name}\"")), "{name} is not compiled");
        }
    }
}

#[test]
fn paths_in_code_marks_exist() {
    let mut count = 0;
    for (path, text) in texts() {
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = ["crates/", "bench/", "ci/", "docs/", "examples/", "xtask/"]
                .iter()
                .any(|folder| word.starts_with(folder));
            if is_path && !word.contains([' ', '*', '{']) {
                assert!(root().join(word).exists(), "{} names {word}", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 20, "ARCHITECTURE.md alone names more");
}
