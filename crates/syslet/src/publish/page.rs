//! The shared memory: who asks, who answers, and the answer.
//!
//! # Protocol
//!
//! A reader adds 1 to `asked` and wakes who sleeps on it. The publisher reads `asked`, looks, writes what it saw
//! between two steps of `sequence`, and sets `answered` to what it has read. So whoever has asked by then gets
//! an answer that was seen after it asked, and readers owe each other nothing; one that dies harms none. An
//! answer that is overwritten while it is copied shows by `sequence`, odd or changed, and is copied again.
//!
//! # Safety
//!
//! Clause *page*: a [`Page`] is a shared mapping of its size of a memfd of that size, sealed so that it stays so.
//! All words are atomic, and any value is allowed in each: other processes can make the answers wrong, and
//! nothing else.

#![allow(unsafe_code, reason = "maps memory; see the header")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;

use syslet_sys::futex;
use syslet_sys::uapi::Timespec;

use super::{LAYOUT, MEMORY_NAME};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Words of the longest answer: as many guests and crew threads as there can be, without paths. What was
/// never written takes no memory.
pub(super) const WORDS: usize = (4 << 20) / 8;

/// Seals without which the memory is not used: its size is for good.
const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Page {
    /// Questions so far. The publisher sleeps on it.
    asked: AtomicU32,
    /// Questions answered so far. Readers sleep on it.
    answered: AtomicU32,
    /// Odd while an answer is being written.
    sequence: AtomicU64,
    /// Words of the answer.
    len: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// Bytes of the memory.
const SIZE: usize = size_of::<Page>();

/// Makes the memory: a memfd of the right name, size and seals.
pub(super) fn new_memory() -> io::Result<File> {
    let name = format!("{MEMORY_NAME}{LAYOUT}\0");
    let make = |flags: u32| {
        // SAFETY: a string that ends with NUL, as written above.
        unsafe { libc::memfd_create(name.as_ptr().cast(), flags) }
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let mut fd = make(flags | libc::MFD_NOEXEC_SEAL);
    if fd < 0 {
        fd = make(flags); // before Linux 6.3
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, and nobody else's.
    let memory = unsafe { File::from_raw_fd(fd) };
    memory.set_len(SIZE as u64)?;
    // SAFETY: reads and writes no memory.
    let sealed = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, SEALS) };
    if sealed < 0 { Err(io::Error::last_os_error()) } else { Ok(memory) }
}

/// A mapping of a [`Page`].
#[derive(Debug)]
pub(super) struct Mapped(NonNull<Page>);

// SAFETY: it is atomic words, which live as long as this does.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps a memfd, if it is one that can be used.
    pub(super) fn new(memory: &File) -> io::Result<Self> {
        // SAFETY: reads and writes no memory.
        let seals = unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & SEALS != SEALS || memory.metadata()?.len() != SIZE as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not what is published"));
        }
        let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, memory.as_raw_fd());
        let nowhere = std::ptr::null_mut();
        // SAFETY: new memory, wherever there is room.
        let at = unsafe { libc::mmap(nowhere, SIZE, protection, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Children have no part of it.
    pub(super) fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the mapping is ours, and stays.
        let answer = unsafe { libc::madvise(self.0.as_ptr().cast(), SIZE, libc::MADV_DONTFORK) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Deref for Mapped {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: clause *page*.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and not used any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

impl Page {
    /// By the publisher: waits for a question; returns how many there were.
    ///
    /// **Blocking**: as said.
    pub(super) fn await_question(&self) -> u32 {
        loop {
            let asked = self.asked.load(Ordering::Acquire);
            if asked != self.answered.load(Ordering::Relaxed) {
                return asked;
            }
            futex::wait_shared(&self.asked, asked, None);
        }
    }

    /// By the publisher: answers questions up to `asked`. False: the words are too many, nothing was done.
    pub(super) fn answer(&self, asked: u32, words: &[u64]) -> bool {
        if words.len() > WORDS {
            return false;
        }
        let sequence = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence.store(sequence, Ordering::Relaxed);
        // Release: who sees a word of this answer sees the odd number; pairs with the fence in `copy`.
        fence(Ordering::Release);
        self.len.store(words.len() as u64, Ordering::Relaxed);
        for (to, from) in self.words.iter().zip(words) {
            to.store(*from, Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `copy`.
        self.sequence.store(sequence.wrapping_add(1), Ordering::Release);
        // Release: pairs with the acquire in `is_answered`.
        self.answered.store(asked, Ordering::Release);
        futex::wake_shared(&self.answered, i32::MAX as u32);
        true
    }

    /// By a reader: asks; returns the number of its question.
    pub(super) fn ask(&self) -> u32 {
        let question = self.asked.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        futex::wake_shared(&self.asked, 1);
        question
    }

    /// By a reader: whether `question` is answered.
    pub(super) fn is_answered(&self, question: u32) -> bool {
        self.answered.load(Ordering::Acquire).wrapping_sub(question) <= u32::MAX / 2
    }

    /// By a reader: sleeps until there is another answer, for at most `time`.
    ///
    /// **Blocking**: as said.
    pub(super) fn await_answer(&self, question: u32, time: &Timespec) {
        let answered = self.answered.load(Ordering::Acquire);
        if answered.wrapping_sub(question) > u32::MAX / 2 {
            futex::wait_shared(&self.answered, answered, Some(time));
        }
    }

    /// By a reader: the answer; `None` if it was being written.
    pub(super) fn copy(&self) -> Option<Vec<u64>> {
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence & 1 != 0 {
            return None;
        }
        let len = (self.len.load(Ordering::Relaxed) as usize).min(WORDS);
        let words = self.words[..len].iter().map(|word| word.load(Ordering::Relaxed)).collect();
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == sequence).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn page() -> Mapped {
        Mapped::new(&new_memory().expect("memory can be had")).expect("it can be mapped")
    }

    #[test]
    fn an_answer_is_whole_and_not_older_than_its_question() {
        const QUESTIONS: u64 = 2_000;
        let page = page();
        let (page, asked) = (&page, &AtomicU64::new(0));
        let reader = || {
            for _ in 0..QUESTIONS {
                let before = asked.load(Ordering::SeqCst);
                let question = page.ask();
                let words = loop {
                    if page.is_answered(question)
                        && let Some(words) = page.copy()
                    {
                        break words;
                    }
                    page.await_answer(question, &Timespec { sec: 0, nsec: 1_000_000 });
                };
                // All words of an answer are its number, of which there are one hundred or two.
                let first = words[0];
                assert!(words.iter().all(|word| *word == first), "parts of two answers");
                assert_eq!(words.len() as u64, 100 + first % 100, "the length of another answer");
                assert!(first > before, "an answer from before the question");
            }
        };
        thread::scope(|scope| {
            let readers = [scope.spawn(reader), scope.spawn(reader)];
            let end = Instant::now() + Duration::from_secs(60);
            while !readers.iter().all(|reader| reader.is_finished()) && Instant::now() < end {
                let question = page.asked.load(Ordering::Acquire);
                // Answers come unasked too: they are what a late reader finds being written.
                let number = asked.load(Ordering::SeqCst) + 1;
                assert!(page.answer(question, &vec![number; 100 + (number % 100) as usize]));
                asked.store(number, Ordering::SeqCst);
            }
        });
    }

    #[test]
    fn a_memory_that_may_be_cut_short_is_not_used() {
        let memory = new_memory().expect("memory can be had");
        assert!(memory.set_len(0).is_err(), "it is sealed");
        let path = std::env::temp_dir().join(format!("syslet-page-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("a file");
        std::fs::remove_file(&path).expect("it is ours");
        file.set_len(SIZE as u64).expect("it may be as long");
        let error = Mapped::new(&file).expect_err("it has no seals");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn questions_are_counted_round() {
        let page = page();
        page.asked.store(u32::MAX, Ordering::Relaxed);
        page.answered.store(u32::MAX, Ordering::Relaxed);
        let question = page.ask();
        assert_eq!((question, page.is_answered(question)), (0, false));
        assert!(page.answer(page.await_question(), &[1, 2]));
        assert_eq!((page.is_answered(question), page.copy()), (true, Some(vec![1, 2])));
        assert!(!page.answer(0, &vec![0; WORDS + 1]));
    }
}
