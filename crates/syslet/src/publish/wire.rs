//! Values as 64-bit words, and back: what is written into shared memory, which others may have changed.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// Words that are read from the front.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u64]);

impl<'a> Reader<'a> {
    pub(super) fn new(words: &'a [u64]) -> Self {
        Self(words)
    }

    /// Words left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u64]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }
}

/// What can be written as words. Every value takes one at least.
pub(super) trait Wire: Sized {
    fn put(&self, to: &mut Vec<u64>);

    /// `None` if the words are no such value.
    fn get(from: &mut Reader<'_>) -> Option<Self>;
}

/// Derives [`Wire`] for a structure, whose fields must all be named.
macro_rules! wired {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl Wire for $type {
            fn put(&self, to: &mut Vec<u64>) {
                let Self { $($field),* } = self;
                $($field.put(to);)*
            }

            fn get(from: &mut Reader<'_>) -> Option<Self> {
                Some(Self { $($field: Wire::get(from)?),* })
            }
        }
    };
}
pub(super) use wired;

impl Wire for u64 {
    fn put(&self, to: &mut Vec<u64>) {
        to.push(*self);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        from.take(1).map(|words| words[0])
    }
}

/// Numbers that are no wider.
macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Wire for $type {
            fn put(&self, to: &mut Vec<u64>) {
                to.push(*self as u64);
            }

            fn get(from: &mut Reader<'_>) -> Option<Self> {
                let word = u64::get(from)?;
                let value = word as Self;
                (value as u64 == word).then_some(value)
            }
        })*
    };
}
numbers!(u32, i32, usize);

impl Wire for char {
    fn put(&self, to: &mut Vec<u64>) {
        u32::from(*self).put(to);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Self::from_u32(u32::get(from)?)
    }
}

impl Wire for Duration {
    fn put(&self, to: &mut Vec<u64>) {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX).put(to);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        u64::get(from).map(Self::from_nanos)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, to: &mut Vec<u64>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::get(from)?, B::get(from)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, to: &mut Vec<u64>) {
        u64::from(self.is_some()).put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        match u64::get(from)? {
            0 => Some(None),
            1 => T::get(from).map(Some),
            _ => None,
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, to: &mut Vec<u64>) {
        self.len().put(to);
        self.iter().for_each(|item| item.put(to));
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let len = usize::get(from)?;
        // An item takes a word at least: no more is asked of the allocator than can be there.
        if len > from.left() {
            return None;
        }
        (0..len).map(|_| T::get(from)).collect()
    }
}

impl<const N: usize> Wire for [u64; N] {
    fn put(&self, to: &mut Vec<u64>) {
        to.extend_from_slice(self);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        from.take(N)?.try_into().ok()
    }
}

impl Wire for OsString {
    fn put(&self, to: &mut Vec<u64>) {
        let bytes = self.as_bytes();
        bytes.len().put(to);
        to.extend(bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        }));
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let len = usize::get(from)?;
        let words = from.take(len.div_ceil(8))?;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(len);
        Some(Self::from_vec(bytes))
    }
}

impl Wire for String {
    fn put(&self, to: &mut Vec<u64>) {
        OsString::from(self).put(to);
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        OsString::get(from)?.into_string().ok()
    }
}
