use std::os::fd::AsRawFd;

use super::*;

struct Nobody;

impl Watched for Nobody {
    fn ready(self: Arc<Self>, _events: u32) -> Told {
        Told::Kept
    }

    fn broken(self: Arc<Self>, _error: i32) {}
}

fn watches() -> Watches {
    Watches::new(descriptor::new_epoll() as i32, -1, None)
}

/// As if this file had been sent.
fn begin(watches: &mut Watches, reader: &impl AsRawFd) -> WatchId {
    let sent = descriptor::duplicate(reader.as_raw_fd()) as i32;
    let (file, who) = (File::of(sent).expect("it is open"), Arc::new(Nobody));
    let order = Order { number: -1, file, events: POLLIN, wake_all: false, who, instead_of: None };
    watches.begin(order, From::Sent(sent)).expect("a pipe can be watched")
}

#[test]
fn a_file_that_is_watched_again_and_again_has_as_many_desks() {
    let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
    let (other, _writes) = std::io::pipe().expect("a pipe can be made");
    let mut watches = watches();
    for count in 1..=20 {
        begin(&mut watches, &reader);
        assert_eq!(watches.desks.len(), count);
    }
    begin(&mut watches, &other);
    assert_eq!(watches.desks.len(), 20, "files share the desks");
}

/// Its number was closed, and the file is open elsewhere: it cannot be taken out.
#[test]
fn a_watch_that_nobody_listens_to_gives_its_desk_to_the_next() {
    let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
    let mut watches = watches();
    for _ in 0..20 {
        let watch = begin(&mut watches, &reader);
        watches.leave(Ended { watch, number: -1, unsaid: 0 }, From::Sent(-EBADF as i32));
        assert_eq!((watches.desks.len(), watches.lying.len()), (1, 0));
    }
}
