//! The examples in C, compiled against the installed tree.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::util::{Linked, compile, folder, in_way};

/// They attach as most programs do, without settings: none of them is pinned.
const WAYS: [&str; 2] = ["follow", "pool"];

fn example(name: &str) -> PathBuf {
    compile(&xtask::source().join("examples").join(name), Linked::Shared)
}

/// Files of a tree with their contents, by their path in it.
fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("it is in the tree").to_owned();
                found.push((name, fs::read(path).expect("a file can be read")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn copytree_copies_a_tree() {
    let (from, to) = (folder().join("copy-from"), folder().join("copy-to"));
    let _ = fs::remove_dir_all(&from);
    for number in 0..200 {
        let place = from.join(format!("a{}/b{}", number % 7, number % 3));
        fs::create_dir_all(&place).expect("a folder can be made");
        let text: Vec<u8> = (0..number * number * 7).map(|n: usize| (n % 251) as u8).collect();
        fs::write(place.join(format!("file{number}")), text).expect("a file can be written");
    }
    let program = example("copytree.c");
    for way in WAYS {
        let _ = fs::remove_dir_all(&to);
        let mut copy = Command::new(&program);
        in_way(&mut copy, way);
        let status = copy.arg(&from).arg(&to).status().expect("it can be run");
        assert_eq!(status.code(), Some(0));
        assert!(contents(&from) == contents(&to), "the copy differs");
        let mut missing = Command::new(&program);
        in_way(&mut missing, way);
        let output = missing.arg(from.join("no")).arg(&to).output().expect("it can be run");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// A server that is ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, way: &str, root: &Path) -> Self {
        let mut command = Command::new(program);
        in_way(&mut command, way);
        let child = command.arg("0").arg(root).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it can be run");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().rsplit(' ').next().expect("the last word").to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("it listens")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(mut stream: &TcpStream, path: &str) -> Vec<u8> {
    write!(stream, "GET /{path} HTTP/1.0\r\n\r\n").expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    answer
}

fn serves(name: &str) {
    let root = folder().join(format!("web-{name}"));
    fs::create_dir_all(&root).expect("a folder can be made");
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 249) as u8).collect();
    fs::write(root.join("small"), "small").expect("a file can be written");
    fs::write(root.join("large"), &large).expect("a file can be written");
    let program = example(name);
    for way in WAYS {
        let server = Server::start(&program, way, &root);
        // Those that say nothing hold nobody up.
        let silent: Vec<_> = (0..50).map(|_| server.connect()).collect();
        let mut halting = server.connect();
        write!(halting, "GET /sm").expect("it listens");
        for _ in 0..20 {
            let answer = ask(&server.connect(), "small");
            assert_eq!(answer, b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nsmall");
        }
        let answer = ask(&server.connect(), "large");
        assert!(answer.ends_with(&large), "the large file is not as it was");
        for path in ["missing", "", "../small", "/etc/passwd"] {
            assert!(ask(&server.connect(), path).starts_with(b"HTTP/1.0 404"), "{path}");
        }
        for stream in &silent {
            assert!(ask(stream, "small").ends_with(b"small"));
        }
        write!(halting, "all HTTP/1.0\r\n\r\n").expect("it listens");
        let mut answer = String::new();
        halting.read_to_string(&mut answer).expect("it answers");
        assert!(answer.ends_with("\r\n\r\nsmall"), "{answer}");
    }
}

#[test]
fn webthreadlet_answers_those_who_ask_while_others_are_silent() {
    serves("webthreadlet.c");
    let source = fs::read_to_string(xtask::source().join("examples/webthreadlet.c"));
    let shared = fs::read_to_string(xtask::source().join("examples/web.h"));
    let lines = |text: std::io::Result<String>| text.expect("it is there").lines().count();
    assert!(lines(source) + lines(shared) < 200, "it is meant to be short");
}

#[test]
fn webepoll_does_the_same() {
    serves("webepoll.c");
}

#[test]
fn webkevent_does_the_same() {
    serves("webkevent.c");
}

#[test]
fn the_program_in_the_readme_reads_a_line() {
    let readme = fs::read_to_string(xtask::source().join("../../README.md")).expect("it is there");
    let program = readme.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```"));
    let source = folder().join("readme.c");
    fs::write(&source, program.expect("it has a C program").0).expect("a file can be written");
    let program = compile(&source, Linked::Shared);
    for way in WAYS {
        let mut command = Command::new(&program);
        in_way(&mut command, way);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it can be run");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(b"a line\n").expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout.ends_with(b"7 bytes\n"), "{output:?}");
    }
}

#[test]
fn the_costs_can_be_measured() {
    let mut cost = Command::new(example("cost.c"));
    in_way(&mut cost, "follow");
    let output = cost.arg("10").output().expect("it can be run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6);
}
