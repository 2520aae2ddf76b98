//! What being attached costs when nothing is called: attaching and detaching, and idling.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use syslet::Placement;

use crate::cost::Sentinels;
use crate::error::Trouble;
use crate::guest::{attach, on_guest, on_thread, placement};
use crate::options::{HandoffOptions, Place};
use crate::report::Row;
use crate::samples::Samples;

/// Before a measure of idling: what was busy a moment ago has gone to sleep.
const SETTLE: Duration = Duration::from_millis(100);

/// Attaches a thread and detaches it, beside making a thread and joining it.
pub(crate) fn attach_detach(options: &HandoffOptions) -> Result<Vec<Row>, Trouble> {
    let n = options.size().attach;
    let [follow, pinned] = Place::BOTH.map(|place| placement(place, options.common.cpu));
    let (follow, pinned) = (follow?, pinned?);
    let mut spawns = Samples::default();
    let mut guests = [Samples::default(), Samples::default()];
    on_thread("bench-attach", || {
        for _ in 0..n {
            spawns.push(timed(spawn_join)?);
            guests[0].push(timed(|| attach(follow).map(drop))?);
            guests[1].push(timed(|| attach(pinned).map(drop))?);
        }
        Ok(())
    })?;
    let mut rows = vec![Row::new("attach_detach", "spawn-join", &spawns)];
    for (place, samples) in Place::BOTH.into_iter().zip(&guests) {
        let mut row = Row::new("attach_detach", place.name(), samples).against(samples, &spawns);
        row.more.placement = Some(place.name().into());
        rows.push(row);
    }
    Ok(rows)
}

/// CPU time of the process while its one guest sleeps, in nanoseconds for each second of the clock on
/// the wall.
pub(crate) fn idle(options: &HandoffOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = vec![on_thread("bench-idle", || idle_row("plain", options))?];
    for place in Place::BOTH {
        let guest: Placement = placement(place, options.common.cpu)?;
        let mut row = on_guest(guest, || idle_row(place.name(), options))?;
        row.more.placement = Some(place.name().into());
        rows.push(row);
    }
    Ok(rows)
}

fn idle_row(way: &'static str, options: &HandoffOptions) -> Result<Row, Trouble> {
    let size = options.size();
    // A threadlet wakes all that can be awake, if the thread is attached.
    if syslet::is_attached() {
        syslet::threadlet(|| ()).join();
    }
    let sentinels = Sentinels::find()?;
    let (mut both, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..size.idle {
        sleep(SETTLE);
        let start = Instant::now();
        let (spent, ()) = sentinels.spent_in(|| {
            sleep(size.window);
            Ok(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        both.push(spent.total() / seconds);
        theirs.push(spent.sentinels / seconds);
    }
    let mut row = Row::new("idle", way, &both);
    row.more.cpu_share = Some(both.median() / 1e9);
    row.more.sentinel_share = Some(theirs.median() / 1e9);
    Ok(row)
}

fn spawn_join() -> Result<(), Trouble> {
    let thread = thread::Builder::new().spawn(|| ());
    let thread = thread.map_err(Trouble::io("starting a thread"))?;
    thread.join().map_err(|_| Trouble::Refused("spawn-join", "it panicked".to_owned()))
}

fn timed(f: impl FnOnce() -> Result<(), Trouble>) -> Result<f64, Trouble> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed().as_nanos() as f64)
}
