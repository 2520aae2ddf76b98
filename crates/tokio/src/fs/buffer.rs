//! The bytes between a caller's slice and the kernel: a slice is the caller's again when a poll returns, and
//! what was handed off goes on.

use std::io::{self, IoSlice, Read, Write};

use tokio::io::ReadBuf;

use super::run::again;

/// Bytes that were read and not fetched, or that are to be written.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// All of it is initialised; what is between `start` and `end` counts.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How far the kernel's position is ahead of the caller's, who did not fetch these bytes; forgets
    /// them. For `SeekFrom::Current`.
    pub(super) fn discard_read(&mut self) -> i64 {
        let ahead = (self.end - self.start) as i64;
        self.clear();
        -ahead
    }

    /// Gives the caller what there is.
    pub(super) fn copy_to(&mut self, to: &mut ReadBuf<'_>) {
        let count = (self.end - self.start).min(to.remaining());
        to.put_slice(&self.bytes[self.start..self.start + count]);
        self.start += count;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes the first bytes of the caller's, `most` at most; says how many.
    pub(super) fn copy_from<'a>(
        &mut self,
        slices: impl Iterator<Item = &'a [u8]>,
        most: usize,
    ) -> usize {
        debug_assert!(self.is_empty());
        self.clear();
        for slice in slices {
            self.append(&slice[..slice.len().min(most - self.end)]);
        }
        self.end
    }

    fn append(&mut self, slice: &[u8]) {
        let end = self.end + slice.len();
        match self.bytes.get_mut(self.end..end) {
            Some(place) => place.copy_from_slice(slice),
            None => {
                self.bytes.truncate(self.end);
                self.bytes.extend_from_slice(slice);
            }
        }
        self.end = end;
    }

    /// Reads once, `most` bytes at most.
    pub(super) fn read_from(&mut self, mut from: impl Read, most: usize) -> io::Result<usize> {
        debug_assert!(self.is_empty());
        self.clear();
        if self.bytes.len() < most {
            self.bytes = Vec::new(); // not copied, and fresh memory need not be cleared
            self.bytes = vec![0; most];
        }
        let count = again(|| from.read(&mut self.bytes[..most]))?;
        self.end = count;
        Ok(count)
    }

    /// Writes all of it, and is empty; says how many bytes were written, and what happened then.
    pub(super) fn write_to(&mut self, mut to: impl Write) -> (usize, io::Result<()>) {
        let mut rest = &self.bytes[self.start..self.end];
        let mut written = 0;
        let result = loop {
            if rest.is_empty() {
                break Ok(());
            }
            match again(|| to.write(rest)) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => (rest, written) = (&rest[count..], written + count),
                Err(error) => break Err(error),
            }
        };
        self.clear();
        (written, result)
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// The slices of a vectored write.
pub(super) fn slices<'a>(bufs: &'a [IoSlice<'a>]) -> impl Iterator<Item = &'a [u8]> {
    bufs.iter().map(|buf| &**buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_through_in_order() {
        let mut buffer = Buffer::default();
        for round in 1..4 {
            let slices = [&b"abc"[..], b"", b"defg"];
            assert_eq!(buffer.copy_from(slices.into_iter(), 3 + round), 3 + round);
            let mut written = Vec::new();
            assert_eq!(buffer.write_to(&mut written).0, 3 + round);
            assert_eq!(written, b"abcdefg"[..3 + round]);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn what_is_not_fetched_stays_or_is_discarded() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.read_from(&b"abcdef"[..], 5).unwrap(), 5);
        let mut two = [0; 2];
        buffer.copy_to(&mut ReadBuf::new(&mut two));
        assert_eq!(&two, b"ab");
        assert_eq!(buffer.discard_read(), -3);
        assert!(buffer.is_empty());
    }

    /// Writes that are cut short, interrupted and refused.
    struct Odd(Vec<u8>);

    impl Write for Odd {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.len() {
                0 => {
                    self.0.push(bytes[0]);
                    Err(io::ErrorKind::Interrupted.into())
                }
                4.. => Err(io::ErrorKind::StorageFull.into()),
                _ => {
                    self.0.push(bytes[0]);
                    Ok(1)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn write_says_how_far_it_came() {
        let mut buffer = Buffer::default();
        buffer.copy_from([&b"abcdef"[..]].into_iter(), 6);
        let (written, result) = buffer.write_to(Odd(Vec::new()));
        assert_eq!((written, result.unwrap_err().kind()), (3, io::ErrorKind::StorageFull));
    }
}
