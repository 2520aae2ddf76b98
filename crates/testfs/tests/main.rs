//! What is mounted does what it is told.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use syslet_testfs::{Answer, Counts, Fault, File, Request, TestFs, mismatch};

/// The file system, or nothing and a line that says why.
#[track_caller]
fn mount(
    at: &Path,
    sizes: &[u64],
    script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Option<TestFs> {
    let file = |(at, &size): (usize, &u64)| File { name: format!("file-{at}"), size };
    match TestFs::mount(at, sizes.iter().enumerate().map(file).collect(), script) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            syslet_testfs::skip(&format!("FUSE cannot be used here: {error}"));
            None
        }
    }
}

#[test]
fn files_hold_what_they_should() {
    let place = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 4096, 300_000];
    let Some(mounted) = mount(place.path(), &sizes, |_| Answer::NOW) else { return };
    for (at, size) in sizes.into_iter().enumerate() {
        let path = mounted.path().join(format!("file-{at}"));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(mismatch(at, 0, &bytes), None);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
    }
    let mut names: Vec<_> =
        fs::read_dir(mounted.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file-0", "file-1", "file-2", "file-3"]);
    let missing = fs::read(mounted.path().join("file-4")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn reads_are_slow_and_fail_and_end_early_when_they_are_told_to() {
    let place = tempfile::tempdir().unwrap();
    let delay = Duration::from_millis(40);
    let script = move |request: &Request| match *request {
        Request::Read { offset: 0, .. } => Answer { delay, ..Answer::NOW },
        Request::Read { offset: 1, .. } => Answer { fault: Some(Fault::Failed), ..Answer::NOW },
        Request::Read { offset: 2, .. } => {
            Answer { fault: Some(Fault::Shorter(30)), ..Answer::NOW }
        }
        Request::Read { offset: 3, .. } => {
            Answer { fault: Some(Fault::Shorter(5000)), ..Answer::NOW }
        }
        _ => Answer::NOW,
    };
    let Some(mounted) = mount(place.path(), &[4096], script) else { return };
    let file = fs::File::open(mounted.path().join("file-0")).unwrap();
    let mut buf = [0; 100];
    let start = Instant::now();
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 100);
    assert!(start.elapsed() >= delay);
    assert_eq!(mismatch(0, 0, &buf), None);
    assert_eq!(file.read_at(&mut buf, 1).unwrap_err().raw_os_error(), Some(5), "EIO");
    assert_eq!(file.read_at(&mut buf, 2).unwrap(), 70);
    assert_eq!(mismatch(0, 2, &buf[..70]), None);
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 0, "the end of the file");
    let Counts { opens, reads, delayed, failed, shorter, open, .. } = mounted.counts();
    assert_eq!((opens, reads, delayed, failed, shorter, open), (1, 4, 1, 1, 2, 1));
}

#[test]
fn delayed_reads_do_not_hold_each_other_up() {
    let place = tempfile::tempdir().unwrap();
    let delay = Duration::from_millis(100);
    let script = move |request: &Request| match request {
        Request::Read { .. } => Answer { delay, ..Answer::NOW },
        _ => Answer::NOW,
    };
    let Some(mounted) = mount(place.path(), &[64; 20], script) else { return };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for at in 0..20 {
            let path = mounted.path().join(format!("file-{at}"));
            scope.spawn(move || {
                let mut buf = [0; 64];
                fs::File::open(path).unwrap().read_exact(&mut buf).unwrap();
                assert_eq!(mismatch(at, 0, &buf), None);
            });
        }
    });
    assert!(start.elapsed() < delay * 10, "twenty at once took {:?}", start.elapsed());
}

#[test]
fn what_is_away_is_answered_when_it_is_unmounted() {
    let place = tempfile::tempdir().unwrap();
    let script = |request: &Request| match request {
        Request::Read { .. } => Answer { delay: Duration::from_secs(1), ..Answer::NOW },
        _ => Answer::NOW,
    };
    let Some(mounted) = mount(place.path(), &[64], script) else { return };
    let file = fs::File::open(mounted.path().join("file-0")).unwrap();
    let reader = std::thread::spawn(move || file.read_at(&mut [0; 64], 0));
    while mounted.counts().reads == 0 {
        std::thread::yield_now();
    }
    drop(mounted); // the file is open
    let _ = reader.join().unwrap(); // read or failed, but over
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "the mount's name is gone");
}

#[test]
fn reads_are_held_until_they_are_let_go() {
    let place = tempfile::tempdir().unwrap();
    let Some(mounted) = mount(place.path(), &[64], |_| Answer::NOW) else { return };
    let file = fs::File::open(mounted.path().join("file-0")).unwrap();
    mounted.hold();
    std::thread::scope(|scope| {
        let reads: Vec<_> = (0..3u64)
            .map(|at| {
                let file = &file;
                scope.spawn(move || (file.read_at(&mut [0; 64], at * 20).unwrap(), at))
            })
            .collect();
        while mounted.held() < 3 {
            std::thread::yield_now();
        }
        assert!(reads.iter().all(|read| !read.is_finished()), "a read that is held is over");
        mounted.let_go();
        let lengths: Vec<_> = reads.into_iter().map(|read| read.join().unwrap()).collect();
        assert_eq!(lengths, [(64, 0), (44, 1), (24, 2)]);
    });
    assert_eq!(mounted.held(), 0);
    assert_eq!(file.read_at(&mut [0; 64], 0).unwrap(), 64, "nothing is held any more");
}

#[test]
fn attributes_are_asked_for_again_once_they_are_forgotten() {
    let place = tempfile::tempdir().unwrap();
    let Some(mounted) = mount(place.path(), &[10], |_| Answer::NOW) else { return };
    mounted.be_forgotten();
    let file = fs::File::open(mounted.path().join("file-0")).unwrap();
    let before = mounted.counts().attributes;
    for times in 1..4 {
        assert_eq!(file.metadata().unwrap().len(), 10);
        assert_eq!(mounted.counts().attributes, before + times);
    }
}

/// The harness is another process: what this one's tests say is nobody's to look at.
#[test]
fn what_is_skipped_is_said_though_the_test_passes() {
    const MARK: &str = "SYSLET_TESTFS_SKIPS";
    if std::env::var_os(MARK).is_some() {
        return syslet_testfs::skip("it is tried");
    }
    let line = line!() - 2;
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "what_is_skipped_is_said_though_the_test_passes"]).env(MARK, "1");
    let output = test.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("\nskipped: {}:{line}: it is tried\n", file!()));
}
