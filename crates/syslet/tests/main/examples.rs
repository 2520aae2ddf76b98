//! The examples do what they say.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::util::temp::Folder;

/// Builds an example, in the way and the place that this test was built, and says where it is.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a file");
    let folder = test.ancestors().nth(2).expect("tests are in `deps`");
    let above = folder.parent().expect("a profile has a folder of its own");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "syslet", "--example", name]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let target = above.file_name().and_then(OsStr::to_str);
    let target = target.filter(|name| name.starts_with(std::env::consts::ARCH));
    build.arg("--target-dir");
    // Cargo may have been told a path that is relative to where *it* was started.
    match target {
        Some(name) => {
            build.arg(above.parent().expect("a target is in a folder")).args(["--target", name])
        }
        None => build.arg(above),
    };
    assert!(build.status().expect("cargo can be run").success(), "the example can be built");
    folder.join("examples").join(name)
}

#[test]
fn cat_writes_all_files_and_names_those_that_it_cannot_read() {
    let folder = Folder::new();
    let long: Vec<u8> = (0..300_001u32).map(|n| (n % 249) as u8).collect();
    std::fs::write(folder.at("short"), "short\n").expect("a file can be written");
    std::fs::write(folder.at("long"), &long).expect("a file can be written");
    let mut cat = Command::new(example("cat"));
    let files = ["short", "missing", "long", "short"].map(|name| folder.at(name));
    let output = cat.args(&files).output().expect("it can be run");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, [b"short\n", &long[..], b"short\n"].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.lines().count() == 1 && told.contains("missing"), "{told}");
    let output = Command::new(example("cat")).arg("/dev/null").output().expect("it can be run");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

/// A child that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn echo_answers_many_clients_at_a_time() {
    let mut echo = Command::new(example("echo"));
    let child = echo.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn();
    let mut server = Server(child.expect("it can be run"));
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
    let address = line.trim().rsplit(' ').next().expect("the last word");
    let clients: Vec<_> =
        (0..50).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    for (number, mut client) in clients.iter().enumerate() {
        let text = format!("{number}").repeat(5000);
        let write = text.clone();
        let mut writer = client.try_clone().expect("it can be cloned");
        let writing = std::thread::spawn(move || {
            writer.write_all(write.as_bytes())?;
            writer.shutdown(Shutdown::Write)
        });
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("it answers until we stop");
        assert!(heard == text, "client {number} heard something else");
        writing.join().expect("writing does not panic").expect("it listens");
    }
}
