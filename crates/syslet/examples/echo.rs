//! Sends back what it receives, to any number of clients, on one thread:
//! `cargo run --example echo -- 127.0.0.1:7777`

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::LocalSpawnExt;
use syslet::net::{accept, recv, send_all};

/// Bytes that are received at a time.
const PIECE: usize = 4096;

async fn echo(stream: TcpStream) -> io::Result<()> {
    // Shared, a waiting operation needs no descriptor of its own.
    let stream = Arc::new(stream);
    let mut buf = vec![0; PIECE];
    loop {
        let (count, mut piece) = recv(&stream, buf).await;
        piece.truncate(count?);
        if piece.is_empty() {
            return Ok(());
        }
        let (sent, mut back) = send_all(&stream, piece).await;
        sent?;
        back.resize(PIECE, 0);
        buf = back;
    }
}

async fn serve(listener: TcpListener, spawner: LocalSpawner) -> Result<(), Box<dyn Error>> {
    let listener = Arc::new(listener);
    loop {
        let (stream, peer) = accept(&listener).await?;
        spawner.spawn_local(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("echo: {peer}: {error}");
            }
        })?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    syslet::with_attached(|| {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        pool.run_until(serve(listener, spawner))
    })?
}
