//! Files that are slow, and fail: on a file system of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syslet_testfs::{Answer, Fault, File, Request, TestFs, fill, skip};

use crate::served::{Served, WAYS};

/// The file system, below the root; nothing, and a line that says why, if it cannot be mounted.
#[track_caller]
fn mount(
    server: &Served,
    script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Option<TestFs> {
    let at = server.root().join("slow");
    std::fs::create_dir(&at).unwrap();
    let file = |at| File { name: format!("file-{at}"), size: 600_000 };
    match TestFs::mount(at, (0..4).map(file).collect(), script) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            skip(&format!("FUSE cannot be used here: {error}"));
            None
        }
    }
}

#[test]
fn slow_files_hold_nobody_up() {
    for files in WAYS {
        let server = Served::start(files);
        let go = Arc::new(AtomicBool::new(false));
        // Long against what a busy machine may take for the others.
        let (delay, told) = (Duration::from_secs(2), Arc::clone(&go));
        let script = move |request: &Request| match request {
            Request::Read { offset: 0, .. } if !told.load(Ordering::SeqCst) => {
                Answer { delay, ..Answer::NOW }
            }
            _ => Answer::NOW,
        };
        let Some(mounted) = mount(&server, script) else { return };
        server.write("hot", "hot");
        // More slow requests than workers.
        let mut slow: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let mut hot = server.connect();
        let start = Instant::now();
        for (at, client) in slow.iter_mut().enumerate() {
            client.send("GET", &format!("/slow/file-{at}"), &[]);
        }
        while mounted.counts().reads < 4 {
            std::thread::yield_now();
        }
        for _ in 0..20 {
            assert_eq!(hot.get("/hot", &[]).body, b"hot");
        }
        assert!(start.elapsed() < delay, "hot requests have waited: {:?}", start.elapsed());
        for (at, client) in slow.iter_mut().enumerate() {
            let mut right = vec![0; 600_000];
            fill(at, 0, &mut right);
            assert!(client.receive(true).unwrap().body == right);
        }
        assert!(start.elapsed() >= delay);
        drop(server);
        drop(mounted);
    }
}

#[test]
fn a_disk_that_fails_is_an_error_or_a_cut_and_never_wrong_bytes() {
    for files in WAYS {
        let server = Served::start(files);
        let script = |request: &Request| match *request {
            Request::Read { file: 0, .. } | Request::Open { file: 1 } => {
                Answer { fault: Some(Fault::Failed), ..Answer::NOW }
            }
            Request::Read { file: 2, offset: 300_000.., .. } => {
                Answer { fault: Some(Fault::Failed), ..Answer::NOW }
            }
            Request::Read { file: 3, offset, length } if offset + length as u64 > 500_000 => {
                let less = (offset as usize + length).saturating_sub(500_000);
                Answer { fault: Some(Fault::Shorter(less)), ..Answer::NOW }
            }
            _ => Answer::NOW,
        };
        let Some(mounted) = mount(&server, script) else { return };
        let mut client = server.connect();
        assert_eq!(client.get("/slow/file-0", &[]).status, 500, "the first read fails");
        assert_eq!(client.get("/slow/file-1", &[]).status, 500, "opening fails");
        assert_eq!(client.head("/slow/file-0", &[]).status, 200, "nothing is read");
        assert_eq!(client.get("/slow/file-3", &[("Range", "bytes=-1")]).status, 500, "too short");
        for file in [2, 3] {
            let mut client = server.connect();
            let answer = client.get(&format!("/slow/file-{file}"), &[]);
            let mut right = vec![0; answer.body.len()];
            fill(file, 0, &mut right);
            assert!(answer.cut_off && answer.status == 200, "{file}");
            assert!((1..600_000).contains(&right.len()) && answer.body == right, "{file}");
        }
        assert_eq!(client.get("/slow/file-2", &[("Range", "bytes=0-9")]).status, 206);
        drop(server);
        drop(mounted);
    }
}
