//! The event queue beside epoll.

use std::process::Command;

use serde_json::Value;

use super::{bench, check_machine, faults, json, remark, rows, skipped, ways};

#[test]
fn kevent_measures_events_timers_idling_and_servers() {
    if skipped() {
        return;
    }
    let object = json(&["kevent"]);
    check_machine(&object);
    for work in ["events_told", "events_written_told_read"] {
        assert_eq!(ways(&rows(&object, work)), ["epoll-et", "kevent-et"]);
    }
    assert_eq!(ways(&rows(&object, "timers_added")), ["kevent"]);
    assert_eq!(ways(&rows(&object, "idle_per_second")), ["kevent"]);
    let servers = rows(&object, "server");
    assert_eq!(ways(&servers), ["epoll", "kevent", "calls", "threadlets"]);
    assert!(servers.iter().all(|row| row["per_second"].as_f64().is_some_and(|rate| rate > 0.0)));
    assert!(servers.iter().all(|row| !remark(row).contains("left out")), "{servers:?}");
    assert_eq!(
        faults(&object).count(),
        0,
        "who watches what does not depend on the load: {object}"
    );
}

#[test]
fn kevent_says_which_servers_are_left_out_of_many_connections() {
    let many = ["kevent", "--work", "server", "--connections", "1001", "--active", "1"];
    let object = json(&[&many[..], &["--way", "threadlets", "--way", "epoll"]].concat());
    let servers = rows(&object, "server");
    assert_eq!(ways(&servers), ["epoll"]);
    let why = "threadlets are left out: a thread for each connection, 1000 at most";
    assert_eq!(remark(servers[0]), why);
    // And when nobody is left.
    let output = bench(&[&many[..], &["--way", "threadlets", "--quick"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
}

#[test]
fn kevent_keeps_what_it_has_when_a_work_fails() {
    if skipped() {
        return;
    }
    let works = ["--work", "events", "--work", "timers", "--quick", "--json"];
    // As many descriptors as timers need, and not the sockets of the events.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_bench"),
        "kevent",
    ]);
    let output = command.args(works).output().expect("there is a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(ways(&rows(&object, "timers_added")), ["kevent"]);
    assert!(rows(&object, "events_told").is_empty());
    let fault = object["faults"][0].as_str().expect("a fault");
    assert!(fault.starts_with("work events failed: ") && errors.contains(fault), "{errors}");
}

#[test]
fn kevent_compares_servers_with_epoll_only() {
    if skipped() {
        return;
    }
    let few = ["kevent", "--work", "server", "--connections", "10"];
    let object = json(&[&few[..], &["--way", "kevent", "--way", "epoll"]].concat());
    let servers = rows(&object, "server");
    assert_eq!(ways(&servers), ["epoll", "kevent"]);
    assert_eq!(remark(servers[0]), "");
    assert!(remark(servers[1]).ends_with(" of epoll's requests a second"), "{servers:?}");
    let object = json(&[&few[..], &["--way", "kevent", "--way", "calls"]].concat());
    let servers = rows(&object, "server");
    assert_eq!(ways(&servers), ["kevent", "calls"]);
    assert!(servers.iter().all(|row| remark(row).is_empty()), "{servers:?}");
}
