use std::future::Future;
use std::io::{ErrorKind, Read, SeekFrom, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use syslet_tokio::fs::{File, FileTimes, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};

use crate::util::{Folder, Gate, current_thread, inline_possible, on_worker, once_in, timely};

/// More than a pipe holds.
const MUCH: usize = 1 << 20;

fn of(end: impl Into<OwnedFd>) -> File {
    File::from(end.into())
}

/// Polls once, with nobody to be woken.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs the body where operations are inline and where they are queued.
fn everywhere<F>(body: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    on_worker(1, body());
    current_thread().block_on(timely(body()));
    syslet_tokio::block_on(&current_thread(), timely(body())).expect("it can be attached");
}

#[test]
fn dropped_read_loses_no_bytes() {
    everywhere(|| async {
        let (reader, mut writer) = pipe().expect("a pipe can be made");
        let mut file = of(reader);
        let mut buf = [0; 100];
        {
            let mut read = std::pin::pin!(file.read(&mut buf));
            assert!(poll_once(read.as_mut()).is_pending(), "there is nothing to read yet");
            // Dropped with the read away: it will take these.
        }
        writer.write_all(b"abcdef").expect("a pipe can be written");
        let mut two = [0; 2];
        file.read_exact(&mut two).await.expect("it can be read");
        assert_eq!(&two, b"ab");
        writer.write_all(b"ghi").expect("a pipe can be written");
        drop(writer);
        let mut rest = String::new();
        file.read_to_string(&mut rest).await.expect("it can be read");
        assert_eq!(rest, "cdefghi");
    });
}

#[test]
fn writes_arrive_in_order_and_in_full() {
    everywhere(|| async {
        let (mut reader, writer) = pipe().expect("a pipe can be made");
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("a pipe can be read");
            all
        });
        let mut file = of(writer);
        let mut expected = Vec::new();
        for round in 0..40usize {
            let bytes = vec![round as u8; round * 7919 + 1];
            file.write_all(&bytes).await.expect("it can be written");
            expected.extend_from_slice(&bytes);
        }
        file.shutdown().await.expect("it can be flushed");
        drop(file);
        assert!(read.join().expect("it does not panic") == expected);
    });
}

#[test]
fn callers_slice_is_its_own_when_a_write_is_away() {
    everywhere(|| async {
        let (mut reader, writer) = pipe().expect("a pipe can be made");
        let mut file = of(writer);
        let mut bytes = vec![1; MUCH];
        assert_eq!(file.write(&bytes).await.expect("it is acknowledged"), MUCH);
        bytes.fill(2); // the kernel has not read them all
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("a pipe can be read");
            all
        });
        file.flush().await.expect("it is written");
        drop(file);
        let all = read.join().expect("it does not panic");
        assert!(all.len() == MUCH && all.iter().all(|&byte| byte == 1));
    });
}

#[test]
fn flush_waits_for_an_acknowledged_write_and_tells_its_error() {
    everywhere(|| async {
        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut file = of(writer);
        assert_eq!(file.write(&[1; MUCH]).await.expect("it is acknowledged"), MUCH);
        {
            let mut flush = std::pin::pin!(file.flush());
            assert!(poll_once(flush.as_mut()).is_pending(), "the pipe is full");
        }
        drop(reader);
        assert_eq!(file.flush().await.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
        file.flush().await.expect("an error is told once");

        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut file = of(writer);
        assert_eq!(file.write(&[1; MUCH]).await.expect("it is acknowledged"), MUCH);
        drop(reader);
        let error = file.write(b"more").await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn inline_write_has_reached_the_kernel_and_its_error_is_its_own() {
    if !inline_possible("inline writes") {
        return;
    }
    let folder = Folder::new();
    on_worker(1, async move {
        let path = folder.at("file");
        once_in(1000, || async {
            let mut file = File::create(&path).await.expect("it can be made");
            assert_eq!(file.write(b"there").await.expect("it can be written"), 5);
            // Read at once, by somebody else. A write that was handed off may come later.
            let there = std::fs::read(&path).expect("it can be read") == b"there";
            file.flush().await.expect("it can be written");
            there
        })
        .await;
        once_in(1000, || async {
            let mut file = File::open(&path).await.expect("it is there"); // not for writing
            file.write(b"x").await.is_err()
        })
        .await;
    });
}

#[test]
fn seek_discards_what_was_read_ahead_and_refuses_while_busy() {
    let folder = Arc::new(Folder::new());
    std::fs::write(folder.at("file"), "0123456789").expect("it can be written");
    everywhere(|| {
        let path = folder.at("file");
        async move {
            let mut file = File::open(&path).await.expect("it is there");
            let mut three = [0; 3];
            file.read_exact(&mut three).await.expect("it can be read");
            assert_eq!(file.seek(SeekFrom::Current(-1)).await.expect("it can be sought"), 2);
            file.read_exact(&mut three).await.expect("it can be read");
            assert_eq!(&three, b"234");
            assert_eq!(file.seek(SeekFrom::End(-2)).await.expect("it can be sought"), 8);
            let error = file.seek(SeekFrom::Current(-100)).await.expect_err("before the start");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(file.stream_position().await.expect("it can be asked"), 8);
            assert_eq!(file.read(&mut three).await.expect("it can be read"), 2);
            assert_eq!(file.read(&mut three).await.expect("it can be read"), 0, "the end");

            Pin::new(&mut file).start_seek(SeekFrom::Start(1)).expect("nothing is in progress");
            let busy = Pin::new(&mut file).start_seek(SeekFrom::Start(2));
            assert!(busy.is_err(), "one operation at a time");
            file.read_exact(&mut three).await.expect("it can be read");
            assert_eq!(&three, b"123", "the seek has taken effect");
        }
    });
}

#[test]
fn positions_are_read_and_written_without_the_files() {
    let folder = Arc::new(Folder::new());
    everywhere(|| {
        let path = folder.at("positions");
        async move {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            let file = options.open(&path).await.expect("it can be made");
            let (count, back) = file.write_at("abcdef", 10).await;
            assert_eq!((count.expect("it can be written"), back), (6, "abcdef"));
            let (count, buf) = file.read_at(vec![9; 8], 12).await;
            assert_eq!(count.expect("it can be read"), 4);
            assert_eq!(buf, b"cdef\x09\x09\x09\x09");
            let (count, _) = file.read_at([0; 4], 100).await;
            assert_eq!(count.expect("it can be read"), 0, "the end");
            // Several at once, on one file.
            let file = Arc::new(file);
            let tasks: Vec<_> = (0..20u64)
                .map(|at| {
                    let file = Arc::clone(&file);
                    async move { file.write_at(vec![at as u8; 100], at * 100).await.0 }
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.expect("it can be written"), 100);
            }
            let (_, all) = file.read_at(vec![0; 2000], 0).await;
            assert!(all.chunks(100).enumerate().all(|(at, chunk)| chunk == [at as u8; 100]));
        }
    });
}

#[test]
fn buffer_comes_back_with_an_error() {
    let folder = Arc::new(Folder::new());
    std::fs::write(folder.at("file"), "abc").expect("it can be written");
    everywhere(|| {
        let path = folder.at("file");
        async move {
            let file = File::open(&path).await.expect("it is there");
            let (result, buf) = file.write_at(vec![1, 2, 3], 0).await;
            assert!(result.is_err());
            assert_eq!(buf, [1, 2, 3]);
        }
    });
}

#[test]
fn position_waits_for_an_acknowledged_write() {
    // A FIFO would not take positions: an eventual write is held up by a full pipe through `copy` of
    // nothing; so the order is shown on a file whose write is queued, which is never inline.
    let folder = Arc::new(Folder::new());
    let path = folder.at("file");
    current_thread().block_on(async {
        for round in 0..100u8 {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            let mut file = options.open(&path).await.expect("it can be made");
            let bytes = vec![round; 100_000];
            assert_eq!(file.write(&bytes).await.expect("it is acknowledged"), bytes.len());
            let (count, read) = file.read_at(vec![0; 100_000], 0).await;
            assert_eq!(count.expect("it can be read"), bytes.len(), "acknowledged, not there");
            assert!(read == bytes);
        }
    });
}

#[test]
fn everything_else_of_a_file() {
    let folder = Arc::new(Folder::new());
    everywhere(|| {
        let folder = Arc::clone(&folder);
        async move {
            let path = folder.at("else");
            let mut file = File::create(&path).await.expect("it can be made");
            assert!(File::create_new(&path).await.is_err(), "it exists");
            file.write_all(b"0123456789").await.expect("it can be written");
            file.set_len(4).await.expect("it can be cut");
            file.sync_all().await.expect("it can be synchronised");
            file.sync_data().await.expect("it can be synchronised");
            assert_eq!(file.metadata().await.expect("it is there").len(), 4);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
            file.set_modified(time).await.expect("it is ours");
            assert_eq!(file.metadata().await.unwrap().modified().unwrap(), time);
            file.set_times(FileTimes::new().set_accessed(time)).await.expect("it is ours");
            let mut permissions = file.metadata().await.unwrap().permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions).await.expect("it is ours");
            assert!(file.metadata().await.unwrap().permissions().readonly());
            let mut clone = file.try_clone().await.expect("it can be cloned");
            assert_eq!(clone.stream_position().await.unwrap(), 10, "the same position");
            file.set_max_buf_size(3);
            assert_eq!(file.write(b"abcdef").await.expect("it can be written"), 3);
            file.flush().await.expect("it can be written");
            assert_eq!((file.max_buf_size(), clone.max_buf_size()), (3, 2 << 20));
            assert!(file.is_write_vectored());
            let file = file.try_into_std().expect("nothing is in progress");
            assert_eq!(file.metadata().unwrap().len(), 13);
            drop(clone.into_std().await);
            std::fs::remove_file(&path).expect("it is there");
        }
    });
}

#[test]
fn opening_in_vain_closes_what_was_opened() {
    let folder = Folder::new();
    let path = folder.at("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("there is an mkfifo").success());
    on_worker(1, async move {
        // Waits for a writer, and nobody waits for it.
        let mut open = Box::pin(File::open(&path));
        assert!(poll_once(open.as_mut()).is_pending());
        drop(open);
        // The writer's open meets the reader's. That was in vain: nobody reads when it is closed.
        let gate = Arc::new(Gate::new());
        let opened = Arc::clone(&gate);
        let closed = syslet_tokio::unblock(move || {
            let mut writer = std::fs::OpenOptions::new().write(true).open(&path).expect("a reader");
            opened.open();
            while writer.write_all(b"x").is_ok() {
                std::thread::yield_now();
            }
        });
        gate.pass();
        timely(closed).await.expect("the reader was closed");
    });
}

/// Begins it, and gives it up while it is in progress.
fn give_up<F: Future>(future: F) {
    assert!(poll_once(std::pin::pin!(future)).is_pending(), "it waits");
}

/// A buffer that is there when the gate is opened.
struct Gated(Arc<Gate>, [u8; 4]);

impl AsMut<[u8]> for Gated {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.pass();
        &mut self.1
    }
}

#[test]
fn file_goes_back_to_std_though_a_read_that_was_given_up_goes_on() {
    let folder = Folder::new();
    std::fs::write(folder.at("file"), "1234").expect("it can be written");
    on_worker(1, async move {
        let gate = Arc::new(Gate::new());
        let file = File::open(folder.at("file")).await.expect("it is there");
        give_up(file.read_at(Gated(Arc::clone(&gate), [0; 4]), 0));
        let mut all = String::new();
        timely(file.into_std()).await.read_to_string(&mut all).expect("it can be read");
        assert_eq!(all, "1234");
        gate.open();
    });
}

/// The error of a write, and a read in progress: neither makes the other be forgotten.
#[test]
fn what_is_in_progress_is_waited_for_though_an_error_is_to_be_told() {
    everywhere(|| async {
        let (mine, mut theirs) = UnixStream::pair().expect("there are sockets");
        let handle = mine.try_clone().expect("it can be duplicated");
        handle.set_nonblocking(true).expect("it is a socket");
        let mut file = File::from(OwnedFd::from(mine));
        // More than it holds: a part is written, or all is acknowledged.
        assert!(file.write(&vec![1; 2 << 20]).await.expect("there is some room") > 0);
        file.sync_data().await.expect_err("a socket has no disk"); // and so it is over
        handle.set_nonblocking(false).expect("it is a socket");
        give_up(file.read(&mut [0; 4]));
        theirs.write_all(b"read").expect("there is room");
        timely(file.set_len(0)).await.expect_err("a socket has no length");
        let told = file.flush().await.expect_err("it was not written to its end");
        assert_eq!(told.kind(), ErrorKind::WouldBlock);
    });
}

/// tokio has taken the work then, and makes it only if there is a thread some time.
#[test]
fn write_is_made_where_it_stands_if_the_blocking_pool_can_have_no_thread() {
    let folder = Folder::new();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // No stack is that large.
    let runtime = builder.enable_all().thread_stack_size(1 << 60).build().expect("it can be built");
    runtime.block_on(async {
        let mut file = File::create(folder.at("file")).await.expect("it can be made");
        file.write_all(b"made").await.expect("it can be written");
        timely(file.flush()).await.expect("it is over");
    });
    assert_eq!(std::fs::read(folder.at("file")).expect("it is there"), b"made");
}
