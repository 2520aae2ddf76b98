//! Buffers that an operation owns while it is in progress.
//!
//! # Safety
//!
//! Clause *idle*: a [`Lent`] value is touched, moves apart, only while no call is in progress that uses
//! its memory. The tasks keep it: they look into it before a call and after its answer.

#![allow(unsafe_code, reason = "says which buffers stay where they are when they are moved")]

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Bytes that an operation can own and write out: `Vec<u8>`, `Box<[u8]>`, `Arc<[u8]>`, `String`,
/// `&'static [u8]` and `&'static str`. Sealed: the bytes must stay where they are when the owner is
/// moved.
///
/// An operation takes the buffer by value and gives it back with its result, because the kernel may
/// still read it when the caller has gone on, and also when the operation has been dropped.
pub trait IoBuf: Fixed + Send + 'static {}

/// A buffer that an operation can own and read into: `Vec<u8>` and `Box<[u8]>`, up to their length (not
/// the capacity). Sealed, as [`IoBuf`].
pub trait IoBufMut: IoBuf + FixedMut {}

/// # Safety
///
/// The bytes stay valid, at the same place and unchanged while the value lives, also when it is moved.
#[expect(unnameable_types, reason = "seals a public trait")]
pub unsafe trait Fixed {
    /// All of them.
    fn bytes(&self) -> &[u8];
}

/// # Safety
///
/// As [`Fixed`], and nobody but the owner of the value reaches the bytes.
#[expect(unnameable_types, reason = "seals a public trait")]
pub unsafe trait FixedMut: Fixed {
    /// All of them.
    fn bytes_mut(&mut self) -> &mut [u8];
}

macro_rules! fixed {
    ($($type:ty => $bytes:expr),* $(,)?) => {$(
        // SAFETY: they are on the heap or static, and reached through a shared reference at most.
        unsafe impl Fixed for $type {
            fn bytes(&self) -> &[u8] {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                bytes(self)
            }
        }
        impl IoBuf for $type {}
    )*};
}

fixed! {
    Vec<u8> => |buf| buf,
    Box<[u8]> => |buf| buf,
    Arc<[u8]> => |buf| buf,
    String => |buf| buf.as_bytes(),
    &'static [u8] => |buf| buf,
    &'static str => |buf| buf.as_bytes(),
}

// SAFETY: on the heap; a vector that is not touched does not grow.
unsafe impl FixedMut for Vec<u8> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: on the heap.
unsafe impl FixedMut for Box<[u8]> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl IoBufMut for Vec<u8> {}
impl IoBufMut for Box<[u8]> {}

/// A value whose memory the kernel uses. Moving it tells the compiler nothing about that memory, as
/// moving a `Box` would: that nobody else has it.
pub(crate) struct Lent<B>(MaybeUninit<B>);

impl<B> Lent<B> {
    pub(crate) fn new(value: B) -> Self {
        Self(MaybeUninit::new(value))
    }

    /// The value back. Clause *idle*.
    pub(crate) fn into_inner(self) -> B {
        let this = ManuallyDrop::new(self);
        // SAFETY: always initialised; `this` is not used or dropped after this.
        unsafe { this.0.assume_init_read() }
    }
}

impl<B> Deref for Lent<B> {
    type Target = B;

    fn deref(&self) -> &B {
        // SAFETY: always initialised.
        unsafe { self.0.assume_init_ref() }
    }
}

impl<B> DerefMut for Lent<B> {
    fn deref_mut(&mut self) -> &mut B {
        // SAFETY: always initialised.
        unsafe { self.0.assume_init_mut() }
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        // SAFETY: always initialised, and dropped once.
        unsafe { self.0.assume_init_drop() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_value_is_dropped_once() {
        let value = Arc::new(());
        drop(Lent::new(Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 1);
        drop(Lent::new(Arc::clone(&value)).into_inner());
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn bytes_stay_where_they_are() {
        fn stays<B: Fixed>(buf: B) {
            let before = buf.bytes().as_ptr_range();
            let moved = Box::new(buf);
            assert_eq!(moved.bytes().as_ptr_range(), before);
        }
        stays(vec![1, 2, 3]);
        stays(Vec::new());
        stays(vec![1, 2, 3].into_boxed_slice());
        stays(Arc::<[u8]>::from([1, 2, 3]));
        stays(String::from("abc"));
        stays("abc");
        stays(&b"abc"[..]);
    }
}
