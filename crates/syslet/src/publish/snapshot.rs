//! What is published: plain values. What is added to them changes [`LAYOUT`](super::LAYOUT).

use std::ffi::OsString;
use std::time::Duration;

use super::wire::{Reader, Wire, wired};
use crate::{GuestStats, Histogram, Stats};

/// One look at a process. Its parts were read one after the other, not at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The process, by its own number for itself.
    pub pid: u32,
    /// Its name to the kernel: that of its main thread.
    pub name: OsString,
    /// The version of the library.
    pub version: String,
    /// The counters. [`Stats::guest`] is `None`.
    pub stats: Stats,
    /// Calls and closures that wait for a crew thread.
    pub queued: usize,
    /// The guests.
    pub guests: Vec<GuestThread>,
    /// The crew threads.
    pub crew: Vec<CrewThread>,
}

/// An attached thread.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestThread {
    /// Its number among the guests: what [`Doing`] and [`Away`] speak of. It is used again when the guest has
    /// gone.
    pub index: usize,
    /// Its own kernel thread, which is parked.
    pub home: i32,
    /// The kernel thread that carries it.
    pub carrier: i32,
    /// The name of its own thread.
    pub name: OsString,
    /// Its counters.
    pub stats: GuestStats,
}

/// A crew thread.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrewThread {
    /// The kernel thread.
    pub tid: i32,
    /// The CPU on which it runs or ran last, where `/proc` tells.
    pub cpu: Option<u32>,
    /// Its state as proc_pid_stat(5) has it: `S` sleeps, `D` sleeps and cannot be interrupted, `R` runs.
    pub state: Option<char>,
    /// What it does.
    pub doing: Doing,
}

/// What a crew thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// It rests: it is asleep, ready to take a guest over.
    Rests,
    /// It carries the guest of this [`GuestThread::index`].
    Carries(usize),
    /// It is in a call or closure whose guest has gone on.
    Away(Away),
    /// It runs a call or closure that was queued.
    Job(Away),
    /// It is between two of these.
    Between,
}

/// Where a thread is, that was left with a call or closure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Away {
    /// The guest that was there, by its [`GuestThread::index`].
    pub guest: Option<usize>,
    /// How long ago the call was noticed to sleep, or the queued work was begun.
    pub age: Duration,
    /// The system call that it is in. `None`: it is in none, or `/proc` does not tell (a process that is not
    /// dumpable, prctl(2)).
    pub call: Option<SeenCall>,
}

/// A system call in progress, as `/proc/PID/task/TID/syscall` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenCall {
    /// Its number.
    pub nr: usize,
    /// Its name; empty if it is not known.
    pub name: String,
    /// Its arguments, as many as it has.
    pub args: Vec<u64>,
    /// Those that are descriptors.
    pub descriptors: Vec<Descriptor>,
    /// Those that are paths.
    pub paths: Vec<PathArgument>,
}

/// An argument that is a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The argument's name.
    pub argument: String,
    /// The descriptor.
    pub number: i32,
    /// What the descriptor is *now*, as `/proc` has it: a path, `pipe:[..]`, `socket:[..]`. Any bytes may be in a
    /// path. `None`: it was closed, or there was no room.
    pub file: Option<OsString>,
}

/// An argument that is a path, as it stands in memory now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathArgument {
    /// The argument's name.
    pub argument: String,
    /// The path, or its beginning. Any bytes may be in it.
    pub path: OsString,
}

impl Doing {
    /// Where the thread is, if it is away or runs queued work.
    pub fn away(&self) -> Option<&Away> {
        match self {
            Self::Away(away) | Self::Job(away) => Some(away),
            Self::Rests | Self::Carries(_) | Self::Between => None,
        }
    }
}

impl Snapshot {
    /// Takes away what may be long, so that the rest finds room.
    pub(super) fn shorten(&mut self) {
        for thread in &mut self.crew {
            let (Doing::Away(away) | Doing::Job(away)) = &mut thread.doing else { continue };
            let Some(call) = &mut away.call else { continue };
            call.paths.clear();
            call.descriptors.iter_mut().for_each(|descriptor| descriptor.file = None);
        }
    }
}

wired!(Snapshot { pid, name, version, stats, queued, guests, crew });
wired!(GuestThread { index, home, carrier, name, stats });
wired!(CrewThread { tid, cpu, state, doing });
wired!(Away { guest, age, call });
wired!(SeenCall { nr, name, args, descriptors, paths });
wired!(Descriptor { argument, number, file });
wired!(PathArgument { argument, path });
wired!(GuestStats { inline, handed_off, in_place, queued, false_handoffs, latency });
wired!(Histogram { counts });
wired!(Stats {
    guest,
    total,
    rescued,
    late_wakeups,
    attached,
    crew,
    crew_limit,
    outstanding,
    parked,
    parked_in_all,
    ring_reads,
    held,
    spawn_failures,
});

impl Wire for Doing {
    fn put(&self, to: &mut Vec<u64>) {
        match self {
            Self::Rests => 0_u64.put(to),
            Self::Carries(guest) => (1_u64, *guest).put(to),
            Self::Away(away) => {
                2_u64.put(to);
                away.put(to);
            }
            Self::Job(job) => {
                3_u64.put(to);
                job.put(to);
            }
            Self::Between => 4_u64.put(to),
        }
    }

    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Some(match u64::get(from)? {
            0 => Self::Rests,
            1 => Self::Carries(usize::get(from)?),
            2 => Self::Away(Away::get(from)?),
            3 => Self::Job(Away::get(from)?),
            4 => Self::Between,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Away {
        let descriptor = |file: Option<&str>| Descriptor {
            argument: "fd".to_owned(),
            number: -3,
            file: file.map(OsString::from),
        };
        Away {
            guest: Some(7),
            age: Duration::from_nanos(1_234_567_890_123),
            call: Some(SeenCall {
                nr: 0,
                name: "read".to_owned(),
                args: vec![u64::MAX, 0, 1],
                descriptors: vec![descriptor(Some("pipe:[12]")), descriptor(None)],
                paths: vec![PathArgument { argument: "path".to_owned(), path: "/a\nb".into() }],
            }),
        }
    }

    fn full() -> Snapshot {
        let mut counts = [0; crate::stats::BUCKETS];
        counts[3] = u64::MAX;
        let of_guest = GuestStats {
            inline: 1,
            handed_off: 2,
            in_place: 3,
            queued: 4,
            false_handoffs: 1,
            latency: Histogram { counts },
        };
        let thread = |doing| CrewThread { tid: 5, cpu: Some(1), state: Some('S'), doing };
        let all = [Doing::Rests, Doing::Carries(3), Doing::Away(away()), Doing::Job(away())];
        Snapshot {
            pid: 9,
            name: "a name of sixteen".into(),
            version: "1".to_owned(),
            stats: Stats { total: of_guest.clone(), held: 8, ..Stats::default() },
            queued: 6,
            guests: vec![GuestThread {
                index: 1,
                home: 2,
                carrier: 3,
                name: OsString::new(),
                stats: of_guest,
            }],
            crew: all.into_iter().chain([Doing::Between]).map(thread).collect(),
        }
    }

    #[test]
    fn what_is_put_is_got() {
        let mut words = Vec::new();
        full().put(&mut words);
        let mut reader = Reader::new(&words);
        assert_eq!(Snapshot::get(&mut reader), Some(full()));
        assert_eq!(reader.left(), 0);
    }

    #[test]
    fn what_is_cut_short_or_wrong_is_no_snapshot() {
        let mut words = Vec::new();
        full().put(&mut words);
        for len in 0..words.len() {
            assert_eq!(Snapshot::get(&mut Reader::new(&words[..len])), None, "{len} words");
        }
        // Lengths that are not true must neither panic nor be believed when memory is asked for.
        for at in 0..words.len() {
            for wrong in [u64::MAX, 1 << 40, 255] {
                let mut words = words.clone();
                words[at] = wrong;
                let _ = Snapshot::get(&mut Reader::new(&words));
            }
        }
    }

    #[test]
    fn the_longest_is_short_when_shortened() {
        let mut long = full();
        long.crew = vec![long.crew[2].clone(); crate::crew::MAX_CREW];
        long.guests = vec![long.guests[0].clone(); crate::crew::MAX_GUESTS];
        let Doing::Away(Away { call: Some(call), .. }) = &mut long.crew[0].doing else { panic!() };
        call.name = "a_name_that_is_longer_than_that_of_any_call".to_owned();
        call.args = vec![u64::MAX; 6];
        long.crew = vec![long.crew[0].clone(); crate::crew::MAX_CREW];
        long.shorten();
        let mut words = Vec::new();
        long.put(&mut words);
        assert!(words.len() <= super::super::page::WORDS, "{} words", words.len());
    }
}
