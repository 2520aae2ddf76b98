//! What kind of program a file is, as far as the loader is concerned.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a file is to execve(2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program that the loader at this path loads, with what is to be preloaded.
    Dynamic(PathBuf),
    /// A program without a loader.
    Static,
    /// A program for another machine, or of another word size.
    Foreign,
    /// A script that this program interprets.
    Script(PathBuf),
    /// Something else; the kernel says what.
    Other,
}

/// Most of a script's first line that the kernel looks at: BINPRM_BUF_SIZE.
const LINE: usize = 256;
/// elf.h
const PT_INTERP: u32 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
/// Longest path of a loader: PATH_MAX.
const LONGEST: u64 = 4096;

/// Looks at the file.
pub(super) fn kind(path: &Path) -> io::Result<Kind> {
    let file = File::open(path)?;
    let mut head = [0; LINE];
    let len = read_up_to(&file, &mut head)?;
    let head = &head[..len];
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(interpreter(line).map_or(Kind::Other, Kind::Script));
    }
    if !head.starts_with(b"\x7fELF") || head.len() < 64 {
        return Ok(Kind::Other);
    }
    let own = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };
    if head[4..6] != [2, 1] || u16_at(head, 18) != own {
        return Ok(Kind::Foreign); // not of 64 bits, or not with the lowest byte first
    }
    let (table, size, count) = (u64_at(head, 32), u16_at(head, 54), u16_at(head, 56));
    for entry in 0..u64::from(count) {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, table.wrapping_add(entry * u64::from(size)))?;
        if u32_at(&header, 0) == PT_INTERP {
            let (offset, len) = (u64_at(&header, 8), u64_at(&header, 32));
            let mut loader = vec![0; len.min(LONGEST) as usize];
            file.read_exact_at(&mut loader, offset)?;
            loader.truncate(loader.iter().position(|byte| *byte == 0).unwrap_or(loader.len()));
            return Ok(Kind::Dynamic(OsString::from_vec(loader).into()));
        }
    }
    Ok(Kind::Static)
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
    words.next().map(|word| OsString::from_vec(word.to_vec()).into())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_who_reads_them() {
        let path = |line: &[u8]| interpreter(line);
        assert_eq!(path(b"/bin/sh\nexit"), Some("/bin/sh".into()));
        assert_eq!(path(b" \t/usr/bin/env -S python3 -u\n"), Some("/usr/bin/env".into()));
        assert_eq!(path(b"  \n/bin/sh"), None);
    }

    #[test]
    fn this_test_is_a_program_with_a_loader() {
        let own = std::env::current_exe().expect("it has a file");
        assert!(matches!(kind(&own), Ok(Kind::Dynamic(_))));
        assert_eq!(kind(Path::new("/dev/null")).ok(), Some(Kind::Other));
    }
}
