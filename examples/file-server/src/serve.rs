//! Connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::files::Files;
use crate::respond::Responder;
use crate::root::Root;

/// How long a client may take for the head of a request, and rest between two.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause after a connection could not be accepted: for want of descriptors, it cannot be at once.
const BREATH: Duration = Duration::from_millis(20);

/// What is served, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory.
    pub root: PathBuf,
    /// The way to files.
    pub files: Files,
    /// Failures are not told on standard error.
    pub quiet: bool,
    /// How long what is being answered when the server is told to end may take.
    pub grace: Duration,
}

/// A runtime for the server, with so many workers. Where the library does the work they are attached when
/// they start.
///
/// # Errors
///
/// If it cannot be built.
pub fn runtime(files: Files, workers: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all();
    if files.is_syslet() {
        builder.on_thread_start(syslet_tokio::on_thread_start(|| {}));
    }
    builder.build()
}

/// Serves until `shutdown` is ready. Then nothing more is accepted, what has begun is answered, and
/// connections are closed.
///
/// # Errors
///
/// If the root is no directory.
///
/// # Cancellation
///
/// Dropping the future closes all connections.
pub async fn serve<F>(listener: TcpListener, config: Config, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()>,
{
    let Config { root, files, quiet, grace } = config;
    let responder = Responder { root: Arc::new(Root::new(&root)?), files, quiet };
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, responder.clone(), ended.clone()));
            }
            Err(error) => {
                eprintln!("file-server: accepting a connection failed: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    drop(ending);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(grace, all).await; // who takes longer is cut off
    Ok(())
}

/// Serves a connection until it ends. That a client hangs up or sends nonsense is its own affair.
async fn connection(stream: TcpStream, responder: Responder, mut ended: watch::Receiver<()>) {
    let _ = stream.set_nodelay(true); // slower without, not wrong
    let quiet = responder.quiet;
    let service = service_fn(move |request| {
        let responder = responder.clone();
        async move { Ok::<_, Infallible>(responder.respond(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let over = tokio::select! {
        over = &mut connection => over,
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = over
        && error.is_user()
        && !quiet
    {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        eprintln!("file-server: a body was cut off: {}", cause.unwrap_or_default());
    }
}
