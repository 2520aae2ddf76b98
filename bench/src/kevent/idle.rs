//! Ten thousand connections on which nothing happens: what CPU time that takes.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use syslet_kevent::{Flags, Queue, Source};

use super::too_few;
use crate::cost::Sentinels;
use crate::error::Trouble;
use crate::onlooker::watched_here;
use crate::options::KeventOptions;
use crate::report::Row;
use crate::samples::Samples;

pub(super) fn run(options: &KeventOptions) -> Result<Vec<Row>, Trouble> {
    let trouble = |error: io::Error| Trouble::Work("idle", error);
    let queue = Queue::new().map_err(trouble)?;
    let mut sockets = Vec::new();
    // Each side of a pair is a connection.
    while sockets.len() < options.idle() {
        let (one, other) = UnixStream::pair().map_err(trouble)?;
        sockets.extend([one, other]);
    }
    let sources: Vec<_> =
        sockets.iter().map(|socket| Source::recv(socket).with(Flags::ET)).collect();
    let begun = Instant::now();
    for added in queue.add_all(&sources) {
        added.map_err(trouble)?;
    }
    let adding = begun.elapsed().as_nanos() as f64 / sockets.len() as f64;
    let mut samples = Samples::default();
    let mut told = 0;
    for _ in 0..options.windows() {
        let begun = Instant::now();
        let deadline = begun + options.window();
        let wait = || queue.get_events(1, 1, Some(deadline)).map_err(trouble);
        let (spent, events) = Sentinels::none().spent_in(wait)?;
        told += events.len();
        samples.push(spent.total() / begun.elapsed().as_secs_f64());
    }
    let mut row = Row::new("idle_per_second", "kevent", &samples);
    row.more.batch = Some(sockets.len());
    row.more.cpu_share = Some(row.median_ns / 1e9);
    let few = too_few(queue.sources().min(watched_here()), sockets.len());
    row.fault = few.clone().or_else(|| (told > 0).then(|| format!("{told} events came")));
    let mut added = Samples::default();
    added.push(adding);
    let mut adding = Row::new("sockets_added", "kevent", &added);
    adding.more.batch = Some(sockets.len());
    adding.fault = few;
    Ok(vec![row, adding])
}
