//! Manual pages, made of the headers: what a page says is the comment above the declaration.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// All pages of the headers in `include`: file name and text.
///
/// # Errors
///
/// If a header cannot be read.
pub(crate) fn pages(include: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for header in crate::header_names(include)? {
        let text = fs::read_to_string(include.join(&header))?;
        let mut blocks = text.split("\n\n");
        let intro = comment(text.trim_start()).map_or(String::new(), |(comment, _)| comment);
        if header == "syslet.h" {
            pages.insert("syslet.3".to_owned(), overview(&intro));
        }
        let mut names: Vec<String> = Vec::new();
        for block in &mut blocks {
            let Some((said, code)) = comment(block.trim_start()) else { continue };
            let Some(function) = Function::parse(code) else { continue };
            names.push(function.name.clone());
            pages.insert(format!("{}.3", function.name), function.page(&header, &said, &intro));
        }
        // What is declared without words of its own is said elsewhere.
        for block in text.split("\n\n").filter(|block| comment(block.trim_start()).is_none()) {
            if let Some(function) = Function::parse(block.trim_start())
                && !pages.contains_key(&format!("{}.3", function.name))
            {
                let said = format!("See {header}.");
                pages.insert(format!("{}.3", function.name), function.page(&header, &said, &intro));
            }
        }
    }
    Ok(pages)
}

/// The comment that a block begins with, as lines, and what follows.
fn comment(block: &str) -> Option<(String, &str)> {
    let (said, code) = block.strip_prefix("/*")?.split_once("*/")?;
    let line = |line: &str| {
        let line = line.trim();
        line.strip_prefix("* ").or(line.strip_prefix('*')).unwrap_or(line).to_owned()
    };
    let lines: Vec<String> = said.lines().map(line).collect();
    Some((lines.join("\n").trim_matches('\n').to_owned(), code.trim_start()))
}

struct Function {
    name: String,
    declaration: String,
}

impl Function {
    /// The function that `code` declares or defines first.
    fn parse(code: &str) -> Option<Self> {
        let (before, _) = code.split_once('(')?;
        let declares = !before.contains(['{', ';', '#', '='])
            && !["typedef", "extern", "struct {", "union"].iter().any(|no| before.starts_with(no));
        let name = before.rsplit([' ', '*']).next().filter(|name| !name.is_empty())?;
        if !declares || before.trim() == name {
            return None;
        }
        let end = code.find([';', '{']).unwrap_or(code.len());
        let mut declaration = code[..end].trim_end().to_owned();
        let mut symbol = name.to_owned();
        if let Some((c, label)) = declaration.clone().split_once("__asm__(\"") {
            // The page bears the name that the linker knows.
            symbol = label.split('"').next().unwrap_or(name).to_owned();
            declaration = c.trim_end().to_owned();
        }
        Some(Self { name: symbol, declaration: declaration + ";" })
    }

    fn page(&self, header: &str, said: &str, intro: &str) -> String {
        let mut page = head(&self.name);
        let brief = said.replace('\n', " ");
        let brief = brief.split(['.', ':', ';', ',']).next().unwrap_or_default().trim();
        let brief = brief.trim_end_matches(" (syslet_attach)");
        let (first, rest) = brief.split_at(brief.chars().next().map_or(0, char::len_utf8));
        let brief = first.to_lowercase() + rest;
        section(&mut page, "NAME", &format!("{} \\- {}", self.name, escape(&brief)));
        let synopsis = format!(
            ".nf\n.B #include <{header}>\n.PP\n{}\n.fi\n.PP\nLink with \\fI\\-lsyslet\\fP.",
            escape(&self.declaration),
        );
        section(&mut page, "SYNOPSIS", &synopsis);
        section(&mut page, "DESCRIPTION", &prose(said));
        if header != "syslet.h" {
            section(&mut page, "NOTES", &prose(intro));
        }
        section(&mut page, "SEE ALSO", ".BR syslet (3)");
        page
    }
}

fn overview(intro: &str) -> String {
    let mut page = head("syslet");
    section(&mut page, "NAME", "syslet \\- asynchronous system calls and functions");
    let synopsis = ".B #include <syslet.h>\n.PP\nLink with \\fI\\-lsyslet\\fP.";
    section(&mut page, "SYNOPSIS", synopsis);
    section(&mut page, "DESCRIPTION", &prose(intro));
    page
}

fn head(name: &str) -> String {
    format!(".\\\" Made of the headers by `cargo xtask man`.\n.TH {name} 3 \"\" \"syslet 0.1\"\n")
}

fn section(page: &mut String, title: &str, text: &str) {
    writeln!(page, ".SH {title}\n{text}").expect("a string can be written to");
}

/// Paragraphs, and lists of error numbers: lines that begin with two blanks.
fn prose(said: &str) -> String {
    let mut text = String::new();
    let mut listing = false;
    for line in said.lines() {
        let (indent, words) = (line.len() - line.trim_start().len(), line.trim());
        let item = words.split_once("  ").filter(|_| indent == 2);
        match item {
            _ if words.is_empty() => text += ".PP\n",
            Some((term, words)) => {
                listing = true;
                write!(text, ".TP\n.B {}\n{}\n", escape(term), escape(words.trim()))
                    .expect("a string can be written to");
            }
            None => {
                if listing && indent == 0 {
                    text += ".PP\n";
                    listing = false;
                }
                text += &escape(words);
                text.push('\n');
            }
        }
    }
    text.trim_end().to_owned()
}

/// As roff wants it.
fn escape(text: &str) -> String {
    let plain = text.replace('\\', "\\e").replace('-', "\\-");
    let guarded = |line: &str| {
        let marker = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{marker}{line}")
    };
    plain.lines().map(guarded).collect::<Vec<_>>().join("\n")
}
