//! What is dropped or cancelled early keeps its memory and gives its descriptors back.

use std::io::{PipeWriter, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use syslet::CancelOutcome;
use syslet::fs::{self, File, OpenOptions};

use crate::util::calls::{open_descriptors, readable_bytes};
use crate::util::child::Child;
use crate::util::temp::Folder;
use crate::util::{attach, attached, eventually};

/// Bytes that a dropped read has asked for: a size that an allocator gives out again at once.
const SIZE: usize = 4096;

fn reader() -> (File, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    (File::from(OwnedFd::from(reader)), writer)
}

/// Drops a read in flight, puts canaries where its buffer was if that was freed, and lets the read land.
fn drop_and_land(round: u8) {
    let (file, writer) = reader();
    let mut reading = file.read(vec![0; SIZE]);
    assert!(!reading.is_done());
    drop(reading);
    let mut canaries: Vec<Vec<u8>> = (0..8).map(|_| vec![round; SIZE]).collect();
    (&writer).write_all(&[!round; SIZE]).expect("there is room");
    let taken = eventually(|| readable_bytes(file.as_raw_fd()) == 0);
    assert!(taken, "the dropped read goes on");
    // The copy is over when the read's thread has let go of the file.
    let mut file = Some(file);
    assert!(eventually(|| match file.take().map(File::try_into_std) {
        Some(Ok(_)) => true,
        Some(Err(shared)) => {
            file = Some(shared);
            false
        }
        None => false,
    }));
    for canary in &mut canaries {
        assert!(canary.iter().all(|&byte| byte == round), "the kernel wrote into freed memory");
    }
}

#[test]
fn dropped_read_keeps_its_buffer_until_it_has_landed() {
    attached(|| (0..100).for_each(drop_and_land));
}

#[test]
fn dropped_reads_of_many_threads_keep_their_buffers() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(|| {
                let guard = attach();
                (0..30).for_each(drop_and_land);
                drop(guard);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no canary was hurt"));
}

#[test]
fn dropped_write_is_made() {
    attached(|| {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let writer = File::from(OwnedFd::from(writer));
        let mut writing = writer.write(vec![7; 200_000]);
        assert!(!writing.is_done());
        drop(writing);
        drop(writer);
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut &reader, &mut all).expect("it can be read");
        assert_eq!(all, vec![7; 200_000]);
    });
}

#[test]
fn descriptor_of_a_dropped_open_is_closed() {
    let path = "typed_fs::dropped::descriptor_of_a_dropped_open_is_closed";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let fifo = folder.fifo("fifo");
            // Once before, so that what is opened but once is open.
            open_dropped(&fifo);
            let before = open_descriptors();
            (0..50).for_each(|_| open_dropped(&fifo));
            assert!(eventually(|| open_descriptors() == before), "descriptors are left");
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Opens a FIFO, gives up, and opens its other end then.
fn open_dropped(fifo: &std::path::Path) {
    let mut opening = File::open(fifo);
    assert!(!opening.is_done());
    drop(opening);
    // Returns when the reader has come, in which nobody has part any more.
    let writer = std::fs::File::options().write(true).open(fifo).expect("a reader comes");
    drop(writer);
    assert!(eventually(|| syslet::stats().outstanding == 0));
}

#[test]
fn cancelled_open_ends_and_opens_nothing() {
    let path = "typed_fs::dropped::cancelled_open_ends_and_opens_nothing";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let fifo = folder.fifo("fifo");
            let before = open_descriptors();
            for _ in 0..50 {
                let mut opening = File::open(&fifo);
                assert!(!opening.is_done());
                assert_ne!(opening.cancel(), CancelOutcome::TooLate);
                let error = opening.wait().expect_err("it was cancelled");
                assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            }
            // Nobody reads: a writer that does not wait is refused.
            let mut options = OpenOptions::new();
            let refused = options.write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).wait();
            assert_eq!(refused.expect_err("no reader").raw_os_error(), Some(libc::ENXIO));
            assert_eq!(open_descriptors(), before);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn cancelled_read_gives_the_buffer_back_and_takes_nothing() {
    attached(|| {
        for _ in 0..100 {
            let (file, writer) = reader();
            let reading = file.read(vec![5; 10]);
            let _ = reading.cancel();
            let (error, buf) = reading.wait();
            assert_eq!(error.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
            assert_eq!(buf, [5; 10]);
            (&writer).write_all(b"x").expect("there is room");
            assert_eq!(readable_bytes(file.as_raw_fd()), 1);
        }
    });
}

#[test]
fn cancel_of_what_is_over_is_too_late() {
    attached(|| {
        let file = File::open("/dev/null").wait().expect("it is there");
        let mut reading = file.read(vec![0; 1]);
        assert!(eventually(|| reading.is_done()));
        assert_eq!(reading.cancel(), CancelOutcome::TooLate);
        assert_eq!(reading.wait().0.expect("the end"), 0);
        let mut metadata = fs::metadata("/dev/null");
        assert!(eventually(|| metadata.is_done()));
        assert_eq!(metadata.cancel(), CancelOutcome::TooLate);
        assert!(metadata.wait().is_ok());
    });
}

#[test]
fn leaked_operation_does_no_harm() {
    attached(|| {
        let (file, writer) = reader();
        let mut reading = file.read(vec![0; SIZE]);
        assert!(!reading.is_done());
        std::mem::forget(reading);
        (&writer).write_all(&[1; SIZE]).expect("there is room");
        assert!(eventually(|| readable_bytes(file.as_raw_fd()) == 0));
    });
}
