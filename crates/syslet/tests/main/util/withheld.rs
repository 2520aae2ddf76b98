//! Memory whose pages come when they are told to.

#![allow(unsafe_code, reason = "maps memory and asks userfaultfd for it")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::skip;

/// Of the smallest mapping.
pub(crate) const PAGE: usize = 4096;
/// linux/userfaultfd.h.
const UFFD_API: u64 = 0xAA;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_ZEROPAGE: u64 = 0xc020_aa04;
const UFFDIO_COPY: u64 = 0xc028_aa03;
const MISSING: u64 = 1;

/// Pages that are not there until they are let in: who touches one sleeps. They stay until the process ends.
#[derive(Debug)]
pub(crate) struct Withheld {
    faults: OwnedFd,
    at: usize,
    pages: usize,
}

impl Withheld {
    /// None, with a skip line, where that is not allowed.
    pub(crate) fn new(pages: usize) -> Option<Self> {
        // SAFETY: numbers.
        let faults = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) } as i32;
        if faults < 0 {
            skip("userfaultfd is not allowed here");
            return None;
        }
        // SAFETY: just made.
        let faults = unsafe { OwnedFd::from_raw_fd(faults) };
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a fresh mapping.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, prot, flags, -1, 0) } as usize;
        let withheld = Self { faults, at, pages };
        withheld.ask(UFFDIO_API, &mut [UFFD_API, 0, 0, 0]);
        withheld.ask(UFFDIO_REGISTER, &mut [at as u64, (pages * PAGE) as u64, MISSING, 0]);
        Some(withheld)
    }

    /// Where a page is.
    pub(crate) fn address(&self, page: usize) -> usize {
        self.at + page * PAGE
    }

    /// Returns when somebody sleeps on each of these.
    ///
    /// Not for two at a time: what is told of is told once.
    pub(crate) fn await_touched(&self, pages: std::ops::Range<usize>) {
        let mut left: Vec<_> = pages.map(|page| self.address(page)).collect();
        while !left.is_empty() {
            let touched = self.address(self.next_touched());
            left.retain(|page| *page != touched);
        }
    }

    /// A page on which somebody sleeps: each time that somebody begins to.
    pub(crate) fn next_touched(&self) -> usize {
        let mut message = [0_u64; 4]; // struct uffd_msg: the third word is the address
        let (to, size) = (message.as_mut_ptr().cast(), size_of_val(&message));
        // SAFETY: live, of the structure's size.
        let got = unsafe { libc::read(self.faults.as_raw_fd(), to, size) };
        assert_eq!(got, size as isize, "{:?}", std::io::Error::last_os_error());
        (message[2] as usize - self.at) / PAGE
    }

    /// Lets one of them in, with these bytes.
    pub(crate) fn let_in_with(&self, page: usize, bytes: &[u8; PAGE]) {
        let (to, from) = (self.address(page) as u64, bytes.as_ptr() as u64);
        self.ask(UFFDIO_COPY, &mut [to, from, PAGE as u64, 0, 0]);
    }

    fn ask<const N: usize>(&self, request: u64, argument: &mut [u64; N]) {
        // SAFETY: live, of the structure's size.
        let answer =
            unsafe { libc::ioctl(self.faults.as_raw_fd(), request, argument.as_mut_ptr()) };
        assert_eq!(answer, 0, "{:?}", std::io::Error::last_os_error());
    }

    /// Lets all of them in.
    pub(crate) fn let_in(&self) {
        let all = (self.pages * PAGE) as u64;
        self.ask(UFFDIO_ZEROPAGE, &mut [self.at as u64, all, 0, 0]);
    }
}
