use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use syslet_tokio::{net, process};

use crate::util::{current_thread, on_worker};

#[test]
fn names_are_looked_up_as_by_tokio() {
    on_worker(1, async {
        let borrowed = String::from("localhost:80");
        let ours: Vec<_> = net::lookup_host(&borrowed[..]).await.expect("it is known").collect();
        let theirs: Vec<_> = tokio::net::lookup_host(&borrowed[..]).await.unwrap().collect();
        assert!(!ours.is_empty());
        assert_eq!(ours, theirs);
        let two = [SocketAddr::from(([1, 2, 3, 4], 5)), SocketAddr::from(([5, 6, 7, 8], 9))];
        let same: Vec<_> = net::lookup_host(&two[..]).await.unwrap().collect();
        assert_eq!(same, two);
        let one: Vec<_> = net::lookup_host((Ipv4Addr::LOCALHOST, 7)).await.unwrap().collect();
        assert_eq!(one, [SocketAddr::from((Ipv4Addr::LOCALHOST, 7))]);
        assert!(net::lookup_host("no port").await.is_err());
        assert!(net::lookup_host(("name.invalid", 1)).await.is_err());
    });
}

#[test]
fn children_are_waited_for() {
    let body = || async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        // `cat` ends because its input is closed.
        assert!(process::wait(&mut child).await?.success());
        assert!(process::wait(&mut child).await?.success(), "the status stays");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = process::output(shell).await?;
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        assert!(!process::status(Command::new("false")).await?.success());
        assert!(process::status(Command::new("/nonexistent")).await.is_err());
        std::io::Result::Ok(())
    };
    on_worker(1, body()).expect("children can be waited for");
    current_thread().block_on(body()).expect("children can be waited for");
}
