//! Reads of cached files on a thread that is not attached: what a file system can do is found out, and remembered of
//! that file system only.

use std::fs::File;
use std::os::fd::AsRawFd;

use syslet::stats;

use crate::util::calls::{Block, Landing, go, memory_file, plain, pread_call};
use crate::util::child::Child;
use crate::util::temp::Folder;
use crate::util::{LIMIT, bounded, skip};

/// Whether a cached read can be asked for without waiting.
fn has_twin(fd: i32) -> bool {
    let byte = Block::leak();
    let vector = Block::with(&[byte.address().to_ne_bytes(), 1usize.to_ne_bytes()].concat());
    let args = [fd as usize, vector.address(), 1, 0, 0, libc::RWF_NOWAIT as usize];
    plain(libc::SYS_preadv2 as usize, args) == 1
}

/// One in memory with a byte in it.
fn in_memory() -> File {
    let file = File::from(memory_file());
    std::os::unix::fs::FileExt::write_all_at(&file, b"m", 0).expect("there is room");
    file
}

/// Reads a byte; true if it was there at once.
fn read(file: &File, byte: u8) -> bool {
    let landing = Landing::leak();
    let submitted = go(pread_call(file.as_raw_fd(), landing, 0));
    let at_once = submitted.is_done();
    assert_eq!((submitted.wait().raw(), landing.byte()), (1, byte));
    at_once
}

#[test]
fn cached_reads_are_made_on_the_spot_where_the_file_system_can_say_so() {
    let path = "file_systems::cached_reads_are_made_on_the_spot_where_the_file_system_can_say_so";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let folder = Folder::new();
            let path = folder.at("file");
            std::fs::write(&path, b"d").expect("there is room");
            let open = || File::open(&path).expect("it is there");
            let (disk, memory) = (open(), in_memory());
            if !has_twin(disk.as_raw_fd()) {
                return skip("the folder for temporary files knows no reads without waiting");
            }
            for _ in 0..100 {
                assert!(read(&disk, b'd'), "it has gone to the pool");
            }
            assert_eq!(stats().crew, 0, "no thread is wanted");
            let can = has_twin(memory.as_raw_fd());
            for file in [&memory, &in_memory(), &memory] {
                assert_eq!(read(file, b'm'), can);
            }
            assert_eq!(stats().crew > 0, !can);
            // That holds for that file system alone, whatever the number of the file.
            for file in [&disk, &open()] {
                assert!(read(file, b'd'), "it is taken for one of the other file system");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
