//! Decodes a compressed file in a task. The work computes, for tens of milliseconds at a time; the other
//! tasks of the only worker go on, because a closure that computes leaves its worker after half a millisecond.
//!
//! `cargo run --release -p syslet-tokio --example decode -- FILE.gz`

use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use syslet_tokio::{fs, unblock};

/// Bytes that are decoded in one closure.
const PIECE: usize = 16 << 20;

/// Length of what is in the file.
async fn decoded_length(path: String) -> io::Result<u64> {
    let mut decoder = MultiGzDecoder::new(io::Cursor::new(fs::read(&path).await?));
    let mut length = 0;
    loop {
        // The decoder goes with the closure, and comes back.
        let (back, count) = unblock(move || {
            let mut piece = vec![0; PIECE];
            let mut filled = 0;
            while filled < PIECE {
                match decoder.read(&mut piece[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            io::Result::Ok((decoder, filled))
        })
        .await??;
        decoder = back;
        length += count as u64;
        if count < PIECE {
            return Ok(length);
        }
    }
}

async fn tick(ticks: Arc<AtomicU64>) {
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        ticks.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: decode FILE.gz");
        return ExitCode::from(2);
    };
    let run = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build()?;
        let ticks = Arc::new(AtomicU64::new(0));
        runtime.spawn(tick(Arc::clone(&ticks)));
        let length = runtime.block_on(runtime.spawn(decoded_length(path)))??;
        io::Result::Ok((length, ticks.load(Ordering::Relaxed)))
    };
    match run() {
        Ok((length, ticks)) => println!("{length} bytes; {ticks} ticks of another task meanwhile"),
        Err(error) => {
            eprintln!("decode: {error}");
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
