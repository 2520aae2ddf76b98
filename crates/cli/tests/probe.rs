//! `syslet probe`.

use crate::util::{assert_code, json, run, stdout, syslet};

#[test]
fn probe_says_which_mechanism_and_kernel() {
    let output = run(["probe", "--json"]);
    assert_code(&output, 0);
    let found = json(&output);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel"], release.trim());
    assert!(found["cpus"].as_u64().unwrap() >= 1);
    let calls = found["calls"].as_array().unwrap().iter();
    let calls: Vec<_> = calls.map(|call| call["call"].as_str().unwrap()).collect();
    assert_eq!(calls, ["io_setup", "close_range", "pidfd_getfd", "kcmp"]);
    // One or the other, and why not the ring.
    match found["cold_reads"].as_str().unwrap() {
        "io_uring" => assert!(found["no_ring"].is_null()),
        "crew" => assert!(!found["no_ring"].as_str().unwrap().is_empty()),
        other => panic!("{other}"),
    }
    match found["mechanism"].as_str().unwrap() {
        "attached" => {
            assert!(found["reason"].is_null());
            assert!(found["inline"]["threadlet_ns"].as_f64().unwrap() > 0.0);
            let handoff = &found["handoff"];
            let at = |quantile: &str| handoff[quantile].as_u64().unwrap();
            assert!(at("p50_ns") > 0 && at("p50_ns") <= at("p90_ns"));
            assert!(at("p90_ns") <= at("p99_ns"));
        }
        "pool" => assert!(!found["reason"].as_str().unwrap().is_empty()),
        other => panic!("{other}"),
    }
}

#[test]
fn forced_pool_is_named_as_the_reason() {
    let output = syslet().arg("probe").env("SYSLET_FORCE_POOL", "1").output().unwrap();
    assert_code(&output, 0);
    assert!(stdout(&output).contains("pool, because SYSLET_FORCE_POOL=1 is set"));
}
