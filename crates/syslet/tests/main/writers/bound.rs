//! Many writers of one descriptor do not take a thread each.

use std::os::fd::AsRawFd;

use syslet::{Call, CancelOutcome, stats};

use crate::util::calls::{checked, memory_file, pending, try_go};
use crate::util::child::Child;
use crate::util::withheld::{PAGE, Withheld};
use crate::util::{attached, eventually};

#[test]
fn writers_of_a_descriptor_are_bounded() {
    let path = "writers::bound::writers_of_a_descriptor_are_bounded";
    let ended = Child::new().run(path, || {
        let Some(pages) = Withheld::new(20) else { return };
        attached(move || {
            syslet::set_limits(syslet::Limits::new().writers_per_descriptor(3));
            let file = memory_file();
            let write = |page: usize| {
                let number = file.as_raw_fd() as usize;
                let from = pages.address(page);
                Call::new(libc::SYS_pwrite64 as usize, [number, from, PAGE, page * PAGE])
            };
            let mut writes: Vec<_> =
                (0..3).map(|page| pending(checked(write(page)).expect("it may be made"))).collect();
            assert!(eventually(|| try_go(write(3)).is_err_and(|error| error.is_busy())));
            let crew = stats().crew;
            writes.extend((3..20).map(|page| pending(checked(write(page)).expect("queued"))));
            assert!(stats().crew <= crew.max(8), "{} threads", stats().crew);
            // A wider bound lets those in who wait.
            assert!(eventually(|| stats().outstanding == 3));
            syslet::set_limits(syslet::Limits::new().writers_per_descriptor(5));
            assert!(eventually(|| stats().outstanding == 5), "{} go on", stats().outstanding);
            let cancelled = writes.pop().expect("there are twenty");
            assert_eq!(cancelled.cancel(), CancelOutcome::NotBegun);
            assert!(cancelled.is_done() && cancelled.wait().is_cancelled());
            pages.let_in();
            for write in writes {
                assert_eq!(write.wait().raw(), PAGE as isize);
            }
            // And the count is right again.
            for page in 0..8 {
                assert_eq!(
                    checked(write(page)).expect("there is room").wait().raw(),
                    PAGE as isize
                );
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn writers_of_a_file_are_bounded_by_whichever_descriptor() {
    let path = "writers::bound::writers_of_a_file_are_bounded_by_whichever_descriptor";
    let ended = Child::new().run(path, || {
        const BOUND: usize = 3;
        let Some(pages) = Withheld::new(20) else { return };
        attached(move || {
            syslet::set_limits(syslet::Limits::new().writers_per_descriptor(BOUND));
            let file = memory_file();
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let again = std::fs::File::options().write(true).open(path).expect("it is there");
            let other = memory_file();
            let write = |number: i32, page: usize| {
                let from = pages.address(page);
                let args = [number as usize, from, PAGE, page * PAGE];
                Call::new(libc::SYS_pwrite64 as usize, args)
            };
            let mut writes = Vec::new();
            // As many as there is room for, by one and by the other.
            let mut page = 0..20;
            let mut fill = |number: i32| {
                let before = writes.len();
                assert!(eventually(|| {
                    match try_go(write(number, page.next().expect("there are pages"))) {
                        Ok(submitted) => writes.push(pending(submitted)),
                        Err(busy) => return busy.is_busy(),
                    }
                    false
                }));
                writes.len() - before
            };
            let away = [file.as_raw_fd(), again.as_raw_fd(), other.as_raw_fd()].map(&mut fill);
            assert_eq!(away, [BOUND, 0, BOUND], "writers of a file, the same file, another");
            pages.let_in();
            for write in writes {
                assert_eq!(write.wait().raw(), PAGE as isize);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
