//! MariaDB with InnoDB on kernel AIO: a load, `kill -9`, recovery, and an end in good order.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use syslet_dropin::report::{Kind, Way};

use crate::util::{Library, Report, command, count, finish, has, limit, scratch, wait};

/// Rows that are acknowledged before the server is killed.
const ROWS: usize = 300;

struct Server {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be over
        let _ = self.child.wait();
    }
}

fn set_up(folder: &Path) {
    let mut install = Command::new("mariadb-install-db");
    install.args(["--no-defaults", "--user=root", "--skip-test-db"]);
    install.arg("--auth-root-authentication-method=normal");
    install.arg(format!("--datadir={}", folder.join("data").display()));
    finish(&mut install).assert_good();
}

fn start(library: Library, folder: &Path, method: &str, report: &Report) -> Server {
    let (socket, log) = (folder.join("socket"), folder.join("log.err"));
    let mut server = command(library, "/usr/sbin/mariadbd");
    server.args(["--no-defaults", "--user=root", "--skip-networking", "--skip-grant-tables"]);
    server.args([
        "--innodb-linux-aio=aio",
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=8M",
    ]);
    server.arg(format!("--innodb-flush-method={method}"));
    server.arg(format!("--datadir={}", folder.join("data").display()));
    server.arg(format!("--socket={}", socket.display()));
    server.arg(format!("--pid-file={}", folder.join("pid").display()));
    server.arg(format!("--log-error={}", log.display()));
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = report.tell(&mut server).spawn().expect("the server starts");
    let mut server = Server { child, socket, log };
    let end = Instant::now() + limit();
    while query(&server, "SELECT 1").is_none() {
        let ended = server.child.try_wait().expect("it is our child");
        assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {}", log_of(&server));
        thread::sleep(Duration::from_millis(50)); // it says nowhere else that it is ready
    }
    server
}

fn log_of(server: &Server) -> String {
    std::fs::read_to_string(&server.log).unwrap_or_default()
}

fn client(server: &Server) -> Command {
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--batch", "--skip-column-names", "--unbuffered", "--user=root"]);
    client.arg(format!("--socket={}", server.socket.display()));
    client
}

/// What the server answers; nothing if it does not.
fn query(server: &Server, query: &str) -> Option<String> {
    let finished = finish(client(server).arg("--execute").arg(query));
    finished.status.success().then(|| finished.output.trim().to_owned())
}

/// Commits rows until enough are acknowledged, and kills the server while more are on their way; how many were
/// acknowledged.
fn load_and_kill(mut server: Server) -> usize {
    let made = "CREATE DATABASE t; CREATE TABLE t.t (id INT PRIMARY KEY, filler VARCHAR(4000)) ENGINE=InnoDB";
    query(&server, made).expect("the table can be made");
    let mut client = client(&server);
    client.arg("--force").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().expect("the client starts");
    let mut input = client.stdin.take().expect("piped");
    let writer = thread::spawn(move || {
        for id in 0..1_000_000 {
            let row = format!("INSERT INTO t.t VALUES ({id}, REPEAT('x', 3900)); SELECT {id};\n");
            if input.write_all(row.as_bytes()).is_err() {
                return;
            }
        }
    });
    let lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let acknowledged = lines.map_while(Result::ok).take(ROWS).count();
    server.child.kill().expect("it runs");
    server.child.wait().expect("it is our child");
    client.kill().expect("it is our child");
    client.wait().expect("it is our child");
    writer.join().expect("writing does not panic");
    acknowledged
}

/// Ends it in good order, which takes a thread out of io_getevents.
fn end(mut server: Server) {
    query(&server, "SHUTDOWN").expect("it is told");
    let status = wait(&mut server.child);
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", log_of(&server));
}

fn survives(library: Library, method: &str) {
    let folder = scratch();
    set_up(folder.path());
    let report = Report::new(folder.path());
    let server = start(library, folder.path(), method, &report);
    let log = log_of(&server);
    assert!(log.contains("Using Linux native AIO"), "{log}");
    assert_eq!(load_and_kill(server), ROWS);
    let server = start(library, folder.path(), method, &report);
    let rows = query(&server, "SELECT COUNT(*) FROM t.t").expect("it has recovered");
    assert!(rows.parse::<usize>().is_ok_and(|rows| rows >= ROWS), "{rows} of {ROWS} rows");
    let checked = query(&server, "CHECK TABLE t.t EXTENDED").expect("it answers");
    assert!(checked.contains("OK"), "{checked}");
    end(server);
    assert_counts(&report, library, method);
}

/// Of ours, that it was asked: past the cache by the kernel, else by itself.
fn assert_counts(report: &Report, library: Library, method: &str) {
    let summary = report.read();
    println!("{library:?} {method}:\n{summary}");
    let kinds = [Kind::Read, Kind::Readv, Kind::Write, Kind::Writev];
    let all = count(&summary, &kinds, None);
    let kernel = count(&summary, &kinds, Some(Way::Kernel));
    match (library, method) {
        (Library::System, _) => assert_eq!(all, 0, "{summary}"),
        // A table's file may be opened without it for a moment.
        (_, "O_DIRECT") => assert!(kernel > 20, "{summary}"),
        _ => assert!(all > 20 && kernel == 0, "{summary}"),
    }
}

#[test]
fn mariadb_recovers_what_it_has_acknowledged() {
    if !["mariadbd", "mariadb", "mariadb-install-db"].into_iter().all(|command| has(command)) {
        return;
    }
    for library in [Library::System, Library::Ours, Library::Attached] {
        survives(library, "O_DIRECT");
        // Buffered: all of its reads and writes are ours.
        survives(library, "fsync");
    }
}
