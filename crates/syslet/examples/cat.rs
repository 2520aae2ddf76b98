//! Writes files to standard output, one after the other: `cargo run --example cat -- FILE...`
//!
//! All files are opened at once, and the next piece of a file is read while the last one is written.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use syslet::fs::File;

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

async fn copy(from: &File, to: &File) -> io::Result<()> {
    let mut reading = from.read(vec![0; PIECE]);
    loop {
        let (count, mut piece) = reading.await;
        piece.truncate(count?);
        if piece.is_empty() {
            return Ok(());
        }
        reading = from.read(vec![0; PIECE]);
        to.write_all(piece).await.0?;
    }
}

async fn cat(paths: Vec<String>) -> bool {
    let output = match io::stdout().as_fd().try_clone_to_owned() {
        Ok(descriptor) => File::from(descriptor),
        Err(error) => {
            eprintln!("cat: standard output: {error}");
            return false;
        }
    };
    let opening: Vec<_> = paths.iter().map(File::open).collect();
    let mut fine = true;
    for (path, opening) in paths.iter().zip(opening) {
        let copied = match opening.await {
            Ok(file) => copy(&file, &output).await,
            Err(error) => Err(error),
        };
        if let Err(error) = copied {
            eprintln!("cat: {path}: {error}");
            fine = false;
        }
    }
    fine
}

fn main() -> ExitCode {
    let paths = std::env::args().skip(1).collect();
    match syslet::with_attached(|| futures_executor::block_on(cat(paths))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cat: {error}");
            ExitCode::FAILURE
        }
    }
}
