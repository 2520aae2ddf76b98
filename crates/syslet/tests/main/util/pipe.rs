//! Pipes: the way to make a call sleep and to end its sleep, exactly.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// A pipe whose ends may be given away.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    reader: Arc<PipeReader>,
    writer: Arc<PipeWriter>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        let (reader, writer) = pipe().expect("a pipe can be made");
        Self { reader: Arc::new(reader), writer: Arc::new(writer) }
    }

    /// Descriptor of the read end.
    pub(crate) fn read_end(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Descriptor of the write end.
    pub(crate) fn write_end(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// Puts one byte in.
    pub(crate) fn put(&self, byte: u8) {
        (&*self.writer).write_all(&[byte]).expect("a byte can be written");
    }

    /// Takes one byte out, waiting for it.
    pub(crate) fn get(&self) -> u8 {
        let mut byte = [0];
        (&*self.reader).read_exact(&mut byte).expect("a byte can be read");
        byte[0]
    }

    /// Bytes in it.
    pub(crate) fn filled(&self) -> usize {
        super::calls::readable_bytes(self.read_end())
    }

    /// Fills it up; returns how many bytes that took.
    pub(crate) fn fill(&self) -> usize {
        super::calls::set_nonblocking(self.write_end(), true);
        let mut written = 0;
        while let Ok(n) = (&*self.writer).write(&[0; 4096]) {
            written += n;
        }
        super::calls::set_nonblocking(self.write_end(), false);
        written
    }
}

/// An anonymous file with `bytes` in it.
pub(crate) fn file_with(bytes: &[u8]) -> File {
    let mut file = File::from(super::calls::memory_file());
    file.write_all(bytes).expect("a file in memory can be written");
    file
}
