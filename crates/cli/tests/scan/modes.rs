//! The ways of working agree.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use syslet_testfs::{Answer, File, TestFs, skip};

use crate::util::{MODES, Tree, assert_code, json, sorted, stdout, syslet};

/// What must not depend on the way of working.
fn facts(found: &Value) -> Vec<Value> {
    let keys = "entries files directories symlinks others bytes hashed bytes_read errors";
    keys.split(' ').map(|key| found[key].clone()).collect()
}

#[test]
fn modes_and_job_counts_agree() {
    let tree = Tree::sample();
    for read in [true, false] {
        let mut all = Vec::new();
        for mode in MODES {
            for jobs in ["1", "3", "64"].into_iter().filter(|n| mode != "sync" || *n == "1") {
                let mut scan = syslet();
                scan.args(["scan", "--json", "--mode", mode, "--jobs", jobs]);
                scan.args((!read).then_some("--no-read"));
                let output = scan.arg(tree.path()).output().unwrap();
                assert_code(&output, 0);
                let found = json(&output);
                assert_eq!(found["mode"], mode);
                assert_eq!(found["bytes"], tree.bytes());
                assert_eq!(found["files"], tree.files.len());
                assert_eq!(found["bytes_read"], if read { tree.bytes() } else { 0 });
                assert_eq!(found["calls"].is_object(), mode == "syslet");
                all.push(facts(&found));
            }
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
    }
}

#[test]
fn forced_pool_finds_the_same() {
    let tree = Tree::sample();
    for jobs in ["1", "16"] {
        let mut scan = syslet();
        scan.args(["scan", "--jobs", jobs, "--manifest", "-"]).env("SYSLET_FORCE_POOL", "1");
        let output = scan.arg(tree.path()).output().unwrap();
        assert_code(&output, 0);
        assert_eq!(sorted(stdout(&output)), tree.manifest());
    }
}

#[test]
fn forced_pool_says_so() {
    let tree = Tree::new();
    let mut scan = syslet();
    scan.args(["scan", "--json"]).env("SYSLET_FORCE_POOL", "1");
    let found = json(&scan.arg(tree.path()).output().unwrap());
    assert_eq!(found["calls"]["mechanism"], "pool: SYSLET_FORCE_POOL=1 is set");
}

/// Of files whose reads are held so many are being read, and no more as long as they are held.
#[test]
fn jobs_bound_what_is_in_flight() {
    const FILES: usize = 12;
    let tree = Tree::new();
    let file = |at: usize| File { name: at.to_string(), size: 4096 };
    let files = (0..FILES).map(file).collect();
    let mounted = match TestFs::mount(tree.path(), files, |_| Answer::NOW) {
        Ok(mounted) => mounted,
        Err(error) => return skip(&format!("FUSE cannot be used here: {error}")),
    };
    for mode in ["syslet", "pool"] {
        for jobs in [1, 3] {
            mounted.hold();
            let mut scan = syslet();
            scan.args(["scan", "--json", "--mode", mode, "--jobs", &jobs.to_string()]);
            scan.arg(mounted.path()).stdout(Stdio::piped());
            let scan = scan.spawn().unwrap();
            let begun = Instant::now();
            while mounted.held() < jobs && begun.elapsed() < Duration::from_secs(60) {
                sleep(Duration::from_millis(1)); // looks again now and then
            }
            // One more than may be would come now.
            sleep(Duration::from_millis(100));
            let held = mounted.held();
            mounted.let_go();
            let found = json(&scan.wait_with_output().unwrap());
            assert_eq!(held, jobs, "{mode}");
            assert_eq!((&found["jobs"], &found["errors"]), (&jobs.into(), &0.into()));
            assert_eq!(found["hashed"], FILES);
        }
    }
}

#[test]
fn every_unit_is_done_once() {
    let tree = Tree::sample();
    let found = json(&syslet().args(["scan", "--json"]).arg(tree.path()).output().unwrap());
    let units = found["calls"]["units"].as_u64().unwrap();
    assert_eq!(units, 105 + 9, "a unit for each file and directory: {found}");
}
