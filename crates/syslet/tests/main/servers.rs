//! A file's server that does not answer holds nobody up who only handed a call over.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use syslet::source::{self, Told, Watched};
use syslet_testfs::{Answer, TestFs};

use crate::util::calls::{Landing, go, number_call, pending};
use crate::util::child::Child;
use crate::util::temp::Folder;
use crate::util::{LIMIT, attached, skip, within};

/// One file, of whose attributes the kernel remembers nothing.
fn mount(folder: &Folder) -> Option<TestFs> {
    let file = syslet_testfs::File { name: "file".to_owned(), size: 1 << 20 };
    match TestFs::mount(folder.at(""), vec![file], |_| Answer::NOW) {
        Ok(mounted) => {
            mounted.be_forgotten();
            Some(mounted)
        }
        Err(why) => {
            skip(&format!("FUSE cannot be used here: {why}"));
            None
        }
    }
}

#[test]
fn attaching_does_not_wait_for_the_server_of_a_file() {
    // A process of its own: it is its first attach.
    let path = "servers::attaching_does_not_wait_for_the_server_of_a_file";
    let ended = Child::new().run(path, || {
        let folder = Folder::new();
        let Some(mounted) = mount(&folder) else { return };
        mounted.break_flushes_off(Duration::ZERO);
        let file = File::open(mounted.path().join("file")).expect("it is there");
        assert!(file.as_raw_fd() < 64, "the kernel copies it to who leaves the table");
        mounted.hold();
        attached(|| ());
        println!("answers to closes of copies that are held: {}", mounted.held());
        mounted.let_go();
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_guest_asks_the_server_for_nothing_but_what_it_calls() {
    attached(|| {
        let folder = Folder::new();
        let Some(mounted) = mount(&folder) else { return };
        let file = File::open(mounted.path().join("file")).expect("it is there");
        let number = file.as_raw_fd();
        let before = mounted.counts().attributes;
        for round in 0..3 {
            mounted.hold();
            let landing = || Landing::leak().address();
            let vector: &'static [usize; 2] = Box::leak(Box::new([landing(), 1]));
            let [vector, number] = [vector.as_ptr() as usize, number as usize];
            // Only one at the file's own position: the others would wait for it.
            let reads = [
                number_call(libc::SYS_read, [number, landing(), 1]),
                number_call(libc::SYS_pread64, [number, landing(), 1, 10]),
                number_call(libc::SYS_preadv, [number, vector, 1, 20, 0]),
            ];
            let reads = reads.map(|call| pending(go(call)));
            let asked = mounted.counts().attributes - before;
            assert!(
                within(LIMIT / 6, || mounted.held() == reads.len()),
                "they have not come, in {round}"
            );
            mounted.let_go();
            reads.into_iter().for_each(|read| assert_eq!(read.wait().raw(), 1));
            assert_eq!(asked, 0, "who goes on waits for the server, in round {round}");
        }
    });
}

struct Nobody;

impl Watched for Nobody {
    fn ready(self: Arc<Self>, _events: u32) -> Told {
        Told::Kept
    }

    fn broken(self: Arc<Self>, _error: i32) {}
}

/// The keeper would wait for the server, and whoever needs the keeper with it.
#[test]
fn a_file_whose_readiness_a_server_must_be_asked_for_is_no_source() {
    let folder = Folder::new();
    let Some(mounted) = mount(&folder) else { return };
    let open = File::open(mounted.path().join("file")).expect("it is there");
    let number = open.as_raw_fd();
    let file = source::File::of(number).expect("it is open");
    let (events, who) = (libc::POLLIN as u32, Arc::new(Nobody));
    let order = source::Order { number, file, events, wake_all: false, who, instead_of: None };
    let added = source::watch(vec![order]).pop().expect("there is one").map(|_| ());
    assert_eq!((added, mounted.counts().polls), (Err(-libc::EPERM as isize), 0));
}
