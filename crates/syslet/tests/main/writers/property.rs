//! Any interleaving of writes of two files, each by two descriptors, under a bound on writers per file.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{Call, Limits, Pending, Ret, Submitted};

use crate::util::calls::{go, memory_file, open_descriptors, try_go};
use crate::util::child::Child;
use crate::util::withheld::{PAGE, Withheld};
use crate::util::{Property, attached, eventually, late};

/// What is done, and to which of the writes made so far.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A write by this descriptor.
    Write(usize),
    /// The same, if there is room for one more.
    TryWrite(usize),
    /// So many writes of a file may be away from now on; 0: as many as ever.
    SetLimits(usize),
    /// What it writes is there from now on.
    LetIn(usize),
    Cancel(usize),
    Drop(usize),
    /// Waits for the writes of this file, if they can end.
    Wait(usize),
}

/// Most steps, and so most pages.
const MOST: usize = 40;
/// What is written.
static BYTES: [u8; PAGE] = [42; PAGE];

/// Two files, by two descriptors each.
struct Files([OwnedFd; 4]);

impl Files {
    fn new() -> Self {
        let [one, other] = [memory_file(), memory_file()];
        let again = |file: &OwnedFd| -> OwnedFd {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            File::options().read(true).write(true).open(path).expect("it is there").into()
        };
        let second = [&one, &other].map(again);
        let [one_again, other_again] = second;
        Self([one, other, one_again, other_again])
    }

    /// True if a page of the file has been written.
    fn has(&self, file: usize, page: usize) -> bool {
        let file = File::from(self.0[file].try_clone().expect("a number is free"));
        let mut found = [0; PAGE];
        let read = file.read_at(&mut found, (page * PAGE) as u64).expect("it can be read");
        assert!(found == BYTES || found == [0; PAGE], "a part was written, or something else");
        read == PAGE && found == BYTES
    }
}

/// An accepted write of one page, which is withheld.
struct Write {
    file: usize,
    page: usize,
    handle: Option<Pending>,
    answer: Option<Ret>,
    let_in: bool,
    cancelled: bool,
}

struct World {
    files: Files,
    pages: Withheld,
    writes: Vec<Write>,
    /// Pages that were given out.
    given: usize,
    /// Pages of writes that were handed back, with their files.
    handed_back: Vec<(usize, usize)>,
    limit: usize,
}

impl World {
    fn write(&mut self, descriptor: usize, or_busy: bool) {
        let (file, page) = (descriptor % 2, self.given);
        self.given += 1;
        let number = self.files.0[descriptor].as_raw_fd() as usize;
        let args = [number, self.pages.address(page), PAGE, page * PAGE];
        let call = Call::new(libc::SYS_pwrite64 as usize, args);
        let submitted = if or_busy { self.try_write(file, call) } else { Some(go(call)) };
        let (handle, answer) = match submitted {
            None => return self.handed_back.push((file, page)),
            Some(Submitted::Pending(handle)) => (Some(handle), None),
            Some(Submitted::Done(ret)) => panic!("its page is withheld, and it says {ret:?}"),
        };
        self.writes.push(Write { file, page, handle, answer, let_in: false, cancelled: false });
    }

    /// Handed back only if as many writes of the file are under way as may be.
    fn try_write(&self, file: usize, call: Call) -> Option<Submitted> {
        let under_way = |one: &&Write| one.file == file && one.answer.is_none();
        let room = self.writes.iter().filter(under_way).count() < self.limit;
        let mut made = None;
        // A write has its answer just before its place is free.
        let decided = eventually(|| match try_go(call) {
            Ok(submitted) => made.replace(submitted).is_none(),
            Err(error) => {
                assert!(error.is_busy(), "{error:?}");
                assert_eq!(error.into_inner(), call);
                !room
            }
        });
        assert!(decided, "there is room, and it is handed back");
        made
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(descriptor) => self.write(descriptor, false),
            Step::TryWrite(descriptor) => self.write(descriptor, true),
            Step::SetLimits(writers) => self.limit(writers),
            Step::LetIn(at) => self.on(at, Write::let_in),
            Step::Cancel(at) => self.on(at, |write, _| write.cancel()),
            Step::Drop(at) => self.on(at, |write, _| write.handle = None),
            Step::Wait(at) => {
                let file = at % 2;
                let writes = self.writes.iter_mut().filter(|write| write.file == file);
                // Those that are queued go on when others have ended.
                let all: Vec<_> = writes.collect();
                if all.iter().all(|write| write.let_in) {
                    all.into_iter().for_each(Write::wait);
                }
            }
        }
    }

    fn limit(&mut self, writers: usize) {
        let limits = Limits::new();
        let limits = if writers == 0 { limits } else { limits.writers_per_descriptor(writers) };
        syslet::set_limits(limits);
        self.limit = if writers == 0 { usize::MAX } else { writers };
    }

    fn on(&mut self, at: usize, f: impl FnOnce(&mut Write, &Withheld)) {
        let count = self.writes.len().max(1);
        if let Some(write) = self.writes.get_mut(at % count) {
            f(write, &self.pages);
        }
    }

    /// Ends everything, and checks that each write has been made once, or not.
    fn settle(mut self) {
        for write in &mut self.writes {
            write.let_in(&self.pages);
        }
        self.writes.iter_mut().for_each(Write::wait);
        for Write { file, page, answer, cancelled, .. } in self.writes {
            match answer {
                Some(ret) if ret.is_cancelled() => {
                    assert!(cancelled, "nobody has cancelled it");
                    assert!(!self.files.has(file, page), "cancelled, but it has written");
                }
                Some(ret) => {
                    assert_eq!(ret.raw(), PAGE as isize);
                    assert!(self.files.has(file, page), "it says so, but has not written");
                }
                None if cancelled => {}
                None => assert!(eventually(|| self.files.has(file, page)), "a write was lost"),
            }
        }
        assert!(eventually(|| syslet::stats().outstanding == 0));
        for (file, page) in self.handed_back {
            assert!(!self.files.has(file, page), "handed back, but it has written");
        }
    }
}

impl Write {
    fn let_in(&mut self, pages: &Withheld) {
        if !std::mem::replace(&mut self.let_in, true) {
            pages.let_in_with(self.page, &BYTES);
        }
    }

    fn cancel(&mut self) {
        if let Some(handle) = &self.handle {
            let _ = handle.cancel();
            self.cancelled = true;
        }
    }

    fn wait(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.answer = Some(handle.wait_deadline(late()).expect("a write was lost"));
        }
    }
}

fn play(pages: Withheld, steps: &[Step]) {
    let (files, writes, handed_back) = (Files::new(), Vec::new(), Vec::new());
    let mut world = World { files, pages, writes, given: 0, handed_back, limit: 0 };
    world.limit(0);
    steps.iter().for_each(|step| world.step(*step));
    world.settle();
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, descriptor) = (|| 0usize..16, || 0usize..4);
    let step = prop_oneof![
        4 => descriptor().prop_map(Step::Write),
        3 => descriptor().prop_map(Step::TryWrite),
        2 => (0usize..4).prop_map(Step::SetLimits),
        4 => at().prop_map(Step::LetIn),
        2 => at().prop_map(Step::Cancel),
        1 => at().prop_map(Step::Drop),
        1 => at().prop_map(Step::Wait),
    ];
    vec(step, 1..MOST)
}

#[test]
fn every_accepted_write_is_made_once_under_any_bound() {
    let path = "writers::property::every_accepted_write_is_made_once_under_any_bound";
    let ended = Child::new().run(path, || {
        let Some(pages) = Withheld::new(MOST) else { return };
        attached(|| play(pages, &[Step::Write(0), Step::Write(2), Step::LetIn(0), Step::LetIn(1)]));
        let before = open_descriptors();
        let config = ProptestConfig { cases: 80, failure_persistence: None, ..Default::default() };
        let property = Property::tried();
        let outcome = TestRunner::new(config).run(&steps(), |steps| {
            let pages = Withheld::new(MOST).expect("it was to be had before");
            attached(move || play(pages, &steps));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(open_descriptors(), before, "descriptors are left");
        property.held();
    });
    ended.expect("this is the parent").expect_done();
}
