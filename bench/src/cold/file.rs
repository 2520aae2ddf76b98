//! The file, its cache, and where reads go.
//!
//! # Safety
//!
//! Two calls whose arguments are numbers.

#![allow(unsafe_code, reason = "posix_fadvise(2) has no safe form")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::BLOCK;
use crate::dice::Dice;
use crate::error::Trouble;

/// A file that goes when this is dropped, with its blocks in random order.
#[derive(Debug)]
pub(super) struct ColdFile {
    file: File,
    offsets: Vec<u64>,
    /// The next of them.
    next: AtomicUsize,
}

impl ColdFile {
    /// Makes it in `dir`, full of numbers that differ: holes would not be read.
    pub(super) fn make(dir: &Path, bytes: usize) -> Result<Self, Trouble> {
        let path = dir.join(format!("syslet-bench-cold-{}", std::process::id()));
        let file = create(&path, bytes).map_err(Trouble::io("making the file"));
        let _ = fs::remove_file(&path); // nobody else needs its name
        let file =
            Self { file: file?, offsets: shuffled(bytes / BLOCK), next: AtomicUsize::new(0) };
        file.advise(libc::POSIX_FADV_RANDOM)?;
        Ok(file)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub(super) fn for_thread(&self) -> Result<File, Trouble> {
        self.file.try_clone().map_err(Trouble::io("duplicating a descriptor"))
    }

    /// The next places: none comes twice before all have come.
    pub(super) fn some_offsets(&self, count: usize) -> Vec<u64> {
        let first = self.next.fetch_add(count, Ordering::Relaxed) % self.offsets.len();
        self.offsets.iter().cycle().skip(first).take(count).copied().collect()
    }

    /// Empties the page cache of the file, which was written to the disk.
    pub(super) fn leave_cache(&self) -> Result<(), Trouble> {
        self.advise(libc::POSIX_FADV_DONTNEED)
    }

    fn advise(&self, advice: i32) -> Result<(), Trouble> {
        // SAFETY: numbers.
        match unsafe { libc::posix_fadvise(self.fd(), 0, 0, advice) } {
            0 => Ok(()),
            error => Err(Trouble::Io("posix_fadvise", io::Error::from_raw_os_error(error))),
        }
    }
}

fn create(path: &Path, bytes: usize) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    let mut dice = Dice(1);
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..bytes / chunk.len() {
        chunk.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&dice.roll().to_ne_bytes()));
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// The offsets of all blocks, in random order.
fn shuffled(blocks: usize) -> Vec<u64> {
    let mut offsets: Vec<u64> = (0..blocks as u64).map(|block| block * BLOCK as u64).collect();
    Dice(2).shuffle(&mut offsets);
    offsets
}

/// Bytes that this process has had read from disks: proc_pid_io(5).
pub(super) fn bytes_read() -> Result<u64, Trouble> {
    bytes_read_by(std::process::id())
}

/// The same of another process.
pub(crate) fn bytes_read_by(process: u32) -> Result<u64, Trouble> {
    let text = fs::read_to_string(format!("/proc/{process}/io"));
    let text = text.map_err(Trouble::io("reading /proc/PID/io"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("read_bytes:")?.trim().parse().ok());
    value.ok_or(Trouble::Io("reading /proc/PID/io", io::ErrorKind::InvalidData.into()))
}

/// Memory for reads: leaked, so that it is there whatever becomes of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffers(usize);

impl Buffers {
    pub(super) fn leak(count: usize) -> Self {
        Self(Box::leak(vec![0u8; count * BLOCK].into_boxed_slice()).as_mut_ptr() as usize)
    }

    /// Where read number `slot` goes.
    pub(super) fn address(self, slot: usize) -> usize {
        self.0 + slot * BLOCK
    }
}

/// What is wrong with an answer of a read, if so.
pub(super) fn check(answer: isize) -> Result<(), Trouble> {
    match answer {
        answer if answer == BLOCK as isize => Ok(()),
        answer if answer < 0 => {
            Err(Trouble::Work("cold", io::Error::from_raw_os_error(-answer as i32)))
        }
        _ => Err(Trouble::Work("cold", io::ErrorKind::UnexpectedEof.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, shuffled};

    #[test]
    fn every_block_comes_once() {
        let mut offsets = shuffled(1000);
        assert!(!offsets.is_sorted());
        offsets.sort_unstable();
        let all: Vec<u64> = (0..1000).map(|block| block * BLOCK as u64).collect();
        assert_eq!(offsets, all);
    }
}
