//! What headers declare, with the numbers that the C compiler gives it.
//!
//! The headers are the project's own, so what is read of C is what they use; another construct is an error, and not
//! passed over. Names are read here, numbers are the compiler's: a program is generated that prints the lines.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::output;
use crate::{compiler, header_names};

/// The lines of all headers in `include`. Programs are made in `folder`.
///
/// # Errors
///
/// A construct that is not known here, or what the compiler says.
pub fn headers(include: &Path, folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for header in header_names(include)? {
        text += &described(include, &header, folder)?;
    }
    Ok(text)
}

/// The lines of one header, each beginning with its name.
fn described(include: &Path, header: &str, folder: &Path) -> io::Result<String> {
    let name = header.replace(['/', '.'], "-");
    let (source, program) =
        (folder.join(format!("abi-{name}.c")), folder.join(format!("abi-{name}")));
    fs::write(&source, format!("#include <{header}>\n"))?;
    let cc = |arguments: &[&str]| {
        let mut cc = compiler();
        cc.arg("-std=c11").arg("-I").arg(include).args(arguments);
        cc
    };
    let preprocessed = output(cc(&["-E", "-dD"]).arg(&source))?;
    let own = own(&preprocessed, &include.join(header).display().to_string());
    let mut program_text = String::from(START);
    for (name, value) in &own.macros {
        constant(&mut program_text, header, name, value);
    }
    for declaration in declarations(&own.code) {
        declared(&mut program_text, header, &declaration)
            .map_err(|why| io::Error::other(format!("{header}: {why}: {declaration}")))?;
    }
    let text = format!("#include <{header}>\n{program_text}    return 0;\n}}\n");
    fs::write(&source, text)?;
    output(cc(&["-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(&source))?;
    output(&mut Command::new(&program))
}

/// How the programs begin. (What is asked for its size is not evaluated: null pointers have members.)
const START: &str = r#"#include <stddef.h>
#include <stdio.h>
#define KIND(value) _Generic((value), int: "int", unsigned: "unsigned", long: "long", \
    unsigned long: "unsigned long", long long: "long long", unsigned long long: "unsigned long long")
#define VALUE(text, value) printf("%s = %#llx, %s\n", text, (unsigned long long)(value), KIND(value))
#define WHOLE(text, type) printf("%s: size %zu, align %zu\n", text, sizeof(type), _Alignof(type))
#define PART(text, type, member, one) \
    printf("%s, at %zu, size %zu\n", text, offsetof(type, member), sizeof(((type *)0)->one))
int main(void)
{
"#;

/// What of a preprocessed source file is a header's own.
struct Own {
    macros: Vec<(String, String)>,
    code: String,
}

/// `text` as `cc -E -dD` gives it.
fn own(text: &str, file: &str) -> Own {
    let mut own = Own { macros: Vec::new(), code: String::new() };
    let mut inside = false;
    for line in text.lines() {
        if let Some(marker) = line.strip_prefix("# ") {
            inside = marker.split('"').nth(1) == Some(file);
        } else if !inside || line.starts_with("#undef") || line.starts_with("#pragma") {
        } else if let Some(define) = line.strip_prefix("#define ") {
            let (name, value) = define.split_once(' ').unwrap_or((define, ""));
            if !value.trim().is_empty() {
                own.macros.push((name.to_owned(), value.trim().to_owned()));
            }
        } else {
            own.code += line;
            own.code.push('\n');
        }
    }
    own
}

/// Splits code into what ends with a semicolon, or is a function's body, outside of all braces.
fn declarations(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let body =
            byte == b'}' && code[start..at].split('{').next().is_some_and(|h| h.contains('('));
        if depth == 0 && (byte == b';' || body) {
            let text = code[start..=at].split_whitespace().collect::<Vec<_>>().join(" ");
            start = at + 1;
            if text != ";" {
                found.push(text);
            }
        }
    }
    found
}

/// Adds what prints a line: of `text`, and of what `with` C expressions the macros of [`START`] make.
fn print(program: &mut String, how: &str, header: &str, text: &str, with: &[&str]) {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let with: String = with.iter().map(|with| format!(", {with}")).collect();
    writeln!(program, "    {how}(\"{header}: {text}\"{with});")
        .expect("a string can be written to");
}

/// A macro: with the compiler's value, if its name is written as constants' are.
fn constant(program: &mut String, header: &str, name: &str, value: &str) {
    if name.contains(|c: char| c.is_ascii_lowercase() || c == '(') {
        print(program, "puts", header, &format!("#define {name} {value}"), &[]);
    } else {
        print(program, "VALUE", header, name, &[name]);
    }
}

/// A declaration.
fn declared(program: &mut String, header: &str, text: &str) -> Result<(), &'static str> {
    let (before, body) = match text.split_once('{') {
        Some((before, body)) => (before.trim(), Some(body)),
        None => (text.trim_end_matches(';').trim(), None),
    };
    let aggregate = before.starts_with("struct ") || before.starts_with("union ");
    match body {
        // A function, of which the body is the header's affair, or a prototype or another name.
        _ if before.contains('(') => print(program, "puts", header, before, &[]),
        None if before.starts_with("typedef ") => print(program, "puts", header, before, &[]),
        None if aggregate && before.split(' ').count() == 2 => {
            print(program, "puts", header, &format!("{before}: opaque"), &[]);
        }
        Some(body) if aggregate && before.split(' ').count() == 2 => {
            print(program, "WHOLE", header, before, &[before]);
            let body = body.rsplit_once('}').ok_or("no end")?.0;
            let whole = Whole { header, name: before };
            return whole.members(program, "", body);
        }
        _ => return Err("what kind of declaration is this?"),
    }
    Ok(())
}

/// A structure or union whose members are told.
struct Whole<'a> {
    header: &'a str,
    name: &'a str,
}

impl Whole<'_> {
    /// The members in `body`; `path` is what stands before their names.
    fn members(&self, program: &mut String, path: &str, body: &str) -> Result<(), &'static str> {
        for member in declarations(body) {
            let member = member.trim_end_matches(';').trim();
            let Some((kind, rest)) = member.split_once('{') else {
                self.plain(program, path, member)?;
                continue;
            };
            let (inner, name) = rest.rsplit_once('}').ok_or("no end")?;
            if !matches!(kind.trim(), "struct" | "union") {
                return Err("a member with a body");
            }
            let name = name.trim();
            if name.is_empty() {
                self.members(program, path, inner)?;
            } else {
                self.one(program, &format!("{path}{name}"), &format!("{} ", kind.trim()));
                self.members(program, &format!("{path}{name}."), inner)?;
            }
        }
        Ok(())
    }

    /// Members of a type with a name: `type *a, b[2]`.
    fn plain(&self, program: &mut String, path: &str, member: &str) -> Result<(), &'static str> {
        let member = member.split("__attribute__").next().unwrap_or(member).trim();
        if member.contains(['(', ':']) {
            return Err("a function pointer or a field of bits");
        }
        // The first has the type before it.
        let first = member.split([',', '[']).next().unwrap_or(member).trim_end();
        let name = first.rfind([' ', '*']).ok_or("a member without a type")? + 1;
        let (base, declarators) = member.split_at(first[..name].trim_end_matches([' ', '*']).len());
        for declarator in declarators.split(',').map(str::trim) {
            let name = declarator.trim_start_matches('*');
            let stars = &declarator[..declarator.len() - name.len()];
            self.one(program, &format!("{path}{name}"), &format!("{base} {stars}"));
        }
        Ok(())
    }

    /// One member, which may be an array: then of a size that the compiler knows, or of elements after the end.
    fn one(&self, program: &mut String, declarator: &str, kind: &str) {
        let Self { header, name } = self;
        let member = declarator.split('[').next().unwrap_or(declarator);
        let one =
            if declarator.ends_with("[]") { format!("{member}[0]") } else { member.to_owned() };
        let text = format!("{name}: {kind}{declarator}");
        print(program, "PART", header, &text, &[name, member, &one]);
    }
}
