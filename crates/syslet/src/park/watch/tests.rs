use std::os::fd::{AsRawFd, RawFd};

use super::*;

struct Nobody;

impl Watched for Nobody {
    fn ready(self: Arc<Self>, _events: u32) -> Told {
        Told::Kept
    }

    fn broken(self: Arc<Self>, _error: i32) {}
}

/// As if the number had been closed before the keeper heard of it.
const CLOSED: From = From::Sent(-EBADF as i32);

fn watches() -> Watches {
    Watches::new(descriptor::new_epoll() as i32, -1, None)
}

/// Where more files of one inode than these share desks.
const DESKS: usize = 8;

fn watches_on_few_desks() -> Watches {
    let mut watches = watches();
    watches.desks = Desks::with_most(watches.epoll, DESKS);
    watches
}

/// As if this file had been sent.
fn sent(file: &impl AsRawFd) -> From {
    From::Sent(descriptor::duplicate(file.as_raw_fd()) as i32)
}

/// Begins a watch of a file that the program knows by this number.
fn begin_by(watches: &mut Watches, file: &impl AsRawFd, number: i32) -> WatchId {
    let (who, from) = (Arc::new(Nobody), sent(file));
    let file = File::of(file.as_raw_fd()).expect("it is open");
    let order = Order { number, file, events: POLLIN, wake_all: false, who, instead_of: None };
    watches.begin(order, from).expect("it can be watched")
}

fn begin(watches: &mut Watches, file: &impl AsRawFd) -> WatchId {
    begin_by(watches, file, -1)
}

fn ended(watch: WatchId) -> Ended {
    Ended { watch, number: -1, file: File::default(), unsaid: 0 }
}

/// One of those that have one inode.
struct Anonymous(i32);

impl Anonymous {
    fn new() -> Self {
        Self(descriptor::new_epoll() as i32)
    }
}

impl AsRawFd for Anonymous {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        kernel::close(self.0);
    }
}

#[test]
fn a_file_that_is_watched_again_and_again_has_as_many_desks() {
    let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
    let (other, _writes) = std::io::pipe().expect("a pipe can be made");
    let mut watches = watches();
    for count in 1..=100 {
        begin(&mut watches, &reader);
        assert_eq!(watches.desks.count(), count);
    }
    begin(&mut watches, &other);
    assert_eq!(watches.desks.count(), 100, "files share the desks");
    let watches = watches_on_few_desks();
    let end = File::of(reader.as_raw_fd()).expect("it is open");
    assert!(watches.desks.free(&end).nth(10 * DESKS).is_some(), "an end of a pipe lies alone");
    let anonymous = File::of(Anonymous::new().as_raw_fd()).expect("it is open");
    assert_eq!(watches.desks.free(&anonymous).count(), DESKS);
}

/// Those that have no desk of their own share one.
#[test]
fn what_was_left_behind_beside_a_watch_is_not_taken_out_with_it() {
    let mut watches = watches_on_few_desks();
    let files: Vec<_> = (0..DESKS + 2).map(|_| Anonymous::new()).collect();
    let numbered = files.iter().zip(0..);
    let begun: Vec<_> =
        numbered.map(|(file, number)| begin_by(&mut watches, file, number)).collect();
    watches.leave(ended(begun[DESKS]), CLOSED);
    let last = &files[DESKS + 1];
    begin_by(&mut watches, last, 1000);
    // It becomes ready, as an epoll: both of its watches say so.
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    let event = EpollEvent { events: POLLIN, data: 0 };
    assert_eq!(descriptor::watch(last.as_raw_fd(), reader.as_raw_fd(), event, false), 0);
    std::io::Write::write_all(&mut &writer, b"!").expect("there is room");
    let mut events = [EpollEvent::default(); 8];
    assert_eq!(descriptor::ready(watches.epoll, &mut events, 0, None), 2);
}

/// Its number was closed, and the file is open elsewhere: it cannot be taken out.
#[test]
fn a_watch_that_nobody_listens_to_gives_its_desk_to_the_next() {
    let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
    let mut watches = watches();
    for _ in 0..20 {
        let watch = begin(&mut watches, &reader);
        watches.leave(ended(watch), CLOSED);
        assert_eq!((watches.desks.count(), watches.desks.inodes()), (1, 0));
    }
    let anonymous = Anonymous::new();
    for _ in 0..20 {
        let watch = begin(&mut watches, &anonymous);
        watches.leave(ended(watch), CLOSED);
    }
    assert_eq!(watches.desks.count(), 1, "what was left behind is taken out");
}

#[test]
fn what_was_left_behind_is_not_taken_for_the_next_file_of_its_inode() {
    let (first, second) = (Anonymous::new(), Anonymous::new());
    let mut watches = watches();
    let left = begin(&mut watches, &first);
    watches.leave(ended(left), CLOSED);
    let watch = begin(&mut watches, &second);
    assert!(watches.is_its(watch, sent(&second)));
    assert!(!watches.is_its(watch, sent(&first)));
}

/// Another file of the same inode has its number by then.
#[test]
fn a_watch_that_a_stranger_could_not_take_out_is_left_behind() {
    let (first, second) = (Anonymous::new(), Anonymous::new());
    let mut watches = watches();
    let left = begin(&mut watches, &first);
    watches.leave(ended(left), sent(&second));
    let watch = begin(&mut watches, &second);
    assert!(!watches.is_its(watch, sent(&first)));
}

#[test]
fn what_may_lie_on_every_desk_is_found_out() {
    let (stays, next) = (Anonymous::new(), Anonymous::new());
    let mut watches = watches();
    let left = begin(&mut watches, &stays);
    watches.leave(ended(left), CLOSED);
    // These are gone with their files.
    for _ in 0..10 * CHOICE {
        let file = Anonymous::new();
        let watch = begin(&mut watches, &file);
        drop(file);
        watches.tidy();
        watches.leave(ended(watch), CLOSED);
    }
    assert!(watches.desks.count() <= CHOICE);
    for _ in 0..CHOICE - 1 {
        let watch = begin(&mut watches, &next);
        assert!(!watches.is_its(watch, sent(&stays)));
    }
    let notes = watches.leftovers.notes();
    assert!(notes < CHOICE, "{notes}");
}

#[test]
fn notes_of_what_was_left_behind_end() {
    let mut watches = watches();
    for inode in 0..5000 {
        let file = File { id: (0, inode), sort: Sort::Alike };
        watches.desks.ensure(0);
        watches.leave_behind(file, 0);
    }
    assert!(watches.leftovers.notes() <= 1025);
}

#[test]
fn a_watch_is_taken_out_by_a_number_that_has_another_file_only_if_it_is_that_file() {
    let path = std::env::temp_dir().join(format!("syslet-watch-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("there is mkfifo");
    assert!(made.success());
    let open = || std::fs::File::options().read(true).write(true).open(&path).expect("it is there");
    let mut watches = watches_on_few_desks();
    // So many that they share desks.
    let others: Vec<_> = (0..2 * DESKS).map(|_| open()).collect();
    for (number, file) in (100..).zip(&others) {
        begin_by(&mut watches, file, number);
    }
    let (old, stranger) = (open(), open());
    let left = begin_by(&mut watches, &old, 7);
    let watch = begin_by(&mut watches, &stranger, 7);
    watches.leave(ended(left), sent(&stranger));
    assert!(watches.is_its(watch, sent(&stranger)));
    std::fs::remove_file(path).expect("it is there");
}

/// It was closed, and is not taken back yet; its number is one of the other file's by now.
#[test]
fn a_watch_is_not_taken_out_by_the_number_of_one_that_was_closed() {
    let mut watches = watches();
    let _others: Vec<_> = (100..200)
        .map(|number| {
            let file = Anonymous::new();
            begin_by(&mut watches, &file, number);
            file
        })
        .collect();
    let (closed, file) = (Anonymous::new(), Anonymous::new());
    let left = begin_by(&mut watches, &closed, 7);
    drop(closed);
    watches.tidy();
    let watch = begin_by(&mut watches, &file, 8);
    watches.leave(ended(left), sent(&file));
    assert!(watches.is_its(watch, sent(&file)));
}
