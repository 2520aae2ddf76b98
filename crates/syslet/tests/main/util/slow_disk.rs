//! A disk that does what it is told: a loop device over a file of the file system in user space.
//!
//! The disk is served by the test's own process and used by a child of it ([`Child`]), for who waits for the
//! disk may be out of reach of every signal. A child that fails lets go; with one that hangs the disk loses its
//! patience; and if the parent is killed the disk goes with it: whoever waits is told that it has failed.
//!
//! # Safety
//!
//! Clause *numbers*: the call's arguments are numbers. Clause *live*: the kernel reads a structure that is
//! live during the call.

#![allow(unsafe_code, reason = "loop devices are set up by ioctls; see the header")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use syslet_testfs::{Answer, Fault, Request, TestFs};

use super::child::{self, Child};
use super::skip;
use super::temp::Folder;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Whole pages of the disk, and some sectors: its end is in the middle of a page.
pub(crate) const PAGES: usize = 512;
pub(crate) const LEN: usize = PAGES * PAGE + 3 * 512;

/// linux/loop.h.
const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_CLR_FD: u64 = 0x4C01;
/// Requests that a loop device takes at a time: the default of the driver's hw_queue_depth.
const USUAL_REQUESTS: usize = 128;
const LO_FLAGS_READ_ONLY: u64 = 1;
/// The device lets its file go when nobody has it open: also if this process is killed.
const LO_FLAGS_AUTOCLEAR: u64 = 4;
/// Words of `struct loop_config` (Linux 5.8), and the one whose upper half is `info.lo_flags`.
const CONFIG_WORDS: usize = 38;
const FLAGS_WORD: usize = 7;

/// How long the disk is silent if it is asked for nothing.
const PATIENCE: Duration = Duration::from_secs(70);

/// No page fails.
const NONE: u64 = u64::MAX;

const DEVICE: &str = "SYSLET_TEST_DISK";
const CONTROL: &str = "SYSLET_TEST_DISK_CONTROL";

/// Runs `body` in a child, with the disk; with a skip line and without `body` where there can be none.
#[track_caller]
pub(crate) fn with_slow_disk(child: Child, path: &str, body: fn()) {
    if child::is_one() {
        child.run(path, body);
        return;
    }
    let disk = match SlowDisk::new() {
        Ok(disk) => disk,
        Err(why) => return skip(&format!("there can be no slow disk here: {why}")),
    };
    let child = child.var(DEVICE, disk.device.display()).var(CONTROL, disk.socket().display());
    let ended = child.run(path, body);
    drop(disk);
    ended.expect("this is the parent").expect_done();
}

/// The disk, in the process that serves it.
struct SlowDisk {
    device: PathBuf,
    /// Dropped first: the device has the file open.
    attached: Option<File>,
    files: Arc<TestFs>,
    folder: Folder,
}

impl SlowDisk {
    fn new() -> io::Result<Self> {
        let folder = Folder::new();
        let place = folder.at("mounted");
        std::fs::create_dir(&place)?;
        let failing = Arc::new(AtomicU64::new(NONE));
        let script = {
            let failing = Arc::clone(&failing);
            move |request: &Request| fail_if_asked(&failing, request)
        };
        let file = syslet_testfs::File { name: "disk".to_owned(), size: LEN as u64 };
        let files = Arc::new(TestFs::mount(&place, vec![file], script)?);
        let listener = UnixListener::bind(folder.at("control"))?;
        let (device, attached) = attach(&File::open(place.join("disk"))?)?;
        {
            let files = Arc::clone(&files);
            thread::spawn(move || obey(&listener, &files, &failing));
        }
        Ok(Self { device, attached: Some(attached), files, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.at("control")
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.files.let_go();
        if let Some(device) = self.attached.take() {
            take_at_most(&self.device, USUAL_REQUESTS); // the next one who has it is to find it so
            // SAFETY: numbers. Should it fail, the device lets go by itself when it is closed.
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) };
        }
        // The control's thread waits for whoever connects: this one goes at once, and it ends.
        drop(UnixStream::connect(self.socket()));
    }
}

/// Has a read fail that touches the page which is to fail; that page is well again once it has failed alone.
fn fail_if_asked(failing: &AtomicU64, request: &Request) -> Answer {
    let at = failing.load(Ordering::SeqCst);
    match *request {
        Request::Read { offset, length, .. } if (offset..offset + length as u64).contains(&at) => {
            if offset == at {
                failing.store(NONE, Ordering::SeqCst);
            }
            Answer { fault: Some(Fault::Failed), ..Answer::NOW }
        }
        _ => Answer::NOW,
    }
}

/// Makes a loop device of `file`.
fn attach(file: &File) -> io::Result<(PathBuf, File)> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    loop {
        // SAFETY: numbers.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path)?;
        let mut config = [0u64; CONFIG_WORDS];
        config[0] = file.as_raw_fd() as u64; // and the usual size of a block
        config[FLAGS_WORD] = (LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR) << 32;
        // SAFETY: live.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) } == 0 {
            take_at_most(&path, USUAL_REQUESTS);
            return Ok((path, device));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error); // else somebody else was faster
        }
    }
}

/// Has a device take so many requests at a time. False: it cannot be changed.
fn take_at_most(device: &Path, count: usize) -> bool {
    let name = device.file_name().expect("a device has a name").to_string_lossy().into_owned();
    std::fs::write(format!("/sys/block/{name}/queue/nr_requests"), count.to_string()).is_ok()
}

/// What the child may ask for, and the number that goes with it. The answer is a number.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Wish {
    Hold,
    LetGo,
    Held,
    Fail,
}

fn obey(listener: &UnixListener, files: &TestFs, failing: &AtomicU64) {
    let Ok((mut child, _)) = listener.accept() else { return };
    let mut words = [[0; 8]; 2];
    child.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    while child.read_exact(words.as_flattened_mut()).is_ok() {
        let [wish, number] = words.map(u64::from_ne_bytes);
        let mut answer = 0;
        match wish {
            _ if wish == Wish::Hold as u64 => files.hold(),
            _ if wish == Wish::LetGo as u64 => files.let_go(),
            _ if wish == Wish::Held as u64 => answer = files.held() as u64,
            _ => failing.store(number, Ordering::SeqCst),
        }
        if child.write_all(&answer.to_ne_bytes()).is_err() {
            break;
        }
    }
    files.let_go();
}

/// The disk's will, in the child.
pub(crate) struct Control(UnixStream);

impl Control {
    pub(crate) fn connect() -> Self {
        let path = std::env::var_os(CONTROL).expect("the parent has said where");
        Self(UnixStream::connect(path).expect("the parent listens"))
    }

    /// The device, opened with `flags` of open(2).
    pub(crate) fn open(flags: i32) -> File {
        let path = std::env::var_os(DEVICE).expect("the parent has said which");
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        opened.expect("the device can be opened")
    }

    /// How many requests the device takes at a time, from now on. False: it cannot be changed.
    pub(crate) fn take_at_most(count: usize) -> bool {
        let path = std::env::var_os(DEVICE).expect("the parent has said which");
        take_at_most(Path::new(&path), count)
    }

    /// Reads are not answered from now on.
    pub(crate) fn hold(&self) {
        self.ask(Wish::Hold, 0);
    }

    /// All reads are answered.
    pub(crate) fn let_go(&self) {
        self.ask(Wish::LetGo, 0);
    }

    /// How many reads the disk holds; those behind the first may wait in the device.
    pub(crate) fn held(&self) -> usize {
        self.ask(Wish::Held, 0) as usize
    }

    /// Reads that touch this page fail, until it has been read alone, once.
    pub(crate) fn fail(&self, page: usize) {
        self.ask(Wish::Fail, (page * PAGE) as u64);
    }

    fn ask(&self, wish: Wish, number: u64) -> u64 {
        self.try_ask(wish, number).expect("the parent listens, and has patience")
    }

    fn try_ask(&self, wish: Wish, number: u64) -> io::Result<u64> {
        let words = [wish as u64, number].map(u64::to_ne_bytes);
        (&self.0).write_all(words.as_flattened())?;
        let mut answer = [0; 8];
        (&self.0).read_exact(&mut answer)?;
        Ok(u64::from_ne_bytes(answer))
    }
}

/// Also on unwinding: a process does not end while it waits for the disk.
impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.try_ask(Wish::LetGo, 0); // if the parent has gone, so has the disk
    }
}
