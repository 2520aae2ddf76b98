//! `syslet scan`: walks trees, and reads and hashes what is in them.
//!
//! [`listing`] is one directory, [`visit`] does the work on what stands in it, [`queue`] holds what
//! is to be done, and [`drive`] does it in one of three ways. The ways share everything else, so
//! that they can be compared.

mod drive;
mod listing;
mod manifest;
mod progress;
mod queue;
mod report;
mod visit;

use std::sync::Arc;

use crate::args::{Mode, ScanPlan};
use crate::exit::{Exit, Trouble};
use listing::Listing;
use manifest::Manifest;
use progress::Progress;
use queue::{Queue, Stack};
use report::Report;
use visit::Visitor;

/// What one scan shares.
#[derive(Debug)]
struct Scan {
    visitor: Visitor,
    queue: Queue,
}

/// Scans, and prints the report.
pub(crate) fn run(plan: ScanPlan) -> Result<Exit, Trouble> {
    listing::allow_many_descriptors();
    let manifest = plan.manifest.as_ref().map(Manifest::create).transpose()?;
    let progress = Progress::start();
    let roots = Listing::of_arguments(&plan.paths);
    // A pool is bounded by its threads.
    let limit = if plan.mode == Mode::Syslet { plan.jobs } else { usize::MAX };
    // Never freed: closures on other threads borrow it, and the process ends after the scan.
    let scan: &'static Scan = Box::leak(Box::new(Scan {
        visitor: Visitor::new(plan.read, plan.one_file_system, manifest, progress.messages()),
        queue: Queue::new(Stack::new(Arc::new(roots), plan.read), limit),
    }));
    let ticker = progress.follow(&scan.queue);
    let driven = drive::run(scan, plan.mode, plan.jobs);
    drop(ticker);
    let run = driven?;
    if scan.queue.has_panicked() {
        return Err(Trouble::new("a part of the scan panicked"));
    }
    if let Some(manifest) = &scan.visitor.manifest {
        manifest.finish()?;
    }
    let tally = scan.queue.tally();
    Report::new(&plan, &run, tally).print(&plan)?;
    Ok(if tally.errors == 0 { Exit::Done } else { Exit::Negative })
}
