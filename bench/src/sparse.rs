//! One call a millisecond: nothing is warm, and the sentinel sleeps before each. What does a call take,
//! and how much CPU time does the process with its sentinels spend for it?
//!
//! Segments of the three ways take turns. Between them all is left to settle, so that none pays for
//! what another has woken.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::calls::Work;
use crate::cost::{Sentinels, Spent};
use crate::error::Trouble;
use crate::guest::{Path, on_guest, placement};
use crate::inline::{Way, check, once};
use crate::options::InlineOptions;
use crate::report::{Row, rounded};
use crate::samples::Samples;

/// From call to call.
const GAP: Duration = Duration::from_millis(1);
/// Until the watchdog, which looks on for some ten milliseconds after the last call, is asleep.
const SETTLE: Duration = Duration::from_millis(40);

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    latency: Samples,
    /// CPU time of a call, for each segment.
    cpu: Samples,
    path: Path,
}

/// Measures `work` in every way.
pub(crate) fn measure<W: Work>(options: &InlineOptions, work: W) -> Result<Vec<Row>, Trouble> {
    let (segments, calls) = options.sparse();
    let place = placement(options.placement, options.common.cpu)?;
    let tallies = on_guest(place, || {
        let mut tallies: [Tally; 3] = Default::default();
        for way in Way::ALL {
            check::<W>(once(work, way))?;
        }
        let sentinels = Sentinels::find()?;
        for segment in 0..segments {
            for turn in 0..Way::ALL.len() {
                let at = (segment + turn) % Way::ALL.len();
                let tally = &mut tallies[at];
                sleep(SETTLE);
                let before = Path::now();
                let spent = self::segment(&sentinels, work, Way::ALL[at], calls, tally)?;
                tally.path.add_since(before);
                tally.cpu.push(spent.total() / calls as f64);
            }
        }
        Ok(tallies)
    })?;
    let [plain, ..] = &tallies;
    let row = |(way, tally): (Way, &Tally)| {
        let mut row = Row::new("sparse", way.name(), &tally.latency);
        let more = &mut row.more;
        more.placement = Some(options.placement.name().into());
        more.inline = Some(tally.path.inline);
        more.handed_off = Some(tally.path.handed_off);
        more.cpu_ns_per_call = Some(rounded(tally.cpu.median()));
        row.fault = tally.path.not_inline((segments * calls) as u64 * way.protected::<W>());
        if way == Way::Plain {
            return row;
        }
        let extra = tally.cpu.paired(&plain.cpu, |ours, theirs| ours - theirs);
        row.more.extra_cpu_ns_per_call = Some(rounded(extra.median()));
        row.against(&tally.latency, &plain.latency)
    };
    Ok(Way::ALL.into_iter().zip(&tallies).map(row).collect())
}

/// `calls` calls, one a millisecond.
fn segment<W: Work>(
    sentinels: &Sentinels,
    work: W,
    way: Way,
    calls: usize,
    tally: &mut Tally,
) -> Result<Spent, Trouble> {
    let (spent, ()) = sentinels.spent_in(|| {
        for _ in 0..calls {
            sleep(GAP);
            let start = Instant::now();
            let answer = once(work, way);
            tally.latency.push(start.elapsed().as_nanos() as f64);
            check::<W>(answer)?;
        }
        Ok(())
    })?;
    Ok(spent)
}
