use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::util::Folder;

/// Builds an example as this test was built, and says where it is.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a file");
    let folder = test.ancestors().nth(2).expect("tests are in `deps`");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--package",
        "syslet-tokio",
        "--example",
        name,
        "--target-dir",
    ]);
    build.arg(folder.parent().expect("a profile has a folder of its own"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo can be run").success(), "the example can be built");
    folder.join("examples").join(name)
}

#[test]
fn decode_says_the_length_and_starves_nobody() {
    let folder = Folder::new();
    let path = folder.at("file.gz");
    let file = std::fs::File::create(&path).expect("it can be made");
    let mut encoder = GzEncoder::new(file, Compression::fast());
    // In a debug build, half a second's work.
    let length = 20_000_003;
    let bytes: Vec<u8> = (0..length).map(|at: u32| (at / 7 % 251) as u8).collect();
    encoder.write_all(&bytes).and_then(|()| encoder.finish().map(drop)).expect("it can be written");
    let output = Command::new(example("decode")).arg(&path).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with(&format!("{length} bytes; ")), "{text}");
    let ticks = text.split(' ').nth(2).and_then(|ticks| ticks.parse::<u32>().ok());
    // Whether the closure is inline or in the pool, the only worker is free.
    assert!(ticks.is_some_and(|ticks| ticks >= 5), "the other task was starved: {text}");
    let missing = Command::new(example("decode")).arg(folder.at("none")).output();
    assert_eq!(missing.expect("it can be run").status.code(), Some(1));
}

/// The service, ended with the test.
struct Notes {
    child: Child,
    address: String,
}

impl Notes {
    fn start(database: &std::path::Path) -> Self {
        let mut command = Command::new(example("notes"));
        command.arg("127.0.0.1:0").arg(database).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be run");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request, and says what came: the status, and the body.
fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (status.expect("a status"), body.to_owned())
}

#[test]
fn notes_are_read_while_writers_wait_for_a_lock() {
    let folder = Folder::new();
    let database = folder.at("notes.db");
    let notes = Notes::start(&database);
    let address = notes.address.as_str();
    assert_eq!(ask(address, "POST", "/notes", "first"), (200, "1\n".to_owned()));
    assert_eq!(ask(address, "GET", "/notes/1", ""), (200, "first".to_owned()));
    assert_eq!(ask(address, "GET", "/notes/2", ""), (404, "there is no note 2\n".to_owned()));
    let lock = rusqlite::Connection::open(&database).expect("it is there");
    lock.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    // More than there are workers.
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let address = notes.address.clone();
            thread::spawn(move || ask(&address, "POST", "/notes", "later").0)
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(ask(address, "GET", "/notes/1", "").0, 200);
    }
    assert!(writers.iter().all(|writer| !writer.is_finished()), "a writer has not waited");
    lock.execute_batch("COMMIT").expect("the lock can be given up");
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().ok()).collect();
    assert_eq!(answers, [Some(200); 6]);
    let (_, counts) = ask(address, "GET", "/inline", "");
    let inline = counts.split(' ').next().and_then(|count| count.parse::<u64>().ok());
    if std::env::var_os("SYSLET_FORCE_POOL").is_none() {
        // Of more than fifty. On a busy machine some lose their CPU for so long that they are handed off.
        assert!(inline.is_some_and(|inline| inline >= 20), "cached queries are inline: {counts}");
    }
}
