//! `syslet top`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::util::{assert_code, json, run, stderr, stdout, syslet};

/// Longer than anything takes here, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tells the program below how it is to publish: `api` or `environment`, or `not`.
const HOW: &str = "SYSLET_TEST_TOP";

/// The program that is looked at: this test binary, at [`program`].
struct Program(Child);

impl Program {
    fn start(how: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["top::program", "--exact", "--ignored", "--nocapture"])
            .env(HOW, how)
            .env_remove("SYSLET_STATS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if how == "environment" {
            command.env("SYSLET_STATS", "1");
        }
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.as_mut().unwrap());
        assert!(said.lines().any(|line| line.unwrap().ends_with("away now")), "it did not start");
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// What `top` says of it, once the call is seen.
    #[track_caller]
    fn seen_in(&self, name: &str) -> (Value, Value) {
        let end = Instant::now() + PATIENCE;
        loop {
            let output = run(["top", "--once", "--json", &self.pid()]);
            assert_code(&output, 0);
            let seen = json(&output);
            let there = |thread: &&Value| thread["call"]["name"] == name;
            if let Some(thread) = seen["crew"].as_array().unwrap().iter().find(there) {
                let thread = thread.clone();
                return (seen, thread);
            }
            assert!(Instant::now() < end, "{name} is not seen: {seen}");
        }
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
#[ignore = "is the program that the other tests look at"]
fn program() {
    let Ok(how) = std::env::var(HOW) else { return };
    if how == "api" {
        syslet::publish_stats().unwrap();
    }
    let _guard = syslet::attach().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\nb");
    let holder = std::fs::File::create(&path).unwrap();
    holder.lock().unwrap();
    let other = std::fs::File::open(&path).unwrap();
    let lock = syslet::threadlet(move || other.lock().unwrap());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let read = syslet::threadlet(move || reader.read(&mut [0; 16]).unwrap());
    println!("away now");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop((writer, holder));
    lock.join();
    assert_eq!(read.join(), 0);
}

#[test]
fn an_away_call_is_named_with_its_descriptor_and_how_long() {
    for how in ["api", "environment"] {
        let program = Program::start(how);
        let (seen, read) = program.seen_in("read");
        assert_eq!(seen["pid"], program.0.id());
        let descriptor = &read["call"]["descriptors"][0];
        let link = format!("/proc/{}/fd/{}", program.pid(), descriptor["number"]);
        let file = std::fs::read_link(link).unwrap();
        assert_eq!(descriptor["file"].as_str(), file.to_str());
        assert!(file.to_str().unwrap().starts_with("pipe:["), "{file:?}");
        assert_eq!(read["call"]["args"].as_array().unwrap().len(), 3);
        assert_eq!(read["call"]["args"][2], "0x10");

        let age = read["age_ns"].as_u64().unwrap();
        let began = Instant::now();
        thread::sleep(Duration::from_millis(50));
        let passed = began.elapsed().as_nanos() as u64;
        let (_, later) = program.seen_in("read");
        // Half of it, because the length of a tick is measured, and not well at first.
        assert!(later["age_ns"].as_u64().unwrap() >= age + passed / 2, "{read}, then {later}");
        assert_eq!(later["tid"], read["tid"]);
        program.end();
    }
}

#[test]
fn the_longest_away_comes_first() {
    let program = Program::start("api");
    program.seen_in("flock");
    let (seen, _) = program.seen_in("read");
    let crew = seen["crew"].as_array().unwrap();
    let names: Vec<_> = crew.iter().filter_map(|thread| thread["call"]["name"].as_str()).collect();
    assert_eq!(names, ["flock", "read"]);
    assert_eq!(crew[0]["call"]["descriptors"][0]["argument"], "fd");
    let pool = seen["guests"].as_array().unwrap().is_empty();
    assert_eq!(crew[0]["doing"], if pool { "job" } else { "away" });
    program.end();
}

#[test]
fn the_text_is_plain_lines_that_nothing_in_a_name_breaks() {
    let program = Program::start("api");
    program.seen_in("read");
    program.seen_in("flock");
    let output = run(["top", &program.pid()]);
    assert_code(&output, 0);
    let text = stdout(&output);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let lock = text.lines().find(|line| line.contains("flock")).unwrap();
    assert!(lock.contains("flock(fd ") && lock.ends_with("/a\\nb)"), "{lock:?}");
    let read = text.lines().find(|line| line.contains("read(fd ")).unwrap();
    assert!(read.contains(": pipe:["), "{read:?}");
    assert!(text.contains(&format!("process   {} ", program.pid())), "{text}");
    program.end();
}

#[test]
fn it_goes_on_until_the_program_ends_and_says_so() {
    for (args, last) in [(&[][..], "has ended"), (&["--json"], "\"pid\"")] {
        let mut program = Program::start("api");
        let pid = program.pid();
        let mut command = syslet();
        command.args(["top", "--interval", "0.1", &pid]).args(args);
        let mut top = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
        let mut pictures = 0;
        while pictures < 3 {
            let line = lines.next().unwrap().unwrap();
            pictures += usize::from(line.starts_with("process ") || line.starts_with("{\"pid\""));
        }
        program.0.kill().unwrap();
        program.0.wait().unwrap();
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        let status = top.wait_with_output().unwrap();
        assert_code(&status, 0);
        assert_eq!(stderr(&status), "");
        // In JSON there may be none after the third.
        let end = rest.last().map_or(last, |line| line);
        assert!(end.contains(last), "{end}");
    }
}

#[test]
fn on_a_terminal_it_draws_over_what_was_there() {
    let program = Program::start("api");
    let line = format!("{} top --interval 0.1 {}", env!("CARGO_BIN_EXE_syslet"), program.pid());
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("script (of bsdutils) is there");
    let mut terminal = script.stdout.take().unwrap();
    let mut text = Vec::new();
    let pictures =
        |text: &[u8]| text.windows(11).filter(|part| *part == b"\x1b[Hprocess ".as_slice()).count();
    while pictures(&text) < 2 {
        let mut part = [0; 4096];
        let read = terminal.read(&mut part).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
        text.extend(&part[..read]);
    }
    program.end();
    terminal.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.trim_end().ends_with("has ended"), "{text}");
    assert!(script.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let program = Program::start("api");
    let mut command = syslet();
    command.args(["top", "--interval", "0.1", &program.pid()]);
    let mut top = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(top.stdout.take());
    let output = top.wait_with_output().unwrap();
    assert_code(&output, 0);
    assert_eq!(stderr(&output), "");
    program.end();
}

#[test]
fn a_program_that_publishes_nothing_is_told_from_none() {
    let program = Program::start("not");
    let output = run(["top", "--once", &program.pid()]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("SYSLET_STATS=1"), "{}", stderr(&output));
    let pid = program.pid();
    program.end();
    let output = run(["top", &pid]);
    assert_code(&output, 2);
    assert_eq!(stderr(&output), format!("syslet: there is no process {pid}\n"));
}

#[test]
fn a_stopped_program_is_said_not_to_answer() {
    let program = Program::start("api");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &program.pid()]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    let output = run(["top", "--once", &program.pid()]);
    signal("-CONT");
    assert_code(&output, 2);
    assert!(stderr(&output).contains("does not answer"), "{}", stderr(&output));
    program.seen_in("read");
    program.end();
}
