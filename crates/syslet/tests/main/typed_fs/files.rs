//! Open files: reading, writing, locking.

use std::io::{ErrorKind, Read, SeekFrom, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use futures_executor::block_on;
use syslet::fs::{self, File};

use crate::util::calls::{
    count_signals, gettid, limit, readable_bytes, signal_thread, signals_seen,
};
use crate::util::child::Child;
use crate::util::pipe::file_with;
use crate::util::temp::Folder;
use crate::util::{attached, eventually, late, skip_in_pool, soon};

fn file(bytes: &[u8]) -> File {
    File::from(file_with(bytes))
}

/// A pipe whose ends are ours.
fn pair() -> (File, File) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)))
}

#[test]
fn reads_are_short_at_the_end_and_nothing_after_it() {
    attached(|| {
        let file = file(b"0123456789");
        let (count, buf) = file.read_at(vec![b'x'; 4], 2).wait();
        assert_eq!((count.expect("it can be read"), &buf[..]), (4, &b"2345"[..]));
        let (count, buf) = file.read_at(vec![b'x'; 4], 8).wait();
        assert_eq!((count.expect("it can be read"), &buf[..]), (2, &b"89xx"[..]));
        for offset in [10, 11, 1 << 40] {
            let (count, buf) = file.read_at(vec![b'x'; 4], offset).wait();
            assert_eq!((count.expect("the end"), &buf[..]), (0, &b"xxxx"[..]), "at {offset}");
        }
        let (error, _) = file.read_at(vec![0; 4], u64::MAX).wait();
        assert_eq!(error.expect_err("not an offset").kind(), ErrorKind::InvalidInput);
        let (count, _) = file.read_at(Vec::new(), 0).wait();
        assert_eq!(count.expect("nothing asked for"), 0);
    });
}

#[test]
fn reading_and_writing_move_the_position_and_at_an_offset_do_not() {
    attached(|| {
        let file = file(b"");
        block_on(async {
            assert_eq!(file.write(b"hello ".as_slice()).await.0.expect("written"), 6);
            assert_eq!(file.write_at("HE", 0).await.0.expect("written"), 2);
            assert_eq!(file.write(String::from("world")).await.0.expect("written"), 5);
            assert_eq!(file.seek(SeekFrom::Start(1)).await.expect("moved"), 1);
            let (count, buf) = file.read(vec![0; 4].into_boxed_slice()).await;
            assert_eq!((count.expect("read"), &buf[..]), (4, &b"Ello"[..]));
            assert_eq!(file.seek(SeekFrom::Current(0)).await.expect("told"), 5);
            let (count, buf) = file.read(vec![0; 100]).await;
            assert_eq!(&buf[..count.expect("read")], b" world");
            assert_eq!(file.read(vec![0; 100]).await.0.expect("the end"), 0);
            let end = file.seek(SeekFrom::End(i64::MIN)).await;
            assert_eq!(end.expect_err("before the beginning").kind(), ErrorKind::InvalidInput);
        });
    });
}

#[test]
fn buffers_of_every_kind_are_written_and_given_back() {
    attached(|| {
        let file = file(b"");
        let arc: Arc<[u8]> = Arc::from(&b"arc "[..]);
        assert_eq!(file.write(b"vec ".to_vec()).wait().1, b"vec ");
        assert_eq!(&file.write(b"box ".to_vec().into_boxed_slice()).wait().1[..], b"box ");
        assert_eq!(&file.write(Arc::clone(&arc)).wait().1[..], b"arc ");
        assert_eq!(file.write(String::from("string ")).wait().1, "string ");
        assert_eq!(file.write("str ").wait().1, "str ");
        assert_eq!(file.write(&b"slice"[..]).wait().1, b"slice");
        assert_eq!(file.metadata().wait().expect("it is open").len(), 28);
        let (count, buf) = file.read_at(vec![0; 99], 0).wait();
        assert_eq!(&buf[..count.expect("read")], b"vec box arc string str slice");
    });
}

#[test]
fn write_all_of_more_than_a_pipe_holds() {
    attached(|| {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let writer = File::from(OwnedFd::from(writer));
        let bytes: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
        let mut writing = writer.write_all(bytes.clone());
        assert!(!writing.is_done());
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            (&reader).read_to_end(&mut all).expect("it can be read");
            all
        });
        let (result, back) = writing.wait();
        result.expect("it can be written");
        assert_eq!(back, bytes);
        drop(writer);
        assert_eq!(reading.join().expect("reading does not panic"), bytes);
    });
}

#[test]
fn write_all_goes_on_at_its_offset_and_ends_at_a_full_disk() {
    attached(|| {
        let target = file(b"0123456789");
        target.write_all_at("ABC", 4).wait().0.expect("it can be written");
        target.write_all_at("", u64::MAX).wait().0.expect("nothing is written anywhere");
        let (count, buf) = target.read_at(vec![0; 20], 0).wait();
        assert_eq!(&buf[..count.expect("read")], b"0123ABC789");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").wait();
        let (error, back) = full.expect("it is there").write_all("x").wait();
        assert_eq!(error.expect_err("it is full").kind(), ErrorKind::StorageFull);
        assert_eq!(back, "x");
    });
}

#[test]
fn read_that_waits_is_a_future_and_can_be_waited_for() {
    attached(|| {
        let (reader, writer) = pair();
        let mut waiting = reader.read(vec![0; 9]);
        assert!(!waiting.is_done() && !waiting.was_inline());
        let deadline = soon(5);
        let Err(waiting) = waiting.wait_deadline(deadline) else { panic!("nothing was written") };
        assert!(std::time::Instant::now() >= deadline);
        writer.write_all("one").wait().0.expect("there is room");
        let (count, buf) = waiting.wait_deadline(late()).expect("it ends");
        assert_eq!(&buf[..count.expect("read")], b"one");

        let mut waiting = reader.read(vec![0; 9]);
        let other = thread::spawn(move || writer.write_all("two").wait().0);
        let (count, buf) = block_on(&mut waiting);
        assert_eq!(&buf[..count.expect("read")], b"two");
        other.join().expect("writing does not panic").expect("there is room");
        let (count, _) = reader.read(vec![0; 9]).wait();
        assert_eq!(count.expect("the writer has gone"), 0);
    });
}

#[test]
fn what_is_cached_is_inline() {
    attached(|| {
        let (folder, file) = (Folder::new(), file(b"text"));
        std::fs::write(folder.at("file"), "text").expect("a file can be made");
        let rounds = 100;
        let mut inline = [0; 4];
        for _ in 0..rounds {
            let read = file.read_at(vec![0; 4], 0);
            inline[0] += usize::from(read.was_inline());
            assert_eq!(read.wait().1, b"text");
            let metadata = fs::metadata(folder.at("file"));
            inline[1] += usize::from(metadata.was_inline());
            assert_eq!(metadata.wait().expect("it is there").len(), 4);
            let open = File::open(folder.at("file"));
            inline[2] += usize::from(open.was_inline());
            let mut whole = fs::read(folder.at("file"));
            inline[3] += usize::from(whole.was_inline());
            assert!(!whole.was_inline() || whole.is_done());
            assert_eq!(whole.wait().expect("it is there"), b"text");
        }
        if !skip_in_pool("inline") {
            assert!(inline.iter().all(|count| count * 2 > rounds), "{inline:?} of {rounds}");
        }
    });
}

#[test]
fn metadata_length_times_and_permissions_are_the_files() {
    attached(|| {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let file = File::create_new(folder.at("f")).wait().expect("it can be made");
        file.set_len(1000).wait().expect("it can be made longer");
        let permissions = std::fs::Permissions::from_mode(0o640);
        file.set_permissions(permissions).wait().expect("they can be changed");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let times = std::fs::FileTimes::new().set_modified(time);
        file.set_times(times).wait().expect("they can be changed");
        file.sync_data().wait().expect("it can be synced");
        file.sync_all().wait().expect("it can be synced");
        let metadata = std::fs::metadata(folder.at("f")).expect("it is there");
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (1000, 0o640));
        assert_eq!(metadata.modified().expect("it is known"), time);
        let again = File::create_new(folder.at("f")).wait().expect_err("it exists");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        drop(File::create(folder.at("f")).wait().expect("it is made empty"));
        assert_eq!(file.metadata().wait().expect("it is open").len(), 0);
    });
}

#[test]
fn lock_waits_for_the_other_and_can_be_given_up() {
    attached(|| {
        let folder = Folder::new();
        let open = || File::create(folder.at("f")).wait().expect("it can be made");
        let (one, two, three) = (open(), open(), open());
        one.lock().wait().expect("it is free");
        let mut second = two.lock();
        let mut third = three.lock_shared();
        assert!(!second.is_done() && !third.is_done());
        let _ = second.cancel();
        let cancelled = second.wait().expect_err("it was cancelled");
        assert_eq!(cancelled.raw_os_error(), Some(libc::ECANCELED));
        one.unlock().wait().expect("it is locked");
        third.wait().expect("it is free");
        // The cancelled attempt has left nothing: shared with `three` is possible, alone is not.
        two.lock_shared().wait().expect("it can be shared");
        let mut dropped = one.lock();
        assert!(!dropped.is_done());
        drop(dropped);
        two.unlock().wait().expect("it is locked");
        three.unlock().wait().expect("it is locked");
        // Given up, or got and held by `one`: never by anybody who does not know.
        one.lock().wait().expect("it is free for `one`");
    });
}

#[test]
fn file_stays_open_while_an_operation_is_in_progress() {
    attached(|| {
        let (reader, writer) = pair();
        let reading = reader.read(vec![0; 9]);
        let Err(reader) = reader.try_into_std() else { panic!("a read is in progress") };
        drop(reader);
        // Files that are opened now do not get its number.
        let others: Vec<_> = (0..20).map(|_| file(b"another")).collect();
        writer.write_all("this").wait().0.expect("the reader is there");
        let (count, buf) = reading.wait();
        assert_eq!(&buf[..count.expect("read")], b"this");
        drop(others);
        // The kernel lets go of a file that was polled when it gets round to it.
        let mut error = None;
        assert!(eventually(|| {
            error = writer.write("m").wait().0.err();
            error.is_some()
        }));
        assert_eq!(error.expect("checked").kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn file_goes_back_to_std_when_nothing_is_in_progress() {
    attached(|| {
        let (reader, writer) = pair();
        let reading = reader.read(vec![0; 9]);
        writer.write_all("x").wait().0.expect("there is room");
        assert_eq!(reading.wait().0.expect("read"), 1);
        let mut std = None;
        let mut reader = Some(reader);
        assert!(eventually(|| match reader.take().map(File::try_into_std) {
            Some(Ok(file)) => {
                std = Some(file);
                true
            }
            Some(Err(file)) => {
                reader = Some(file);
                false
            }
            None => false,
        }));
        let clone = writer.try_clone().expect("it can be cloned");
        clone.write_all("y").wait().0.expect("there is room");
        let mut byte = [0];
        std.expect("it was given back").read_exact(&mut byte).expect("it can be read");
        assert_eq!(&byte, b"y");
    });
}

#[test]
fn interruption_inside_a_threadlet_is_not_answered() {
    let path = "typed_fs::files::interruption_inside_a_threadlet_is_not_answered";
    let ended = Child::new().run(path, || {
        if skip_in_pool("signals on crew threads") {
            return;
        }
        count_signals(libc::SIGUSR1);
        attached(|| {
            let (reader, writer) = pair();
            let (tell, told) = channel();
            let reading = syslet::threadlet(move || {
                tell.send(gettid()).expect("somebody waits");
                reader.read(vec![0; 3]).wait()
            });
            let tid = told.recv().expect("it was told");
            for number in 1..=20 {
                signal_thread(tid, libc::SIGUSR1);
                assert!(eventually(|| signals_seen() >= number), "signal {number} was not seen");
            }
            assert!(!reading.is_finished(), "{:?}", reading.join());
            writer.write_all("end").wait().0.expect("there is room");
            let (count, buf) = reading.join();
            assert_eq!((count.expect("read"), &buf[..]), (3, &b"end"[..]));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn write_all_goes_on_where_a_write_was_broken_off() {
    let path = "typed_fs::files::write_all_goes_on_where_a_write_was_broken_off";
    let ended = Child::new().run(path, || {
        if skip_in_pool("signals on crew threads") {
            return;
        }
        count_signals(libc::SIGUSR1);
        attached(|| {
            let (mut reader, writer) = pipe().expect("a pipe can be made");
            let writer = File::from(OwnedFd::from(writer));
            let bytes: Vec<u8> = (0..700_001u32).map(|n| (n % 251) as u8).collect();
            let (tell, told) = channel();
            let sent = bytes.clone();
            // Inside a threadlet the call is made in place, and a signal breaks it off.
            let writing = syslet::threadlet(move || {
                tell.send(gettid()).expect("somebody waits");
                writer.write_all(sent).wait().0
            });
            let tid = told.recv().expect("it was told");
            let (mut all, mut piece) = (Vec::new(), vec![0; 60_000]);
            for number in 1..=8 {
                let full = || readable_bytes(reader.as_raw_fd()) > 60_000;
                assert!(eventually(full), "it does not go on");
                signal_thread(tid, libc::SIGUSR1);
                assert!(eventually(|| signals_seen() >= number), "signal {number} was not seen");
                reader.read_exact(&mut piece).expect("it can be read");
                all.extend_from_slice(&piece);
            }
            reader.read_to_end(&mut all).expect("it can be read");
            writing.join().expect("all of it is written");
            assert!(all == bytes, "something else was written, {} bytes", all.len());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn write_all_at_an_offset_ends_at_the_limit_of_the_file() {
    let path = "typed_fs::files::write_all_at_an_offset_ends_at_the_limit_of_the_file";
    let ended = Child::new().run(path, || {
        count_signals(libc::SIGXFSZ);
        attached(|| {
            let folder = Folder::new();
            let file = File::create_new(folder.at("f")).wait().expect("it can be made");
            let before = limit(libc::RLIMIT_FSIZE, 10_000);
            // The first call writes what is allowed, the second one nothing.
            let (error, _) = file.write_all_at(vec![7; 20_000], 500).wait();
            limit(libc::RLIMIT_FSIZE, before);
            assert_eq!(error.expect_err("too long").kind(), ErrorKind::FileTooLarge);
            let expected = [vec![0; 500], vec![7; 9500]].concat();
            assert!(fs::read(folder.at("f")).wait().expect("it is there") == expected);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn disk_operations_need_no_free_thread() {
    let path = "typed_fs::files::disk_operations_need_no_free_thread";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let (reader, writer) = pipe().expect("a pipe can be made");
            let reader = File::from(OwnedFd::from(reader));
            // All threads that there may be are taken.
            let held: Vec<_> = (0..2).map(|_| reader.read(vec![0; 1])).collect();
            let metadata = fs::metadata("/dev/null").wait_deadline(late()).expect("it ends");
            assert!(metadata.is_ok());
            let entries = fs::read_dir("/").wait_deadline(late()).expect("it ends");
            assert!(entries.expect("it can be read").next().is_some());
            (&writer).write_all(b"xx").expect("there is room");
            for reading in held {
                assert_eq!(reading.wait().0.expect("read"), 1);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn operations_inside_a_threadlet_need_no_further_thread() {
    attached(|| {
        for _ in 0..10 {
            let threadlet = syslet::threadlet(|| {
                let metadata = fs::metadata("/dev/null");
                let contents = fs::read("/dev/null");
                assert!(metadata.was_inline() && contents.was_inline());
                metadata.wait().is_ok() && contents.wait().is_ok()
            });
            assert!(threadlet.join());
        }
    });
}
