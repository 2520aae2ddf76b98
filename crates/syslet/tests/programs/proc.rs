//! What /proc says of threads and processes.

use std::fs;

/// The ids of all kernel threads of this process.
pub(crate) fn threads() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Field `field` of the status of a thread of this process, `None` if it has ended.
pub(crate) fn field(tid: i32, field: &str) -> Option<String> {
    field_of(&format!("/proc/self/task/{tid}/status"), field)
}

/// Field `field` of the status of process `pid`, `None` if it has ended.
pub(crate) fn process_field(pid: i32, field: &str) -> Option<String> {
    field_of(&format!("/proc/{pid}/status"), field)
}

fn field_of(path: &str, field: &str) -> Option<String> {
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// True if a signal is pending for process `pid`, or for one of its threads.
pub(crate) fn is_pending(pid: i32, signal: i32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let has = |path: &str, field| {
        let set = field_of(path, field).and_then(|set| u64::from_str_radix(&set, 16).ok());
        set.is_some_and(|set| set & 1 << (signal - 1) != 0)
    };
    let paths = tasks.map(|task| format!("{}/status", task.path().display()));
    paths.into_iter().any(|path| has(&path, "SigPnd") || has(&path, "ShdPnd"))
}

/// The sentinels of process `pid`: children of any of its threads with that name.
pub(crate) fn sentinels_of(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| process_field(*id, "Name").as_deref() == Some("syslet-sentinel"))
        .filter(|id| process_field(*id, "PPid").as_deref() == Some(pid.to_string().as_str()))
        .collect()
}

/// True if process `pid` lives: is there and no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    process_field(pid, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}
