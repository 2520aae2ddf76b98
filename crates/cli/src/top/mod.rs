//! `syslet top`: what a program that publishes it does, once or again and again.

mod json;
mod table;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use syslet::publish::{Published, PublishedError};

use crate::args::TopPlan;
use crate::exit::{Exit, Trouble, print};

/// How long the process may take to answer: a busy machine is not a stopped process.
const PATIENCE: Duration = Duration::from_secs(2);

/// Home, before a picture; what is left of the last one is taken away line by line and below.
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";

/// Asks, shows, and does so again as the plan says, until the process ends.
pub(crate) fn run(plan: TopPlan) -> Result<Exit, Trouble> {
    let published = Published::of(plan.pid).map_err(said)?;
    let show = Show::new(&plan);
    loop {
        let began = Instant::now();
        match published.snapshot(began + PATIENCE) {
            Ok(seen) if plan.json => print(&json::line(&seen, plan.interval.is_none())?)?,
            Ok(seen) => show.text(&table::text(&seen, plan.pid))?,
            Err(error) => {
                if let Some(exit) = show.trouble(&plan, error)? {
                    return Ok(exit);
                }
            }
        }
        let Some(interval) = plan.interval else { return Ok(Exit::Done) };
        thread::sleep(interval.saturating_sub(began.elapsed()));
    }
}

fn said(error: PublishedError) -> Trouble {
    Trouble::new(error.to_string())
}

/// Where pictures go.
#[derive(Debug)]
struct Show {
    /// Standard output is a terminal, and there is more than one picture.
    redraws: bool,
}

impl Show {
    fn new(plan: &TopPlan) -> Self {
        let redraws = plan.interval.is_some() && !plan.json && io::stdout().is_terminal();
        Self { redraws }
    }

    /// One picture: over the last one, cut to the terminal's size, or after it.
    fn text(&self, text: &str) -> Result<(), Trouble> {
        if !self.redraws {
            return print(text);
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
        // Where the size is not known lines wrap.
        let (rows, columns) = size.map_or((usize::MAX, usize::MAX), |size| {
            (usize::from(size.ws_row) - 1, usize::from(size.ws_col))
        });
        let mut picture = HOME.to_owned();
        for line in text.lines().take(rows) {
            picture.extend(line.chars().take(columns));
            picture += TO_END_OF_LINE;
            picture.push('\n');
        }
        print(&(picture + TO_END_OF_SCREEN))
    }

    /// Nothing was answered: that may be the end, or trouble, or to be said and seen again.
    fn trouble(&self, plan: &TopPlan, error: PublishedError) -> Result<Option<Exit>, Trouble> {
        match error {
            PublishedError::Ended(_) if plan.interval.is_some() => {
                if !plan.json {
                    print(&format!("{error}\n"))?;
                }
                Ok(Some(Exit::Done))
            }
            PublishedError::NoAnswer(_) if plan.interval.is_some() && !plan.json => {
                self.text(&format!("{error}\n"))?;
                Ok(None)
            }
            PublishedError::NoAnswer(_) if plan.interval.is_some() => Ok(None),
            error => Err(said(error)),
        }
    }
}
