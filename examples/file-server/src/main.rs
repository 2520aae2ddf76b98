//! Serves the files of a directory over HTTP, on the address that is given, until it is interrupted or told to end.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use file_server::{Config, Files, runtime, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves the files of a directory over HTTP.
#[derive(Debug, Parser)]
#[command(name = "file-server")]
struct Cli {
    /// The directory
    root: PathBuf,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How files are opened and read
    #[arg(long, value_enum, default_value_t = Files::SysletFs)]
    files: Files,
    /// Threads that serve
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    workers: usize,
    /// Do not tell failures on standard error
    #[arg(long)]
    quiet: bool,
    /// Seconds that requests may take once the server is told to end
    #[arg(long, default_value_t = 10)]
    grace: u64,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("file-server: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let Cli { root, listen, files, workers, quiet, grace } = cli;
    let config = Config { root, files, quiet, grace: Duration::from_secs(grace) };
    let runtime = runtime(files, workers.max(1))?;
    // As a task: on the main thread, which is not attached, files would go the longer way.
    runtime.block_on(runtime.spawn(async move {
        let (mut end, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = TcpListener::bind(listen).await?;
        println!("listening on {}", listener.local_addr()?);
        serve(listener, config, async move {
            tokio::select! {
                _ = end.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
    }))??;
    Ok(())
}
