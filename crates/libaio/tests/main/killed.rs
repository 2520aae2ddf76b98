//! fio is killed while it writes blocks of many sizes; those that it had synced are there. Both drop-ins' suites have
//! this. `SYSLET_SOAK_SECONDS` makes it longer, `SYSLET_SOAK_SEED` another.
//!
//! What is checked here are the blocks of a job that was over, and synced as a whole, before the others were killed.
//! That every single block is there whose sync was acknowledged, `tests/c/soak.c` claims and checks: fio keeps no such
//! record when it is killed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long fio may take until its first file is synced.
const LIMIT: Duration = Duration::from_secs(60);

/// What the client does and the check repeats: the same seed means the same blocks.
fn job(fio: &mut Command, folder: &Path, seed: u64) {
    fio.args(["--thread", "--rw=randwrite", "--bsrange=512-64k", "--verify=crc32c"]);
    fio.args(["--verify_state_save=0", "--verify_fatal=1", "--output-format=terse"]);
    fio.arg(format!("--randseed={seed}")).arg(format!("--directory={}", folder.display()));
    fio.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(folder);
}

/// Runs clients made by `fio`, which has the library in front, and kills each.
pub(crate) fn soak(engine: &str, folder: &Path, fio: impl Fn() -> Command) {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let end = Duration::from_secs(setting("SYSLET_SOAK_SECONDS").unwrap_or(2));
    let first = setting("SYSLET_SOAK_SEED").unwrap_or(7);
    let begun = Instant::now();
    let mut killed = 0;
    while killed == 0 || begun.elapsed() < end {
        let seed = first + killed;
        let over = folder.join(format!("over-{seed}"));
        // One job is over when its file is synced, and then forks; the others go on until they are killed.
        let mut client = fio();
        client.arg(format!("--ioengine={engine}")).args(["--iodepth=16", "--do_verify=0"]);
        job(&mut client, folder, seed);
        client.args(["--name=synced", "--size=4m", "--fsync=8", "--end_fsync=1"]);
        client.arg(format!("--exec_postrun=touch {}", over.display()));
        client.args(["--name=others", "--numjobs=2", "--size=64m", "--fsync=32"]);
        client.args(["--time_based", "--runtime=600"]);
        kill_after(&mut client, &over, Duration::from_millis(seed * 37 % 100));
        check(folder, seed);
        killed += 1;
    }
    println!("{engine}: {killed} clients killed");
}

/// Starts a client, and kills it some time after the file `over` was made.
fn kill_after(client: &mut Command, over: &Path, more: Duration) {
    let mut child = client.spawn().expect("fio can be started");
    let began = Instant::now();
    while !over.exists() {
        let status = child.try_wait().expect("it is our child");
        if status.is_some() || began.elapsed() > LIMIT {
            let _ = child.kill(); // it may be over
            panic!("nothing was synced: {status:?}\n{}", said(child));
        }
        thread::sleep(Duration::from_millis(1)); // there is no wait for a file with a deadline
    }
    thread::sleep(more); // at any time
    child.kill().expect("it is our child");
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(output.status.signal(), Some(9), "it has ended by itself: {}", text(&output));
}

/// Reads the blocks of the job that was over, without the library.
fn check(folder: &Path, seed: u64) {
    let mut check = Command::new("fio");
    check.args(["--ioengine=psync", "--verify_only=1"]);
    job(&mut check, folder, seed);
    let output = check.args(["--name=synced", "--size=4m"]).output().expect("fio can be started");
    assert!(output.status.success(), "a synced block is lost: {}", text(&output));
}

fn said(child: Child) -> String {
    child.wait_with_output().map_or_else(|error| error.to_string(), |output| text(&output))
}

fn text(output: &Output) -> String {
    let [said, told] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{said}{told}", output.status)
}
