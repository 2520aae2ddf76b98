//! What is shown while the scan runs: a line on a terminal, and what could not be read.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar};

use super::queue::Queue;

/// How often the line changes: fast enough to look alive.
const PERIOD: Duration = Duration::from_millis(100);

/// The line, where standard error is a terminal.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(super) fn start() -> Self {
        Self(io::stderr().is_terminal().then(ProgressBar::new_spinner))
    }

    pub(super) fn messages(&self) -> Messages {
        Messages(self.0.clone())
    }

    /// Shows the sums until the answer is dropped.
    pub(super) fn follow(self, queue: &'static Queue) -> Ticker {
        let Some(bar) = self.0 else { return Ticker(None) };
        let (stop, stopped) = mpsc::channel::<()>();
        let tick = move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let tally = queue.tally();
                let (entries, bytes) = (HumanCount(tally.entries()), HumanBytes(tally.bytes_read));
                bar.set_message(format!("{entries} entries, {bytes} read"));
                bar.tick();
            }
            bar.finish_and_clear();
        };
        // Without a thread for it there is no line: the scan matters more.
        Ticker(thread::Builder::new().name("progress".into()).spawn(tick).ok().map(|t| (stop, t)))
    }
}

/// Ends the line when dropped.
#[derive(Debug)]
pub(super) struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            // It prints and cannot fail otherwise.
            let _ = thread.join();
        }
    }
}

/// Where complaints go: standard error, above the line if there is one.
#[derive(Debug)]
pub(super) struct Messages(Option<ProgressBar>);

impl Messages {
    pub(super) fn complain(&self, path: &[u8], cause: &str) {
        let path = printable(&String::from_utf8_lossy(path));
        let text = format!("syslet: {path}: {cause}");
        match &self.0 {
            Some(bar) => bar.suspend(|| write_line(&text)),
            None => write_line(&text),
        }
    }
}

fn write_line(text: &str) {
    // Where standard error is closed there is nobody to tell; the exit status says it.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A name must not move the cursor about.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut to, c| {
        match c.is_control() {
            true => to.extend(c.escape_default()),
            false => to.push(c),
        }
        to
    })
}
